"""Small grey pictures of frames, and what they tell: is the camera still, is this another shot?"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

LONGEST: Final = 128
"""Longest side of a thumbnail in pixels."""

_LUMA: Final = (0.299, 0.587, 0.114)  # ITU-R BT.601
_TILES: Final = (6, 8)
_UNMOVED: Final = 0.25  # change in a tile, as a share of what a shift by one thumbnail pixel would change


def sampling_step(height: int, width: int) -> int:
    """Return the stride that brings a picture's longest side to about 128 samples: 6 at 768 pixels."""
    return max(1, round(max(height, width) / LONGEST))


def thumbnail(rgb: Tensor) -> Tensor:
    """Return a frame's luma at a longest side of about 128.

    Args:
        rgb: (H, W, 3) float in [0, 1].

    Returns:
        (h, w) float32 in [0, 1].
    """
    height, width, _ = rgb.shape
    step = max(1, round(max(height, width) / (2 * LONGEST)))
    luma = rgb[::step, ::step].float() @ rgb.new_tensor(_LUMA).float()
    return F.avg_pool2d(luma[None], 2)[0] if min(luma.shape) >= 2 else luma


def still_share(first: Tensor, second: Tensor) -> float:
    """Return which share of a picture's textured tiles did not move, [0, 1].

    A tile counts when its change is under a quarter of what a shift by one pixel would do, after one gain for the
    whole picture. Between frames of a still camera it is 1 less what movers cover; under a moving one near 0.

    Args:
        first: (h, w) thumbnail.
        second: (h, w) thumbnail of the same size.
    """
    if min(first.shape) < 16:
        return 0.0
    gain = (first / second.clamp_min(0.02)).median()
    down, across = first[1:, 1:] - first[:-1, 1:], first[1:, 1:] - first[1:, :-1]
    texture = torch.maximum(down.abs(), across.abs())
    change = (first - gain * second).abs()[1:, 1:]
    tiles = F.adaptive_avg_pool2d(torch.stack([texture, change])[None], _TILES)[0]
    textured = tiles[0] >= tiles[0].median()
    textured &= tiles[0] > 1e-4  # a blank tile says nothing
    if not bool(textured.any()):
        return 0.0
    return float((tiles[1] < _UNMOVED * tiles[0])[textured].float().mean())
