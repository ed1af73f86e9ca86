"""The field's crops: which part of a picture is shown to a model, and which pixels count."""

from __future__ import annotations

from typing import Final, Literal

import torch
from torch import Tensor

from ..errors import ImageError, OptionError

KittiCrop = Literal["eigen", "garg", "none"]

KITTI_HEIGHT: Final = 352
KITTI_WIDTH: Final = 1216
"""Size of the KITTI benchmark's pictures. Source: the KITTI depth benchmark; Marigold's evaluation code."""

NYU_SIZE: Final = (480, 640)
_NYU_EIGEN: Final = (45, 471, 41, 601)
"""Rows 45 to 470 and columns 41 to 600. Source: Eigen et al. (arXiv 1406.2283), their published evaluation."""

_KITTI_SHARES: Final = {
    "garg": (0.40810811, 0.99189189, 0.03594771, 0.96405229),
    "eigen": (0.3324324, 0.91351351, 0.0359477, 0.96405229),
}
"""Shares of the height and the width. Source: Garg et al. (arXiv 1603.04992) and Eigen et al., as in monodepth."""


def nyu_eigen_mask(height: int, width: int) -> Tensor:
    """Return where a NYUv2 picture counts: all but a border where projected depth is missing, (H, W) bool.

    Raises:
        ImageError: Another size than 640x480.
    """
    if (height, width) != NYU_SIZE:
        raise ImageError(
            "the Eigen crop is defined for NYUv2's size, 640x480",
            found=f"{width}x{height}",
            remedy="use the pictures as published",
        )
    top, bottom, left, right = _NYU_EIGEN
    return _rectangle(height, width, top, bottom, left, right)


def kitti_mask(height: int, width: int, crop: KittiCrop) -> Tensor:
    """Return where a KITTI picture counts, (H, W) bool.

    At 352 x 1216 "garg" counts rows 143 to 348 and columns 43 to 1171, "eigen" rows 117 to 320 of the same columns.

    Args:
        height: Of the picture after `kitti_benchmark_crop`.
        width: Likewise.
        crop: "eigen" (Marigold's and Lotus's choice), "garg", or "none" for every pixel.

    Raises:
        OptionError: Another crop.
    """
    if crop == "none":
        return torch.ones(height, width, dtype=torch.bool)
    if crop not in _KITTI_SHARES:
        raise OptionError("crop", crop, '"eigen", "garg" or "none"')
    top, bottom, left, right = _KITTI_SHARES[crop]
    return _rectangle(
        height, width, int(top * height), int(bottom * height), int(left * width), int(right * width)
    )


def kitti_benchmark_crop(plane: Tensor) -> Tensor:
    """Return the lower middle 352 x 1216 pixels of a picture or map.

    Args:
        plane: (H, W, ...) at least 352 x 1216.

    Raises:
        ImageError: A smaller picture.
    """
    height, width = plane.shape[:2]
    if height < KITTI_HEIGHT or width < KITTI_WIDTH:
        raise ImageError(
            f"the KITTI benchmark's crop needs {KITTI_WIDTH}x{KITTI_HEIGHT} pixels",
            found=f"{width}x{height}",
            remedy="use the pictures as published",
        )
    top, left = height - KITTI_HEIGHT, (width - KITTI_WIDTH) // 2
    return plane[top : top + KITTI_HEIGHT, left : left + KITTI_WIDTH]


def _rectangle(height: int, width: int, top: int, bottom: int, left: int, right: int) -> Tensor:
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask
