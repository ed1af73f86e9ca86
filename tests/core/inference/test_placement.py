import pytest
import torch
from torch import nn

from lotus_core.inference.placement import TorchPlacement, available_ram


def placed(dtype=torch.float16):
    unet, vae = nn.Linear(2, 2), nn.Linear(3, 3)
    return TorchPlacement(unet, vae, torch.device("cpu"), dtype, torch.float32), unet, vae


def test_both_parts_are_cast_and_placed_at_once():
    placement, unet, vae = placed()
    assert unet.weight.dtype == torch.float16
    assert vae.weight.dtype == torch.float32
    assert (placement.dtype("unet"), placement.dtype("vae")) == (torch.float16, torch.float32)
    assert placement.device == torch.device("cpu")


def test_a_part_is_cast_only_while_another_type_is_asked_for():
    placement, unet, _ = placed()
    with placement.active("unet", 0, torch.float32):
        assert unet.weight.dtype == torch.float32
    assert unet.weight.dtype == torch.float16


def test_a_part_is_cast_back_after_an_error():
    placement, unet, _ = placed()
    with pytest.raises(RuntimeError, match="stop"), placement.active("unet", 0, torch.float32):
        raise RuntimeError("stop")
    assert unet.weight.dtype == torch.float16


def test_free_memory_is_what_the_machine_has():
    placement, *_ = placed()
    assert 0 < placement.free_memory() < 2**50
    assert available_ram() > 2**20


def test_plain_torch_moves_nothing_away_for_activations():
    placement, *_ = placed()
    assert placement.obtainable_memory() == pytest.approx(placement.free_memory(), rel=0.2)
