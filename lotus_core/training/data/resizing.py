"""Brings one example to the size of its data set."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def resize_picture(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """Return a (3, H, W) picture at another (height, width): bilinear, antialiased where it shrinks."""
    if tuple(picture.shape[-2:]) == size:
        return picture
    return F.interpolate(picture[None], size, mode="bilinear", align_corners=False, antialias=True)[0]


def resize_plane(plane: Tensor, size: tuple[int, int]) -> Tensor:
    """Return a (..., H, W) map or mask at another (height, width), each pixel taken from the nearest one.

    Depth across an edge is never mixed: a pixel between two surfaces would lie on neither.
    """
    if tuple(plane.shape[-2:]) == size:
        return plane
    flat = plane.reshape(1, -1, *plane.shape[-2:])
    small = F.interpolate(flat.float(), size, mode="nearest-exact")
    return small.reshape(*plane.shape[:-2], *size).to(plane.dtype)


def lower_middle(plane: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the lower middle part of a (..., H, W) map: the benchmark crop of KITTI.

    From 375 x 1242 the part of 352 x 1216 is rows 23 to 374 and columns 13 to 1228.
    """
    height, width = size
    top, left = plane.shape[-2] - height, (plane.shape[-1] - width) // 2
    return plane[..., top : top + height, left : left + width]
