"""Moves the mixed pixels that a decoder leaves at occlusions to one of the two surfaces."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ..conventions import DepthKind

WINDOW_SHARE = 1.0 / 64.0
"""Half the window's side as a share of the picture's longest side: 4 pixels of 256."""

LEAST_JUMP = 0.04
"""Jump of ln z beyond what the surfaces explain that counts as an occlusion."""

SLOPE_ALLOWANCE = 4.0
"""How many times the smallest slope of the window may explain its range, over half its side."""

SLOPE_CAP = 1.0 / 0.15
"""Largest slope in that comparison, times the focal length: silhouettes turn away without end."""

NORMAL_ERROR = 0.1
"""Radians by which a normal may be wrong over a whole window; near grazing angles it explains a lot."""

STEEPEST_STEP = 0.5
"""Share of the window's range in one step between neighbours above which the occlusion is sharp already; like the
middle of a ramp, it is measured in the map that was blurred."""


def snap_mixed_pixels(
    log_depth: Tensor,
    slope_x: Tensor,
    slope_y: Tensor,
    cosine: Tensor,
    focal: Tensor,
    valid: Tensor,
    kind: DepthKind,
) -> tuple[Tensor, Tensor]:
    """Return log depth with blurred occlusions sharpened, and where it was changed.

    A pixel takes the nearer extreme of the window around it, nearer in the map that was blurred, where three
    things hold: the window's range is larger than its gentlest slope explains, the rise across it is larger than
    the normals along it explain (at a crease, such as a wall's foot, they explain it), and the ramp is wider than
    a pixel.

    Args:
        log_depth: (B, H, W) float, ln z.
        slope_x: (B, H, W) float, slopes of ln z for each pixel that the normals ask for.
        slope_y: (B, H, W) float, likewise downwards.
        cosine: (B, H, W) float, positive, of the angle between normal and ray.
        focal: (B, 1, 1) float, pixels.
        valid: (B, H, W) bool, pixels that count.
        kind: What was blurred: depth or its inverse. The middle of a ramp in ln z would move the occlusion.

    Returns:
        (B, H, W) float, and (B, H, W) bool.
    """
    radius = max(1, round(max(log_depth.shape[1:]) * WINDOW_SHARE))
    high = _window_max(torch.where(valid, log_depth, float("-inf")), radius)
    low = -_window_max(torch.where(valid, -log_depth, float("-inf")), radius)
    slope = (slope_x.square() + slope_y.square()).sqrt().minimum(SLOPE_CAP / focal)
    gentlest = -_window_max(-slope, radius)
    span = high - low
    sign, unit = (1.0 if kind == "depth" else -1.0), log_depth.amax((1, 2), keepdim=True)
    linear, first, last = (
        (sign * (part - unit)).exp() for part in (log_depth, low, high)
    )  # of the map, any unit
    width = (last - first).abs()
    share = (linear - first).abs() / width.clamp_min(1e-9)
    mixed = valid & (span - SLOPE_ALLOWANCE * radius * gentlest > LEAST_JUMP)
    mixed &= (share > 0.02) & (share < 0.98)
    mixed &= _window_max(_largest_step(linear, valid), radius) < STEEPEST_STEP * width
    doubt = NORMAL_ERROR / (focal * cosine.square())
    unexplained = [
        _rise_across(log_depth, axis, radius).sub(_window_sum(along, axis, radius)).abs()
        - _window_sum(doubt, axis, radius)
        for axis, along in ((2, slope_x), (1, slope_y))
    ]
    mixed &= torch.maximum(*unexplained) > LEAST_JUMP
    return torch.where(mixed, torch.where(share < 0.5, low, high), log_depth), mixed


def _largest_step(values: Tensor, valid: Tensor) -> Tensor:
    """Return the larger of the steps to the right and lower neighbour, (B, H, W)."""
    across = (values[:, :, 1:] - values[:, :, :-1]).abs() * (valid[:, :, 1:] & valid[:, :, :-1])
    down = (values[:, 1:] - values[:, :-1]).abs() * (valid[:, 1:] & valid[:, :-1])
    return torch.maximum(functional.pad(across, (0, 1)), functional.pad(down, (0, 0, 0, 1)))


def _rise_across(values: Tensor, axis: int, radius: int) -> Tensor:
    """Return how much values rise from ``radius`` pixels before to ``radius`` after, held at the borders."""
    size = values.shape[axis]
    index = torch.arange(size, device=values.device)
    after = values.index_select(axis, (index + radius).clamp_max(size - 1))
    return after - values.index_select(axis, (index - radius).clamp_min(0))


def _window_sum(values: Tensor, axis: int, radius: int) -> Tensor:
    """Return the mean along an axis over 2 radius + 1 pixels, times the 2 radius steps between them."""
    size = (2 * radius + 1, 1) if axis == 1 else (1, 2 * radius + 1)
    padding = (radius, 0) if axis == 1 else (0, radius)
    return functional.avg_pool2d(values[:, None], size, stride=1, padding=padding)[:, 0] * (2 * radius)


def _window_max(values: Tensor, radius: int) -> Tensor:
    """Return the maximum of a square window of side 2 radius + 1 around each pixel, cut off at the borders."""
    return _running_max(_running_max(values, 1, radius), 2, radius)


def _running_max(values: Tensor, axis: int, radius: int) -> Tensor:
    """Return the maximum over 2 radius + 1 neighbours along an axis, by windows that double in width."""
    size, window = values.shape[axis], 2 * radius + 1
    padding = (radius, radius) if axis == 2 else (0, 0, radius, radius)
    running, width = functional.pad(values, padding, value=float("-inf")), 1
    while 2 * width <= window:
        count = running.shape[axis] - width
        running = torch.maximum(running.narrow(axis, 0, count), running.narrow(axis, width, count))
        width *= 2
    return torch.maximum(running.narrow(axis, 0, size), running.narrow(axis, window - width, size))
