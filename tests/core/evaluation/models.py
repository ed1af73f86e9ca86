"""Models and data sets whose scores are known by construction."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from lotus_core.errors import CorruptSampleError
from lotus_core.evaluation.samples import DepthSample, NormalSample, Rules

SIZE = 32


def blocks(seed: int, low: float, high: float) -> torch.Tensor:
    """(32, 32) map that is even in each block of 8 x 8 pixels, as the stand-in models see it."""
    generator = torch.Generator().manual_seed(seed)
    small = low + (high - low) * torch.rand(SIZE // 8, SIZE // 8, generator=generator)
    return small.repeat_interleave(8, 0).repeat_interleave(8, 1)


def depth_sample(name: str, grey: torch.Tensor, depth: torch.Tensor) -> DepthSample:
    """A picture of a grey level that the stand-in gives back as its map, and a truth."""
    rgb = grey[..., None].expand(-1, -1, 3).contiguous()
    return DepthSample(name, rgb, depth, torch.ones_like(depth, dtype=torch.bool))


def normal_sample(
    name: str, colour: tuple[float, float, float], normal: tuple[float, float, float]
) -> NormalSample:
    """An even picture of a colour that the stand-in takes for a painted normal, and a truth."""
    rgb = torch.tensor(colour).expand(SIZE, SIZE, 3).contiguous()
    vectors = torch.tensor(normal).expand(SIZE, SIZE, 3).contiguous()
    return NormalSample(name, rgb, vectors, torch.ones(SIZE, SIZE, dtype=torch.bool))


@dataclass(frozen=True)
class Listed:
    """A data set of given samples; an entry that is a text is a damaged file with that reason."""

    samples: dict[str, DepthSample | NormalSample | str]
    rules: Rules = field(default=Rules("listed", nearest_m=0.1, farthest_m=100.0))

    def names(self) -> list[str]:
        return list(self.samples)

    def load(self, name: str):
        sample = self.samples[name]
        if isinstance(sample, str):
            raise CorruptSampleError(sample, path=name)
        return sample
