"""Point clouds from one picture's grid of camera-space points."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import require_shape
from ..errors import GeometryError, OptionError


@dataclass(frozen=True)
class PointCloud:
    """Points, and what is known at each.

    Attributes:
        points: (N, 3) float32, OpenCV axes.
        normals: (N, 3) float32 unit vectors, or None.
        colours: (N, 3) float32 in [0, 1], sRGB, or None.
    """

    points: Tensor
    normals: Tensor | None = None
    colours: Tensor | None = None


def point_cloud(
    points: Tensor,
    *,
    mask: Tensor | None = None,
    normals: Tensor | None = None,
    image: Tensor | None = None,
    stride: int = 1,
) -> PointCloud:
    """Return the valid points of one picture as a list.

    Args:
        points: (H, W, 3) float, OpenCV camera frame. Pixels with NaN, infinity or z <= 0 are left out.
        mask: (H, W) bool, True where the points are valid, or None.
        normals: (H, W, 3) float unit vectors in the same frame, or None.
        image: (H, W, 3) float in [0, 1], sRGB, or None.
        stride: Use every n-th pixel along both sides, 1 to 64.

    Returns:
        The points in row order, on the device of ``points``.

    Raises:
        ShapeError: Another shape than documented.
        OptionError: A stride outside 1 to 64.
        GeometryError: Not one point is valid.
    """
    check_grid(points, mask, normals, image, stride)
    keep = valid_points(points, mask)[::stride, ::stride]
    if not bool(keep.any()):
        raise GeometryError(
            "no point is valid",
            found=f"{points.shape[0]} x {points.shape[1]} pixels",
            remedy="check the mask",
        )
    return PointCloud(
        points=points[::stride, ::stride][keep].float(),
        normals=None if normals is None else normals[::stride, ::stride][keep].float(),
        colours=None if image is None else image[::stride, ::stride][keep].float(),
    )


def check_grid(
    points: Tensor, mask: Tensor | None, normals: Tensor | None, image: Tensor | None, stride: int
) -> None:
    """Refuse a picture's arrays that do not belong together.

    Args:
        points: (H, W, 3).
        mask: (H, W), or None.
        normals: (H, W, 3), or None.
        image: (H, W, 3), or None.
        stride: 1 to 64.

    Raises:
        ShapeError: Another shape than documented.
        OptionError: A stride outside 1 to 64.
    """
    require_shape("points", points, "(H, W, 3)", remedy="take one picture of the batch first")
    height, width = points.shape[:2]
    size = f"({height}, {width}, 3)"
    if isinstance(stride, bool) or not 1 <= stride <= 64:
        raise OptionError("stride", stride, "an integer from 1 to 64")
    if mask is not None:
        require_shape("mask", mask, f"({height}, {width})", remedy="pass the mask of the same picture")
    if normals is not None:
        require_shape("normals", normals, size, remedy="pass the normals of the same picture")
    if image is not None:
        require_shape("image", image, size, remedy="resize the image to the points first")


def valid_points(points: Tensor, mask: Tensor | None) -> Tensor:
    """Return where points are finite, in front of the camera and not masked out, as (H, W) bool."""
    valid = torch.isfinite(points).all(dim=-1) & (points[..., 2] > 0)
    return valid if mask is None else valid & mask.to(device=valid.device, dtype=torch.bool)
