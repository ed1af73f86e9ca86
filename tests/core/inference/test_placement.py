import pytest
import torch
from torch import nn

from lotus_core.inference.memory import FIXED_BYTES, Widths, activation_bytes, fitting_batch
from lotus_core.inference.placement import TorchPlacement, available_ram

SD2 = Widths(vae=128, unet=320, unet_heads=5)


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


def test_memory_grows_with_the_batch_the_size_and_the_type():
    base = activation_bytes("decode", SD2, 1, 96, 96, 2)
    assert activation_bytes("decode", SD2, 2, 96, 96, 2) - FIXED_BYTES == 2 * (base - FIXED_BYTES)
    assert activation_bytes("decode", SD2, 1, 192, 96, 2) - FIXED_BYTES == 2 * (base - FIXED_BYTES)
    assert activation_bytes("decode", SD2, 1, 96, 96, 4) - FIXED_BYTES == 2 * (base - FIXED_BYTES)


def test_a_batch_fits_into_what_is_free():
    for free_gb in (1, 2, 4, 8, 24):
        count = fitting_batch(SD2, 96, 96, (2, 2), free_gb * 2**30, 64)
        needed = activation_bytes("decode", SD2, count, 96, 96, 2)
        assert count == 1 or needed <= free_gb * 2**30


def test_at_least_one_picture_is_tried_and_never_more_than_there_are():
    assert fitting_batch(SD2, 96, 96, (2, 2), 0, 5) == 1
    assert fitting_batch(SD2, 96, 96, (2, 2), 2**45, 5) == 5
