"""What a map and its normals say about the camera: per-pixel evidence on a coarse grid.

Convention:
    Picture coordinates here are in half widths from the centre, so that a focal length in the same unit is
    ``f = 1 / tan(fov_x / 2)``. The map is scaled to [0, 1] between its robust extremes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..conventions import DepthKind

WORKING_SIDE = 64
"""Longest side of the coarse grid: the grain of a decoder averages out there before slopes are measured."""

MAX_CURVATURE = 0.03
"""Largest second difference, as a share of the map's range, of a pixel whose slope is trusted."""

MIN_COSINE = 0.90
"""Least cosine between opposite neighbours' normals: flatter than 26 degrees over two coarse pixels."""

HALF_WEIGHT_TILT = 0.25
"""Sine of the angle to the optical axis at which a normal gets half of the full weight. A surface seen head-on
says nothing of focal length and shift; only the noise of its slope would, and it flattens the scene."""

CLIPPED = 0.004
"""Share of the range next to either extreme where a map counts as clipped."""


@dataclass(frozen=True)
class Evidence:
    """Normal and slope of P coarse pixels of B pictures.

    With ``sigma`` = +1 for depth and -1 for disparity, the surface's normal is parallel to
    ``(slope_x, slope_y, -(shift + level) / f)``.

    Attributes:
        slope_x: (B, P) float, ``sigma`` times the map's derivative along x, per half width.
        slope_y: (B, P) float, likewise along y.
        level: (B, P) float, ``d + sigma * (x * d_x + y * d_y)``, d being the neighbours' mean.
        normal: (B, P, 3) float unit vectors, OpenCV camera frame.
        value: (B, P) float, the scaled map d.
        weight: (B, P) float in [0, 1): 0 where the pixel cannot be used, and little where it is seen head-on.
        usable: (B, P) bool, where the pixel can be used.
        roughness: (B,) float, share of the picture that bends too much to have a slope.
        low: (B,) float, value of the map that was scaled to 0.
        span: (B,) float, values of the map that were scaled to 1.
    """

    slope_x: Tensor
    slope_y: Tensor
    level: Tensor
    normal: Tensor
    value: Tensor
    weight: Tensor
    usable: Tensor
    roughness: Tensor
    low: Tensor
    span: Tensor

    def thinned(self, most: int) -> Evidence:
        """Return about ``most`` evenly spread pixels of each picture."""
        step = max(1, self.value.shape[1] // most)
        return Evidence(
            **{name: part if part.ndim == 1 else part[:, ::step] for name, part in vars(self).items()}
        )

    def double(self) -> Evidence:
        """Return the same in float64."""
        return Evidence(
            **{name: part.double() if part.is_floating_point() else part for name, part in vars(self).items()}
        )


def gather_evidence(values: Tensor, normals: Tensor, kind: DepthKind, valid: Tensor) -> Evidence:
    """Return the evidence of a batch of maps.

    Args:
        values: (B, H, W) float, affine-invariant, finite.
        normals: (B, H, W, 3) float, OpenCV camera frame, finite.
        kind: "depth" or "disparity".
        valid: (B, H, W) bool, pixels that count.

    Returns:
        The evidence, on a grid whose longest side is at most `WORKING_SIDE`.
    """
    stack = torch.cat([values[:, None], normals.movedim(-1, 1)], dim=1)
    stack, whole = _shrink(stack, valid)
    low, span = _robust_range(stack[:, 0], whole)
    scaled = (stack[:, 0] - low[:, None, None]) / span[:, None, None]
    length = stack[:, 1:].norm(dim=1)
    normal = stack[:, 1:] / length.clamp_min(1e-6)[:, None]
    centre, right, left, down, up = (scaled[:, 1:-1, 1:-1], *_neighbours(scaled))
    height, width = scaled.shape[1:]
    unit_x, unit_y = (
        2.0 / width,
        2.0 * values.shape[1] / values.shape[2] / height,
    )  # half widths per coarse pixel
    slope_x, slope_y = (right - left) / (2 * unit_x), (down - up) / (2 * unit_y)
    x = (torch.arange(1, width - 1, device=values.device) + 0.5 - width / 2) * unit_x
    y = (torch.arange(1, height - 1, device=values.device) + 0.5 - height / 2)[:, None] * unit_y
    sign = 1.0 if kind == "depth" else -1.0
    # The chords pass through the neighbours, not the centre: with their mean, planes are exact in depth too.
    level = (right + left + down + up) / 4 + sign * (x * slope_x + y * slope_y)
    flat, smooth = _smooth(scaled, normal)
    usable = flat & smooth & (length[:, 1:-1, 1:-1] > 0.95)
    for part in (whole[:, 1:-1, 1:-1], *_neighbours(whole)):
        usable &= part
    tilt = normal[:, :2, 1:-1, 1:-1].square().sum(1)
    return Evidence(
        slope_x=sign * slope_x.flatten(1),
        slope_y=sign * slope_y.flatten(1),
        level=level.flatten(1),
        normal=normal[:, :, 1:-1, 1:-1].flatten(2).mT,
        value=centre.flatten(1),
        weight=(tilt / (tilt + HALF_WEIGHT_TILT**2) * usable).flatten(1),
        usable=usable.flatten(1),
        roughness=1.0 - smooth.flatten(1).to(values.dtype).mean(1),
        low=low,
        span=span,
    )


def _shrink(stack: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Average over areas; cells that hold an invalid pixel are not whole."""
    height, width = stack.shape[-2:]
    scale = min(WORKING_SIDE / max(height, width), 1.0)
    size = (max(3, round(height * scale)), max(3, round(width * scale)))
    if size == (height, width):
        return stack, valid
    down, across = _box_filter(height, size[0], stack), _box_filter(width, size[1], stack)
    share = down @ valid.to(stack.dtype) @ across.T
    return down @ stack @ across.T, share > 0.999


def _box_filter(old: int, new: int, like: Tensor) -> Tensor:
    """Return the (new, old) matrix that averages over cells with exact borders.

    Adaptive pooling would round the cells to whole pixels and move their centres by up to half a pixel, which
    shows as a wrong focal length.
    """
    edges = torch.arange(new + 1, dtype=like.dtype, device=like.device) * (old / new)
    pixels = torch.arange(old, dtype=like.dtype, device=like.device)
    upper = torch.minimum(edges[1:, None], pixels + 1)
    lower = torch.maximum(edges[:-1, None], pixels)
    return (upper - lower).clamp_min(0.0) * (new / old)


def _robust_range(values: Tensor, whole: Tensor) -> tuple[Tensor, Tensor]:
    """Return the low end and the span of the middle 99.6 % of each map; the span is at least 1e-6."""
    low, high = [], []
    for picture, mask in zip(values, whole, strict=True):
        inside = picture[mask] if bool(mask.any()) else picture.flatten()
        ordered = inside.sort().values
        cut = int(0.002 * (ordered.numel() - 1))
        low.append(ordered[cut])
        high.append(ordered[ordered.numel() - 1 - cut])
    bottom = torch.stack(low)
    return bottom, (torch.stack(high) - bottom).clamp_min(1e-6)


def _smooth(scaled: Tensor, normal: Tensor) -> tuple[Tensor, Tensor]:
    """Return where normals agree and nothing is clipped, and where a central difference is a slope (no edge)."""
    centre, right, left, down, up = (scaled[:, 1:-1, 1:-1], *_neighbours(scaled))
    bend = torch.maximum((right + left - 2 * centre).abs(), (down + up - 2 * centre).abs())
    around = torch.stack([centre, right, left, down, up])
    east, west, south, north = _neighbours(normal)
    agree = torch.minimum((east * west).sum(1), (south * north).sum(1))
    inside = (around.amin(0) > CLIPPED) & (around.amax(0) < 1 - CLIPPED)
    return (agree > MIN_COSINE) & inside, bend < MAX_CURVATURE


def _neighbours(grid: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the right, left, lower and upper neighbours of the inner pixels."""
    return grid[..., 1:-1, 2:], grid[..., 1:-1, :-2], grid[..., 2:, 1:-1], grid[..., :-2, 1:-1]
