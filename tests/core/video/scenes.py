"""Maps and frames of made-up clips whose truth is known."""

from __future__ import annotations

import torch
from torch import Tensor


def textured(height: int = 96, width: int = 128, seed: int = 0) -> Tensor:
    """A picture with detail at several sizes, (H, W, 3) in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    picture = torch.zeros(1, 3, height, width)
    for cells, weight in ((4, 0.5), (12, 0.3), (40, 0.2)):
        coarse = torch.rand(1, 3, cells, cells, generator=generator)
        picture += weight * torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    return picture[0].movedim(0, -1).clamp(0.0, 1.0).contiguous()


def relief(height: int = 96, width: int = 128) -> Tensor:
    """A map with a slope, a step and a bump, (H, W) in about [0.2, 0.8]."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    step = 0.15 * (x > 0.6).float()
    bump = 0.1 * torch.exp(-((x - 0.3).square() + (y - 0.5).square()) / 0.02)
    return 0.25 + 0.3 * y + step + bump


def drifting(
    frames: int, *, scale_sd: float = 0.1, shift_sd: float = 0.03, noise: float = 0.0, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """A still scene whose maps drift: (T, H, W) maps, (T,) scales and shifts that were given."""
    generator = torch.Generator().manual_seed(seed)
    truth = relief()
    scale = torch.exp(scale_sd * torch.randn(frames, generator=generator))
    shift = shift_sd * torch.randn(frames, generator=generator)
    seen = truth + noise * torch.randn((frames, *truth.shape), generator=generator)
    maps = 0.5 + (seen - 0.5) * 0.7 * scale[:, None, None] + shift[:, None, None]
    return maps.clamp(0.0, 1.0), scale, shift


def with_square(values: Tensor, left: int, value: float, size: int = 40) -> Tensor:
    """The map with a square of one value, as a near mover would be."""
    out = values.clone()
    out[20 : 20 + size, max(left, 0) : max(left + size, 0)] = value
    return out


def spread_of(scales: Tensor) -> float:
    """Standard deviation of ln scale."""
    return float(scales.log().std())
