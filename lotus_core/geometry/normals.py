"""Surface normals: from points, as unit vectors toward the camera, and as slopes of the logarithm of depth.

Convention:
    OpenCV camera frame (+x right, +y down, +z forward). A normal faces the camera: ``n . point < 0``. A wall
    seen head-on has (0, 0, -1).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..checks import require_shape
from .camera import pixel_rays

STEEPEST = 0.05
"""Least cosine between a normal and the ray (times the ray's length at z = 1) that is taken at its word."""


def normals_from_points(points: Tensor, *, valid: Tensor | None = None) -> Tensor:
    """Return the normals of a surface given as a grid of points.

    Along each axis the nearer of the two neighbours in depth is taken, so that a normal next to an occlusion
    comes from its own side; where both differ by less than 1 % of the depth they are averaged.

    Args:
        points: (B, H, W, 3) float, OpenCV camera frame, z > 0.
        valid: (B, H, W) bool, pixels that may be used, or None for all that are finite.

    Returns:
        (B, H, W, 3) float unit vectors that face the camera; zero where no neighbour can be used along one of
        the axes (a picture one pixel wide or high, an isolated pixel). Differentiable in the points.

    Raises:
        ShapeError: Another shape than documented.
    """
    require_shape("points", points, "(B, H, W, 3)", remedy="pass a grid of points with a batch axis first")
    usable = points.isfinite().all(-1)
    if valid is not None:
        require_shape("valid", valid, "(B, H, W)", remedy="pass one mask for each picture")
        usable &= valid
    clean = torch.where(usable[..., None], points, 0.0)
    across = _tangent(clean, usable, 2)
    down = _tangent(clean, usable, 1)
    normal = torch.linalg.cross(down, across)  # right x down points away from the camera; this points to it
    unit = unit_normals(normal)
    return torch.where(((unit * clean).sum(-1) > 0)[..., None], -unit, unit)


def unit_normals(vectors: Tensor) -> Tensor:
    """Return vectors scaled to unit length, (..., 3) float; those shorter than 1e-12 or not finite become zero."""
    x, y, z = vectors.unbind(-1)
    squared = (x * x + y * y + z * z)[..., None]  # norm() along a last axis of 3 is several times slower
    usable = squared.isfinite() & (squared > 1e-24)
    length = torch.where(usable, squared, 1.0).sqrt()  # the root of 0 has no derivative
    return torch.where(usable, vectors, 0.0) / length


def facing_normals(vectors: Tensor, intrinsics: Tensor) -> Tensor:
    """Return unit normals that face the camera: those that look away are turned back to the silhouette.

    Args:
        vectors: (B, H, W, 3) float, OpenCV camera frame, any length.
        intrinsics: (B, 3, 3) float, pixels.

    Returns:
        (B, H, W, 3) float unit vectors with ``n . ray <= 0``; zero where a vector was zero or not finite.
    """
    unit = unit_normals(vectors)
    ray = unit_normals(pixel_rays(intrinsics, *vectors.shape[1:3]))
    away = (unit * ray).sum(-1, keepdim=True).clamp_min(0.0)
    return unit_normals(unit - away * ray)


def log_depth_slopes(normals: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return how fast the logarithm of depth changes along a surface with given normals.

    A plane ``n . P = c`` seen along the ray r has ``ln z = ln c - ln(n . r)``; so ``d ln z / dx`` per pixel is
    ``-n_x / (f q)`` with ``q = n . r``.

    Args:
        normals: (B, H, W, 3) float unit vectors, OpenCV camera frame, facing the camera.
        intrinsics: (B, 3, 3) float, pixels.

    Returns:
        slope_x: (B, H, W) float, change of ln z from a pixel to the next on its right.
        slope_y: (B, H, W) float, to the next below.
        cosine: (B, H, W) float, ``-q``: cosine between normal and viewing ray times the ray's length,
            held at `STEEPEST` at least.
    """
    ray = pixel_rays(intrinsics, *normals.shape[1:3])
    cosine = -(normals * ray).sum(-1).clamp_max(-STEEPEST)
    focal_x, focal_y = intrinsics[:, 0, 0, None, None], intrinsics[:, 1, 1, None, None]
    return normals[..., 0] / (cosine * focal_x), normals[..., 1] / (cosine * focal_y), cosine


def _tangent(points: Tensor, usable: Tensor, axis: int) -> Tensor:
    """Return the step between neighbours along an axis, from the side that is nearer in depth; zero if none."""
    size = points.shape[axis]
    forward, has_forward = torch.zeros_like(points), torch.zeros_like(usable)
    backward, has_backward = torch.zeros_like(points), torch.zeros_like(usable)
    if size > 1:
        step = points.narrow(axis, 1, size - 1) - points.narrow(axis, 0, size - 1)
        both = usable.narrow(axis, 1, size - 1) & usable.narrow(axis, 0, size - 1)
        forward = _padded(step, axis, last=True)
        backward = _padded(step, axis, last=False)
        has_forward = _padded(both, axis, last=True)
        has_backward = _padded(both, axis, last=False)
    jump_forward = torch.where(has_forward, forward[..., 2].abs(), float("inf"))
    jump_backward = torch.where(has_backward, backward[..., 2].abs(), float("inf"))
    take_forward = (jump_forward <= jump_backward)[..., None]
    single = torch.where(take_forward, forward, backward)
    similar = (
        has_forward & has_backward & ((jump_forward - jump_backward).abs() < 0.01 * points[..., 2].abs())
    )
    step = torch.where(similar[..., None], (forward + backward) / 2, single)
    return torch.where((has_forward | has_backward)[..., None], step, 0.0)


def _padded(step: Tensor, axis: int, *, last: bool) -> Tensor:
    """Add an empty row at the end or the start of an axis."""
    shape = list(step.shape)
    shape[axis] = 1
    empty = step.new_zeros(shape)
    return torch.cat([step, empty] if last else [empty, step], dim=axis)
