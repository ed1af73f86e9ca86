"""Camera-space points: from z-depth to points and back to pixels.

Convention:
    Points are in the OpenCV camera frame (+x right, +y down, +z forward). Depth is z, not the distance along
    the ray. Pixel centres lie at +0.5.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..checks import require_shape
from .camera import pixel_rays


def unproject(depth: Tensor, intrinsics: Tensor) -> Tensor:
    """Return the camera-space point of every pixel.

    With f = 100 and the principal point (2, 1), a depth of 5 at the first pixel (centre (0.5, 0.5)) is the
    point (-0.075, -0.025, 5).

    Args:
        depth: (B, H, W) float z-depth, high = far, any unit.
        intrinsics: (B, 3, 3) float, pixels of this size.

    Returns:
        (B, H, W, 3) float, in depth's unit. Differentiable in both.

    Raises:
        ShapeError: Another shape than documented.
    """
    require_shape("depth", depth, "(B, H, W)", remedy="pass one channel, with a batch axis first")
    require_shape(
        "intrinsics", intrinsics, "(B, 3, 3)", remedy="pass 3 x 3 matrices in pixels, one for each picture"
    )
    return pixel_rays(intrinsics, *depth.shape[1:]) * depth[..., None]


def project(points: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor]:
    """Return where camera-space points appear in the picture, and their depth.

    Args:
        points: (B, ..., 3) float, OpenCV camera frame.
        intrinsics: (B, 3, 3) float, pixels.

    Returns:
        pixels: (B, ..., 2) float, (x, y) with pixel centres at +0.5. NaN for a point that is not in front of
            the camera (z <= 0).
        depth: (B, ...) float z-depth, in the unit of the points.

    Raises:
        ShapeError: Another shape than documented.
    """
    require_shape("points", points, "(..., 3)", remedy="pass x, y, z along the last axis")
    require_shape(
        "intrinsics", intrinsics, "(B, 3, 3)", remedy="pass 3 x 3 matrices in pixels, one for each picture"
    )
    z = points[..., 2]
    matrix = intrinsics.reshape(-1, *[1] * (points.ndim - 2), 3, 3)
    homogeneous = (matrix @ points[..., None])[..., 0]  # (B, ..., 3)
    safe = torch.where(z > 0, z, torch.full_like(z, float("nan")))
    return homogeneous[..., :2] / safe[..., None], z


def transform_points(points: Tensor, target_from_source: Tensor) -> Tensor:
    """Return points in another frame.

    Args:
        points: (..., 3) float, in the source frame.
        target_from_source: (4, 4) or (B, 4, 4) float; with a batch axis, ``points`` has the same one first.

    Returns:
        (..., 3) float, in the target frame.

    Raises:
        ShapeError: Another shape than documented.
    """
    require_shape("points", points, "(..., 3)", remedy="pass x, y, z along the last axis")
    require_shape(
        "target_from_source", target_from_source, "(..., 4, 4)", remedy="pass 4 x 4 homogeneous matrices"
    )
    return rotate_vectors(points, target_from_source) + _aligned(target_from_source, points)[..., :3, 3]


def rotate_vectors(vectors: Tensor, target_from_source: Tensor) -> Tensor:
    """Return directions (such as normals) in another frame: the rotation alone is applied.

    Args:
        vectors: (..., 3) float, in the source frame.
        target_from_source: (4, 4) or (B, 4, 4) float, rigid.

    Returns:
        (..., 3) float, in the target frame, of the same length.
    """
    rotation = _aligned(target_from_source, vectors)[..., :3, :3]
    return (rotation @ vectors[..., None])[..., 0]


def _aligned(transform: Tensor, values: Tensor) -> Tensor:
    """Insert axes of size 1 after the batch axis so that it meets the same axis of ``values``."""
    if transform.ndim == 2:
        return transform
    return transform.reshape(-1, *[1] * (values.ndim - 2), *transform.shape[-2:])
