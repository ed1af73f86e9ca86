"""A little world for training: rendered scenes, a random VAE, latents, and configs that use them."""

from __future__ import annotations

import pytest

from lotus_core.training.config import VaeConfig
from lotus_core.training.latents import encode_pictures, known_cells, write_latents
from lotus_core.training.networks import load_vae
from lotus_core.training.scene_set import plan_shards, write_shard
from lotus_core.training.sources import Sources
from lotus_core.training.vae import VaeObjective
from tests.core.training.small import examples, vae_settings


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """Ten rendered scenes: 6 of 32x32, 4 of 32x48."""
    folder = tmp_path_factory.mktemp("scenes")
    for shard in plan_shards(70, 10, 6, [(32, 32), (32, 48)]):
        write_shard(folder, shard)
    return folder


@pytest.fixture(scope="session")
def vae(tmp_path_factory, scenes):
    """A random VAE in diffusers' layout."""
    folder = tmp_path_factory.mktemp("vae")
    config = VaeConfig.model_validate(vae_settings(scenes))
    VaeObjective(config, Sources((examples(4),), (1.0,))).export(folder)
    return folder / "vae"


@pytest.fixture(scope="session")
def latents(tmp_path_factory, vae):
    """Twelve examples of 4x4 latents in two shards, of noise pictures."""
    folder = tmp_path_factory.mktemp("latents")
    network = load_vae(vae)
    samples = examples(12)
    for number in range(2):
        part = [samples[index] for index in range(6 * number, 6 * number + 6)]
        from lotus_core.training.pictures import annotated

        depth, normal = (annotated(part, target, "disparity") for target in ("depth", "normal"))
        tensors = {
            "image": encode_pictures(network, depth.images),
            "depth": encode_pictures(network, depth.annotations),
            "normal": encode_pictures(network, normal.annotations),
            "known_depth": known_cells(depth.known)[:, 0],
            "known_normal": known_cells(normal.known)[:, 0],
        }
        write_latents(folder / f"latents-32x32-{number}.safetensors", tensors, depth.names)
    return folder
