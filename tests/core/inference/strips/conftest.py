from __future__ import annotations

import pytest
import torch

from benchmarks.networks import MINI, plain_vae
from lotus_core.inference.folding import Folds, fold_vae
from lotus_core.inference.latent_codec import LatentCodec
from lotus_core.loading.checkpoint import load_parts

KINDS = ("plain", "folded", "no fold")


def codec_of(kind, vae):
    if kind == "plain":
        return LatentCodec(vae)
    return fold_vae(vae, Folds() if kind == "folded" else Folds.none())


@pytest.fixture(scope="session")
def trained_vae():
    """The bundled autoencoder: without attention, with narrow levels."""
    return load_parts("lotus-tiny-depth-d").vae.float()


@pytest.fixture(scope="session")
def random_vae():
    """One of Stable Diffusion's kind, attention included."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return plain_vae(MINI).requires_grad_(False)


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module", params=["trained", "random"])
def codec(request, kind, trained_vae, random_vae):
    return codec_of(kind, trained_vae if request.param == "trained" else random_vae)
