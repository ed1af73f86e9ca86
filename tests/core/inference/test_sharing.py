"""One copy of a VAE for all models that have the same one."""

from __future__ import annotations

import gc
import shutil
import threading
import weakref

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from lotus_core.inference.model import load_model
from lotus_core.inference.placement import TorchPlacement
from tests.small_models import BUNDLED

DEPTH, NORMAL = "lotus-tiny-depth-d", "lotus-tiny-normal-d"


def load(name, precision="fp32"):
    return load_model(name, precision=precision, device="cpu")


def test_checkpoints_with_the_same_vae_hold_one_copy():
    depth, normal = load(DEPTH), load(NORMAL)
    assert depth.vae_digests == normal.vae_digests
    assert depth.vae is normal.vae
    assert depth.unet is not normal.unet


def test_models_of_another_precision_have_their_own():
    wide, narrow = load(DEPTH), load(NORMAL, "bf16")
    assert wide.vae is not narrow.vae
    assert next(wide.vae.parameters()).dtype == torch.float32
    assert next(narrow.vae.parameters()).dtype == torch.bfloat16


def test_another_vae_is_not_shared(tmp_path):
    depth = load(DEPTH)
    folder = shutil.copytree(BUNDLED / "vae", tmp_path / "vae")
    weights = load_file(folder / "diffusion_pytorch_model.safetensors")
    weights["decoder.conv_out.bias"] = weights["decoder.conv_out.bias"] + 0.5
    save_file(weights, folder / "diffusion_pytorch_model.safetensors")
    normal = load_model(NORMAL, precision="fp32", device="cpu", vae=folder)
    assert normal.vae_digests.encoder == depth.vae_digests.encoder
    assert normal.vae_digests.decoder != depth.vae_digests.decoder
    assert normal.vae is not depth.vae


def test_the_shared_copy_lives_as_long_as_one_model_needs_it():
    depth, normal = load(DEPTH), load(NORMAL)
    shared = weakref.ref(depth.vae)
    del depth
    gc.collect()
    latents = normal.encode(torch.zeros(1, 3, 32, 32))
    assert latents.shape == (1, 4, 4, 4)
    del normal
    gc.collect()
    assert shared() is None


def test_a_part_is_computed_with_by_one_thread_at_a_time():
    """Another thread's fp32 detour must not recast weights that this one is using."""
    unet, vae = nn.Linear(1, 1), nn.Linear(1, 1)
    first = TorchPlacement(unet, vae, torch.device("cpu"), torch.float16, torch.float16)
    second = TorchPlacement(nn.Linear(1, 1), vae, torch.device("cpu"), torch.float16, torch.float16)
    entered = threading.Event()
    seen = []

    def detour():
        entered.set()
        with second.active("vae", 0, torch.float32):
            seen.append(vae.weight.dtype)

    with first.active("vae", 0, torch.float16):
        thread = threading.Thread(target=detour)
        thread.start()
        assert entered.wait(10)
        thread.join(0.05)
        assert seen == []
        assert vae.weight.dtype == torch.float16
    thread.join(10)
    assert seen == [torch.float32]
    assert vae.weight.dtype == torch.float16


@pytest.mark.parametrize("part", ["unet", "vae"])
def test_one_thread_may_enter_a_part_again(part):
    placement = TorchPlacement(
        nn.Linear(1, 1), nn.Linear(1, 1), torch.device("cpu"), torch.float32, torch.float32
    )
    with placement.active(part, 0, torch.float32), placement.active(part, 0, torch.float32):
        pass
