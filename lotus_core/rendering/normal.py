"""Pictures of normal maps, in the four conventions, and back.

Convention:
    Vectors are unit vectors in the OpenCV camera frame (+x right, +y down, +z forward). A wall seen head-on is
    (0, 0, -1) and is painted (0.5, 0.5, 1) by Lotus, OpenGL and DirectX and (0.5, 0.5, 0) in raw OpenCV. A
    floor, which faces up, is (0, -1, 0): green is 1 in Lotus and OpenGL, 0 in DirectX and OpenCV.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F

from ..checks import require_shape
from ..conventions import NormalConvention
from ..errors import OptionError

if TYPE_CHECKING:
    from torch import Tensor

_SHAPE = "(B, H, W, 3)"


def normal_rgb(
    vectors: Tensor,
    convention: NormalConvention | str = NormalConvention.LOTUS,
    *,
    mask: Tensor | None = None,
) -> Tensor:
    """Return a normal map as a picture, ``s * n * 0.5 + 0.5`` with the convention's signs s.

    Vectors are renormalised first. One without a direction (zero, or NaN) is the middle grey (0.5, 0.5, 0.5).

    Args:
        vectors: (B, H, W, 3) float, OpenCV camera frame; their length does not matter.
        convention: "lotus" (also DSINE and ControlNet 1.1 normalbae), "opengl", "directx" or "opencv".
        mask: (B, H, W) bool, True where the map is valid; the rest is middle grey. None: everywhere.

    Returns:
        (B, H, W, 3) float32 in [0, 1].

    Raises:
        ShapeError: `vectors` or `mask` of another shape.
        OptionError: An unknown convention.
    """
    signs = vectors.new_tensor(_convention(convention).signs_from_opencv).float()
    unit = renormalize(vectors) * signs
    if mask is not None:
        require_shape(
            "mask", mask, str(tuple(vectors.shape[:3])), remedy="pass one flag per pixel of the map"
        )
        unit = unit * mask.to(unit.device).bool()[..., None]
    return unit * 0.5 + 0.5


def normals_from_rgb(rgb: Tensor, convention: NormalConvention | str = NormalConvention.LOTUS) -> Tensor:
    """Return the unit vectors of a normal picture.

    Args:
        rgb: (B, H, W, 3) float in [0, 1].
        convention: How the picture is painted.

    Returns:
        (B, H, W, 3) float32 unit vectors, OpenCV camera frame; (0, 0, 0) where the picture is middle grey.

    Raises:
        ShapeError: `rgb` of another shape.
        OptionError: An unknown convention.
    """
    require_shape("rgb", rgb, _SHAPE, remedy="pass channels last and keep the batch axis")
    signs = rgb.new_tensor(_convention(convention).signs_from_opencv).float()  # each its own inverse
    return renormalize((rgb.float() * 2.0 - 1.0) * signs)


def renormalize(vectors: Tensor) -> Tensor:
    """Return vectors of length 1; one that is zero or not finite becomes (0, 0, 0).

    Args:
        vectors: (B, H, W, 3) float.

    Returns:
        (B, H, W, 3) float32.

    Raises:
        ShapeError: Another shape.
    """
    require_shape("vectors", vectors, _SHAPE, remedy="pass channels last and keep the batch axis")
    finite = vectors.float().where(vectors.isfinite().all(-1, keepdim=True), vectors.new_zeros(()).float())
    return F.normalize(finite, dim=-1, eps=1e-6)


def mirror_normals(vectors: Tensor) -> Tensor:
    """Return the normals of the left-right mirrored picture: columns in reverse order, x negated.

    It takes the map of a flipped input back to the picture as it was, and twice is no change but for the length.
    A surface that faces right, (1, 0, 0), at the left border becomes one that faces left, (-1, 0, 0), at the right.

    Args:
        vectors: (B, H, W, 3) float, OpenCV camera frame; renormalised before the flip.

    Returns:
        (B, H, W, 3) float32 unit vectors.

    Raises:
        ShapeError: Another shape.
    """
    return renormalize(vectors).flip(2) * vectors.new_tensor((-1.0, 1.0, 1.0)).float()


def resize_normals(vectors: Tensor, height: int, width: int) -> Tensor:
    """Return a normal map at another size: antialiased bilinear, then renormalised.

    Args:
        vectors: (B, H, W, 3) float.
        height: Rows of the result, at least 1.
        width: Columns of the result, at least 1.

    Returns:
        (B, height, width, 3) float32 unit vectors; (0, 0, 0) where opposite neighbours cancel.

    Raises:
        ShapeError: Another shape.
        OptionError: A side below 1.
    """
    for name, side in (("height", height), ("width", width)):
        if side < 1:
            raise OptionError(name, side, "at least 1 pixel")
    unit = renormalize(vectors).movedim(-1, 1)  # (B, 3, H, W)
    resized = F.interpolate(unit, (height, width), mode="bilinear", align_corners=False, antialias=True)
    return renormalize(resized.movedim(1, -1))


def _convention(convention: NormalConvention | str) -> NormalConvention:
    try:
        return NormalConvention(convention)
    except ValueError:
        names = ", ".join(c.value for c in NormalConvention)
        raise OptionError("convention", convention, f"one of {names}") from None
