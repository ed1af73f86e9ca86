"""What a stabiliser remembers of a frame, and how that is kept across an interruption."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from .affine import Spread, spread
from .thumbnails import sampling_step, thumbnail

_CLIPPED: Final = 0.004  # the network's own range ends here: such values say nothing about scale


@dataclass(frozen=True)
class Sample:
    """A frame's map, thinned out.

    Attributes:
        values: (N,) float32, the network's map at every 6th pixel or so of each side.
        valid: (N,) bool, not clipped.
        spread: Of the valid values.
        thumbnail: (h, w) float32 luma, or None without pictures.
        scale: The frame's correction, ``scale * values + shift``.
        shift: Its other half.
    """

    values: Tensor
    valid: Tensor
    spread: Spread
    thumbnail: Tensor | None
    scale: float = 1.0
    shift: float = 0.0


def take_sample(values: Tensor, rgb: Tensor | None) -> Sample:
    """Return the sample of a frame, without a correction yet.

    Args:
        values: (H, W) float in [0, 1], the network's map.
        rgb: (H, W, 3) float in [0, 1], the picture, any size, or None.
    """
    step = sampling_step(*values.shape)
    flat = values[::step, ::step].detach().float().cpu().flatten()
    small = None if rgb is None else thumbnail(rgb.detach().cpu())
    return _sample(flat, small)


def pack_samples(name: str, samples: list[Sample]) -> dict[str, Tensor]:
    """Return samples of one clip as a few tensors, their names beginning with ``name``."""
    if not samples:
        return {}
    thumbnails = [s.thumbnail for s in samples if s.thumbnail is not None]
    packed = {
        f"{name}.values": torch.stack([s.values for s in samples]),
        f"{name}.corrections": torch.tensor([[s.scale, s.shift] for s in samples], dtype=torch.float64),
    }
    if len(thumbnails) == len(samples):
        packed[f"{name}.thumbnails"] = torch.stack(thumbnails)
    return packed


def unpack_samples(name: str, packed: dict[str, Tensor]) -> list[Sample]:
    """Return the samples that `pack_samples` packed under a name."""
    if f"{name}.values" not in packed:
        return []
    values = packed[f"{name}.values"]
    thumbnails = packed.get(f"{name}.thumbnails")
    small = [None] * len(values) if thumbnails is None else list(thumbnails)
    corrections = packed[f"{name}.corrections"].tolist()
    return [_sample(v, t, *c) for v, t, c in zip(values, small, corrections, strict=True)]


def _sample(flat: Tensor, small: Tensor | None, scale: float = 1.0, shift: float = 0.0) -> Sample:
    valid = (flat > _CLIPPED) & (flat < 1.0 - _CLIPPED)
    return Sample(flat, valid, spread(flat, valid), small, scale, shift)
