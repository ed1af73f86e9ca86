"""Where detail is: pixels near depth edges, and thin structures."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def near_depth_edges(depth: Tensor, radius: int = 2, ratio: float = 1.1) -> Tensor:
    """Return pixels close to a jump of depth.

    Args:
        depth: (H, W) float, metres; infinite in the sky.
        radius: How far from the jump, in pixels.
        ratio: Neighbours whose depths differ by more than this factor make a jump.

    Returns:
        (H, W) bool.
    """
    disparity = 1 / depth
    jump = torch.zeros_like(depth, dtype=torch.bool)
    across = _ratio(disparity[:, 1:], disparity[:, :-1]) > ratio
    down = _ratio(disparity[1:], disparity[:-1]) > ratio
    jump[:, 1:] |= across
    jump[:, :-1] |= across
    jump[1:] |= down
    jump[:-1] |= down
    return _grown(jump, radius - 1)


def thin_structures(surface: Tensor, width: int = 4) -> Tensor:
    """Return pixels of surfaces that are nowhere wider than `width` there: what an opening takes away.

    Args:
        surface: (H, W) int64, number of the surface seen; -1 in the sky, which is never thin.
        width: In pixels.

    Returns:
        (H, W) bool.
    """
    thin = torch.zeros_like(surface, dtype=torch.bool)
    size = width + 1
    for number in surface.unique().tolist():
        if number < 0:
            continue
        here = (surface == number).float()[None, None]
        # a window of width + 1 fits somewhere around a pixel, or the pixel is thin
        padded = functional.pad(here, (width, width, width, width))
        fits = -functional.max_pool2d(-padded, size, stride=1)
        opened = functional.max_pool2d(fits, size, stride=1)[0, 0] > 0
        thin |= (here[0, 0] > 0) & ~opened
    return thin


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    return torch.maximum(a, b) / torch.minimum(a, b).clamp_min(1e-9)


def _grown(mask: Tensor, radius: int) -> Tensor:
    size = 2 * radius + 1
    return functional.max_pool2d(mask.float()[None, None], size, stride=1, padding=radius)[0, 0] > 0
