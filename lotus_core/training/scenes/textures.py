"""A small atlas of tileable patterns with a mip pyramid, made once from a fixed seed."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

SIZE: Final = 128
"""Texels along one side of a tile."""

LEVELS: Final = 8

PATTERNS: Final = (
    "plain",
    "checker",
    "stripes",
    "bricks",
    "tiles",
    "dots",
    "clouds",
    "wood",
    "marble",
    "speckle",
    "planks",
    "leaves",
    "facade",
    "poster",
    "scratches",
    "plaster",
)


@lru_cache(maxsize=1)
def atlas() -> Tensor:
    """Return every pattern at every mip level, flattened: (patterns, texels) float32 in [0, 1].

    Level l has (SIZE >> l)^2 texels and starts at the sum of the larger levels' sizes.
    """
    generator = torch.Generator().manual_seed(20240926)
    y, x = torch.meshgrid(*[(torch.arange(SIZE) + 0.5) / SIZE] * 2, indexing="ij")
    layers = torch.stack([_pattern(name, x, y, generator) for name in PATTERNS]).clamp(0, 1)
    pyramid = [layers]
    while len(pyramid) < LEVELS:
        pyramid.append(functional.avg_pool2d(pyramid[-1], 2))
    return torch.cat([level.flatten(1) for level in pyramid], dim=1)


def sample(pattern: Tensor, uv: Tensor, footprint: Tensor) -> Tensor:
    """Return pattern values, prefiltered by mip level and interpolated bilinearly.

    Args:
        pattern: (M,) int64, index into `PATTERNS`.
        uv: (M, 2) float32, in tiles; wraps around.
        footprint: (M,) float32, tiles that one pixel covers.

    Returns:
        (M,) float32 in [0, 1].
    """
    texels = atlas()
    level = torch.log2((footprint * SIZE).clamp_min(1.0)).round().long().clamp_max(LEVELS - 1)
    side = SIZE >> level
    start = (4 * SIZE * SIZE - 4 * side * side) // 3  # geometric series of the larger levels
    base = pattern * texels.shape[1] + start
    position = (uv - uv.floor()) * side[:, None] - 0.5
    corner = position.floor()
    fraction = position - corner
    x0, y0 = corner.long().unbind(-1)
    # Sides are powers of two: a bit mask wraps, negative indices too.
    mask = side - 1
    x0, x1, y0, y1 = x0 & mask, (x0 + 1) & mask, y0 & mask, (y0 + 1) & mask
    flat = texels.view(-1)
    top = torch.lerp(flat[base + y0 * side + x0], flat[base + y0 * side + x1], fraction[:, 0])
    bottom = torch.lerp(flat[base + y1 * side + x0], flat[base + y1 * side + x1], fraction[:, 0])
    return torch.lerp(top, bottom, fraction[:, 1])


def _pattern(name: str, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
    simple = {
        "plain": lambda: torch.zeros_like(x),
        "checker": lambda: ((x * 4).floor() + (y * 4).floor()) % 2,
        "stripes": lambda: ((x * 6) % 1 < 0.45).float(),
        "dots": lambda: (((x * 5) % 1 - 0.5).square() + ((y * 5) % 1 - 0.5).square() < 0.08).float(),
        "tiles": lambda: ((x * 4 % 1 < 0.06) | (y * 4 % 1 < 0.06)).float(),
        "facade": lambda: ((x * 4 % 1 - 0.5).abs() < 0.28).float() * ((y * 4 % 1 - 0.5).abs() < 0.3).float(),
    }
    if name in simple:
        return simple[name]()
    noise = fractal_noise(generator)
    if name in ("bricks", "planks"):
        rows, columns = (8, 4) if name == "bricks" else (8, 1)
        row = (y * rows).floor()
        along = x * columns + (row % 2) * 0.5
        cell = ((row * 7 + along.floor() % columns * 3) * 0.618) % 1
        joint = (along % 1 < 0.12 / columns * 2) | (y * rows % 1 < 0.12)
        return torch.where(joint, 1.0, 0.5 * cell + 0.25 * noise)
    noisy = {
        "clouds": lambda: noise,
        "wood": lambda: 0.5 + 0.5 * torch.sin(2 * torch.pi * (4 * y + 1.2 * noise)),
        "marble": lambda: (2 * noise - 1).abs().sqrt(),
        "speckle": lambda: (torch.rand(SIZE, SIZE, generator=generator) > 0.85).float() * 0.8 + 0.2 * noise,
        "leaves": lambda: 0.6 * (fractal_noise(generator, first_octave=4) > 0.5).float() + 0.4 * noise,
        "scratches": lambda: _scratches(x, y, generator),
        "poster": lambda: _poster(x, y, generator),
        "plaster": lambda: (
            0.5 + 0.35 * (fractal_noise(generator, first_octave=4) - 0.5) + 0.3 * (noise - 0.5)
        ),
    }
    return noisy[name]()


def fractal_noise(generator: torch.Generator, *, first_octave: int = 1) -> Tensor:
    """Return tileable noise with halving amplitudes, (SIZE, SIZE) float32 spread over [0, 1]."""
    total = torch.zeros(SIZE, SIZE)
    for octave in range(first_octave, 7):
        cells = 2**octave
        lattice = functional.pad(
            torch.rand(1, 1, cells, cells, generator=generator), (1, 2, 1, 2), mode="circular"
        )
        # Interpolate beyond the tile and cut one period out, so that the borders meet.
        wide = functional.interpolate(
            lattice, scale_factor=SIZE // cells, mode="bicubic", align_corners=False
        )
        offset = SIZE // cells
        total += 0.5**octave * wide[0, 0, offset : offset + SIZE, offset : offset + SIZE]
    total -= total.min()
    return total / total.max()


def _scratches(x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
    lines = torch.zeros_like(x)
    for _ in range(14):
        u, v, turn, length = torch.rand(4, generator=generator).tolist()
        dx, dy = (x - u + 0.5) % 1 - 0.5, (y - v + 0.5) % 1 - 0.5
        along = dx * torch.cos(torch.tensor(turn * 6.3)) + dy * torch.sin(torch.tensor(turn * 6.3))
        across = dy * torch.cos(torch.tensor(turn * 6.3)) - dx * torch.sin(torch.tensor(turn * 6.3))
        lines += ((across.abs() < 0.008) & (along.abs() < 0.1 + 0.3 * length)).float()
    return lines


def _poster(x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
    """Flat shapes over each other: a picture, whose edges are no edges of depth."""
    picture = 0.3 + 0.2 * y
    for _ in range(12):
        u, v, width, height, tone, round_ = torch.rand(6, generator=generator).tolist()
        dx, dy = (
            ((x - u + 0.5) % 1 - 0.5) / (0.05 + 0.25 * width),
            ((y - v + 0.5) % 1 - 0.5) / (0.05 + 0.25 * height),
        )
        inside = dx.square() + dy.square() < 1 if round_ > 0.5 else torch.maximum(dx.abs(), dy.abs()) < 1
        picture = torch.where(inside, tone, picture)
    return picture
