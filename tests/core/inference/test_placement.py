import threading

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


def test_threads_that_want_a_parts_own_type_compute_together():
    placement, *_ = placed()
    meeting = threading.Barrier(2, timeout=30)

    def compute():
        with placement.active("vae", 0, torch.float32):
            meeting.wait()

    threads = [threading.Thread(target=compute) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not meeting.broken


def test_a_part_that_another_model_shares_is_not_cast_while_somebody_computes_with_it():
    placement, unet, vae = placed()
    other = TorchPlacement(unet, vae, torch.device("cpu"), torch.float16, torch.float32)
    seen = []
    started = threading.Event()

    def cast():
        started.set()
        with other.active("unet", 0, torch.float32):
            seen.append("cast")

    with placement.active("unet", 0, torch.float16):
        thread = threading.Thread(target=cast)
        thread.start()
        assert started.wait(30)
        thread.join(0.2)
        assert unet.weight.dtype == torch.float16
        seen.append("computed")
    thread.join(30)
    assert seen == ["computed", "cast"]
    assert unet.weight.dtype == torch.float16


@pytest.mark.parametrize(
    ("device", "dtype", "gain"),
    [("cpu", torch.float32, True), ("cpu", torch.bfloat16, False), ("meta", torch.float32, False)],
)
def test_several_threads_gain_on_the_cpu_in_fp32_alone(device, dtype, gain):
    placement = TorchPlacement(nn.Linear(2, 2), nn.Linear(3, 3), torch.device(device), dtype, torch.float32)
    assert placement.concurrent is gain
