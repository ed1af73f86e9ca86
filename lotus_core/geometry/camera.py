"""Pinhole cameras: focal lengths, fields of view, intrinsics and the rays of a pixel grid.

Convention:
    OpenCV camera frame: +x right, +y down, +z forward. Pixel centres lie at +0.5: the first pixel of a
    picture has its centre at (x, y) = (0.5, 0.5), and the middle of a picture W wide is at x = W / 2.
    Intrinsics ``K`` are in pixels of the array they come with: ``pixel = K @ (X / Z, Y / Z, 1)``. A picture
    640 wide seen with 60 degrees across has ``f = 320 / tan(30 deg) = 554.26`` pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import require_shape
from ..errors import GeometryError, OptionError

FULL_FRAME_DIAGONAL_MM = 43.2666
"""Diagonal of 24 mm x 36 mm film. Source: CIPA DCG-001, 35 mm equivalent focal length, defined on the diagonal."""

MIN_FOV_DEG = 1.0
MAX_FOV_DEG = 170.0


@dataclass(frozen=True)
class Camera:
    """One pinhole camera and where it stands.

    Attributes:
        intrinsics: (3, 3) float, pixels of a ``width`` x ``height`` picture.
        world_from_camera: (4, 4) float, rigid; takes OpenCV camera coordinates to the world.
        width: Pixels across.
        height: Pixels down.
    """

    intrinsics: Tensor
    world_from_camera: Tensor
    width: int
    height: int

    @property
    def fov_x_deg(self) -> float:
        """Horizontal field of view in degrees."""
        return fov_from_focal(float(self.intrinsics[0, 0]), self.width)

    @property
    def camera_from_world(self) -> Tensor:
        """(4, 4) float; takes world coordinates to OpenCV camera coordinates."""
        return invert_rigid(self.world_from_camera)


def check_fov(fov_x_deg: float) -> float:
    """Return the field of view as a float.

    Raises:
        OptionError: It is not a finite number of degrees from 1 to 170.
    """
    if isinstance(fov_x_deg, bool) or not isinstance(fov_x_deg, int | float):
        raise OptionError("fov_x_deg", fov_x_deg, "a number of degrees from 1 to 170")
    if not MIN_FOV_DEG <= fov_x_deg <= MAX_FOV_DEG:  # also refuses NaN
        raise OptionError("fov_x_deg", fov_x_deg, "a number of degrees from 1 to 170")
    return float(fov_x_deg)


def focal_from_fov(fov_deg: float, side: float) -> float:
    """Return the focal length in pixels of a picture whose ``side`` pixels span ``fov_deg`` degrees.

    Raises:
        OptionError: The field of view is outside 1 to 170 degrees.
    """
    return side / 2.0 / math.tan(math.radians(check_fov(fov_deg)) / 2.0)


def fov_from_focal(focal_px: float, side: float) -> float:
    """Return the field of view in degrees that ``side`` pixels span at a focal length in pixels.

    Raises:
        GeometryError: The focal length is not a positive number.
    """
    if not (math.isfinite(focal_px) and focal_px > 0):
        raise GeometryError(
            "a focal length must be a positive number of pixels",
            found=repr(focal_px),
            remedy="check the camera file",
        )
    return math.degrees(2.0 * math.atan(side / 2.0 / focal_px))


def fov_from_exif(focal_35mm: float, width: int, height: int) -> float:
    """Return the horizontal field of view in degrees from EXIF's ``FocalLengthIn35mmFilm``.

    The equivalent is defined on the diagonal: 28 mm on a 4000 x 3000 picture is
    ``f = 28 / 43.27 * 5000 = 3236`` pixels, 63.4 degrees across.

    Args:
        focal_35mm: Focal length in millimetres on 24 mm x 36 mm film with the same diagonal angle.
        width: Pixels across, as shown (after the EXIF rotation).
        height: Pixels down.

    Raises:
        GeometryError: The focal length is not positive: EXIF writes 0 for "unknown".
    """
    if not (math.isfinite(focal_35mm) and focal_35mm > 0):
        raise GeometryError(
            "EXIF names no 35 mm focal length",
            found=repr(focal_35mm),
            remedy="pass the field of view, or let it be estimated",
        )
    return fov_from_focal(focal_35mm / FULL_FRAME_DIAGONAL_MM * math.hypot(width, height), width)


def intrinsics_from_focal(focal_px: Tensor, height: int, width: int) -> Tensor:
    """Return intrinsics with square pixels and the principal point in the middle of the picture.

    Args:
        focal_px: (B,) float, pixels.
        height: Pixels down.
        width: Pixels across.

    Returns:
        (B, 3, 3) float, in pixels, same dtype and device. Differentiable.
    """
    require_shape("focal_px", focal_px, "(B,)", remedy="pass one focal length for each picture")
    zero, one = torch.zeros_like(focal_px), torch.ones_like(focal_px)
    rows = (focal_px, zero, one * (width / 2), zero, focal_px, one * (height / 2), zero, zero, one)
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def intrinsics_from_fov(fov_x_deg: float, height: int, width: int) -> Tensor:
    """Return (1, 3, 3) float32 intrinsics of a picture seen with a horizontal field of view in degrees.

    Raises:
        OptionError: The field of view is outside 1 to 170 degrees.
    """
    return intrinsics_from_focal(torch.tensor([focal_from_fov(fov_x_deg, width)]), height, width)


def resize_intrinsics(intrinsics: Tensor, old_size: tuple[int, int], new_size: tuple[int, int]) -> Tensor:
    """Return the intrinsics of a resized picture.

    With pixel centres at +0.5, a resize is a plain scaling: no half pixel is lost.

    Args:
        intrinsics: (..., 3, 3) float, pixels.
        old_size: (height, width) that they belong to.
        new_size: (height, width) of the resized picture.

    Returns:
        (..., 3, 3) float.
    """
    require_shape("intrinsics", intrinsics, "(..., 3, 3)", remedy="pass 3 x 3 matrices in pixels")
    scale = [new_size[1] / old_size[1], new_size[0] / old_size[0], 1.0]
    return intrinsics * intrinsics.new_tensor(scale)[:, None]


def pixel_grid(height: int, width: int, *, device: torch.device | None = None) -> Tensor:
    """Return the centres of all pixels as (H, W, 2) float32 (x, y); the first is (0.5, 0.5)."""
    y = torch.arange(height, device=device, dtype=torch.float32) + 0.5
    x = torch.arange(width, device=device, dtype=torch.float32) + 0.5
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def pixel_rays(intrinsics: Tensor, height: int, width: int) -> Tensor:
    """Return the ray of every pixel, scaled to z = 1.

    Args:
        intrinsics: (B, 3, 3) float, pixels; zero skew.
        height: Pixels down.
        width: Pixels across.

    Returns:
        (B, H, W, 3) float, OpenCV camera frame: ``((x - c_x) / f_x, (y - c_y) / f_y, 1)``. Not unit length:
        multiplied by z-depth it is the point. Differentiable in the intrinsics.
    """
    require_shape(
        "intrinsics", intrinsics, "(B, 3, 3)", remedy="pass 3 x 3 matrices in pixels, one for each picture"
    )
    pixels = pixel_grid(height, width, device=intrinsics.device).to(intrinsics.dtype)
    centre = intrinsics[:, None, None, :2, 2]
    focal = torch.stack([intrinsics[:, 0, 0], intrinsics[:, 1, 1]], dim=-1)[:, None, None]
    xy = (pixels - centre) / focal  # (B, H, W, 2)
    return torch.cat([xy, torch.ones_like(xy[..., :1])], dim=-1)


def invert_rigid(transform: Tensor) -> Tensor:
    """Return the inverse of rigid transforms, by transposing the rotation.

    Args:
        transform: (..., 4, 4) float, rotation and translation: ``target_from_source``.

    Returns:
        (..., 4, 4) float: ``source_from_target``.
    """
    require_shape("transform", transform, "(..., 4, 4)", remedy="pass 4 x 4 homogeneous matrices")
    rotation = transform[..., :3, :3].mT
    translation = -(rotation @ transform[..., :3, 3:])
    top = torch.cat([rotation, translation], dim=-1)
    return torch.cat([top, transform[..., 3:, :]], dim=-2)
