"""Small models for tests: the reference's random checkpoints, and stand-ins whose output is known."""

from __future__ import annotations

from contextlib import contextmanager

import torch
from torch import nn

from lotus_core.inference.memory import Widths
from lotus_core.inference.model import LotusModel, VaeDigests
from lotus_core.types import ModelInfo


def info(mode: str = "d", output: str = "depth", **changes) -> ModelInfo:
    values = {
        "name": f"test-{output}-{mode}",
        "mode": mode,
        "output": output,
        "default_resolution": 64,
        "source": "memory",
        "vae_source": "memory",
        "unet_parameters": 0,
        "cross_attention_dim": 8,
    }
    return ModelInfo(**{**values, **changes})


class BlockCodec(nn.Module):
    """Latents are 8x8 block means of the three channels (and their mean); decoding repeats them."""

    def __init__(self):
        super().__init__()
        self.encoded = 0
        self.dtypes = []

    def encode(self, rgb):
        self.encoded += len(rgb)
        self.dtypes.append(rgb.dtype)
        blocks = nn.functional.avg_pool2d(rgb, 8)
        return torch.cat([blocks, blocks.mean(1, keepdim=True)], dim=1)

    def decode(self, x0):
        self.dtypes.append(x0.dtype)
        return x0[:, :3].repeat_interleave(8, 2).repeat_interleave(8, 3)


class Passing(nn.Module):
    """x0 = the picture's latents + `gain` * the noise's, for "g"; reconstruction negates it."""

    def __init__(self, gain: float = 0.0):
        super().__init__()
        self.gain = gain
        self.batches = []

    def forward(self, sample, task="annotation"):
        self.batches.append(len(sample))
        x0 = sample[:, :4]
        if sample.shape[1] == 8:
            x0 = x0 + self.gain * sample[:, 4:]
        return x0 if task == "annotation" else -x0


class FakePlacement:
    """The CPU, with a settable amount of free memory, that records what it was asked for."""

    def __init__(self, dtype=torch.float32, free=2**34, concurrent=False):
        self.device = torch.device("cpu")
        self.concurrent = concurrent
        self._dtype = dtype
        self.free = free
        self.asked = []
        self.checks = 0

    def dtype(self, part):
        return self._dtype

    @contextmanager
    def active(self, part, memory_required, dtype):
        self.asked.append((part, memory_required, dtype))
        yield

    def free_memory(self):
        return self.free

    def obtainable_memory(self):
        return self.free

    def check_interrupt(self):
        self.checks += 1


def passing_model(
    mode="d",
    output="depth",
    *,
    gain=0.0,
    codec=None,
    placement=None,
    digests=("e", "d"),
    widths=None,
    **changes,
):
    return LotusModel(
        info(mode, output, **changes),
        Passing(gain),
        codec or BlockCodec(),
        placement or FakePlacement(),
        widths or Widths(vae=(8, 8), unet=(8, 8)),
        VaeDigests(*digests),
    )
