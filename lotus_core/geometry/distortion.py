"""Lens distortion of real cameras, taken out of a picture before anything else is done with it.

Convention:
    With (x, y) = (X / Z, Y / Z) and r^2 = x^2 + y^2, the lens moves a point to
    ``x (1 + k1 r^2 + k2 r^4 + k3 r^6 + k4 r^8) + 2 p1 x y + p2 (r^2 + 2 x^2)`` and
    ``y (1 + ...) + p1 (r^2 + 2 y^2) + 2 p2 x y``. Source: D. C. Brown, "Close-range camera calibration" (1971);
    the models SIMPLE_RADIAL, RADIAL and OPENCV of COLMAP and Nerfstudio are this with some terms zero.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import torch
from torch import Tensor

from ..checks import require_shape
from .camera import Camera, pixel_rays


@dataclass(frozen=True)
class Distortion:
    """Radial and tangential distortion coefficients; all zero is a perfect lens.

    Attributes:
        k1: Factor of r^2.
        k2: Factor of r^4.
        k3: Factor of r^6.
        k4: Factor of r^8.
        p1: First tangential factor.
        p2: Second tangential factor.
    """

    k1: float = 0.0
    k2: float = 0.0
    k3: float = 0.0
    k4: float = 0.0
    p1: float = 0.0
    p2: float = 0.0

    @property
    def is_zero(self) -> bool:
        """Whether the lens is perfect."""
        return not any(astuple(self))


def distort(xy: Tensor, distortion: Distortion) -> Tensor:
    """Return where the lens moves points of the plane z = 1.

    With k1 = 0.1 the point (0.5, 0) moves to (0.5125, 0).

    Args:
        xy: (..., 2) float, X / Z and Y / Z.
        distortion: The lens.

    Returns:
        (..., 2) float.
    """
    x, y = xy.unbind(-1)
    r2 = x * x + y * y
    k = distortion
    radial = 1 + r2 * (k.k1 + r2 * (k.k2 + r2 * (k.k3 + r2 * k.k4)))
    moved_x = x * radial + 2 * k.p1 * x * y + k.p2 * (r2 + 2 * x * x)
    moved_y = y * radial + k.p1 * (r2 + 2 * y * y) + 2 * k.p2 * x * y
    return torch.stack([moved_x, moved_y], dim=-1)


def undistort_image(image: Tensor, camera: Camera, distortion: Distortion) -> tuple[Tensor, Tensor]:
    """Return the picture that a perfect lens with the same intrinsics would have taken.

    Args:
        image: (H, W, 3) float, [0, 1].
        camera: Its intrinsics, which stay valid for the result.
        distortion: The lens that took it.

    Returns:
        image: (H, W, 3) float; the border is repeated where the lens saw nothing.
        seen: (H, W) bool, False there.

    Raises:
        ShapeError: The picture is not of the camera's size.
    """
    height, width = camera.height, camera.width
    require_shape(
        "image",
        image,
        f"({height}, {width}, 3)",
        remedy="resize the picture or the intrinsics, so that both fit",
    )
    intrinsics = camera.intrinsics.to(image)
    rays = pixel_rays(intrinsics[None], height, width)[0]
    moved = distort(rays[..., :2], distortion)
    focal = torch.stack([intrinsics[0, 0], intrinsics[1, 1]])
    pixels = moved * focal + intrinsics[:2, 2]  # (H, W, 2), where the real lens put it
    size = pixels.new_tensor([width, height])
    seen = ((pixels >= 0) & (pixels <= size)).all(dim=-1) & _before_fold(rays[..., :2], distortion)
    sampled = torch.nn.functional.grid_sample(
        image.permute(2, 0, 1)[None],
        (pixels / size * 2 - 1)[None],
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    return sampled[0].permute(1, 2, 0), seen


def _before_fold(xy: Tensor, distortion: Distortion) -> Tensor:
    """Where the radial polynomial still grows: beyond that it folds the outside back into the picture."""
    r2 = xy.square().sum(dim=-1)
    k = distortion
    return 1 + r2 * (3 * k.k1 + r2 * (5 * k.k2 + r2 * (7 * k.k3 + r2 * 9 * k.k4))) > 0
