"""Least-squares scale and shift between an affine-invariant map and the truth, as the field's protocol fits them.

Source: Ranftl et al., "Towards Robust Monocular Depth Estimation" (arXiv 1907.01341), section 5; Marigold (arXiv
2312.02145), section 4.2; the evaluation code of prs-eth/Marigold and EnVision-Research/Lotus.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from ..conventions import DepthKind
from ..errors import InputError, ShapeError

LEAST_DISPARITY: Final = 1e-3
"""Aligned disparities are held at this value at least, so that none turns into an infinite or negative depth."""


@dataclass(frozen=True)
class AlignedDepth:
    """A prediction in the truth's unit.

    Attributes:
        depth: (H, W) float64, metres, before the protocol's clipping.
        scale: Factor of the fit, in the space where it was made (depth or disparity).
        shift: Offset of the fit.
    """

    depth: Tensor
    scale: float
    shift: float


def fit_scale_shift(values: Tensor, target: Tensor, use: Tensor) -> tuple[float, float]:
    """Return the scale s and the shift t that minimise ``sum (s * values + t - target)^2`` over the used pixels.

    For values (0, 1) and targets (3, 5) they are (2, 3). Values that are all equal have scale 0 and the mean target
    as shift.

    Args:
        values: (H, W) float, a prediction.
        target: (H, W) float, the truth in the same space.
        use: (H, W) bool, pixels that count.

    Returns:
        The scale and the shift, computed in float64.

    Raises:
        ShapeError: Maps of different sizes.
        InputError: No pixel is used.
    """
    for name, other in (("target", target), ("use", use)):
        if other.shape != values.shape:
            raise ShapeError(name, other.shape, str(tuple(values.shape)), remedy="compare maps of one size")
    x, y = values[use].double(), target[use].double()
    if not len(x):
        raise InputError("no pixel has a truth to align with", remedy="leave this image out")
    mean_x, mean_y = x.mean(), y.mean()
    spread = ((x - mean_x) ** 2).sum()
    covariance = ((x - mean_x) * (y - mean_y)).sum()
    rounding = len(x) * (torch.finfo(torch.float64).eps * mean_x.abs()) ** 2
    scale = float(covariance / spread) if float(spread) > float(rounding) else 0.0
    return scale, float(mean_y - scale * mean_x)


def align_depth(
    values: Tensor, depth: Tensor, use: Tensor, kind: DepthKind, *, max_side: int | None = None
) -> AlignedDepth:
    """Return a prediction as depth in metres: fitted to the truth in depth, or in disparity and then inverted.

    Args:
        values: (H, W) float, affine-invariant depth (high = far) or disparity (high = near).
        depth: (H, W) float, the true depth in metres, positive where it is used.
        use: (H, W) bool, pixels of the fit.
        kind: What `values` are; disparities are fitted to 1 / depth and held at `LEAST_DISPARITY` at least.
        max_side: The fit uses maps whose longer side is at most this, sampled to the nearest pixel; None: all.

    Raises:
        ShapeError: Maps of different sizes.
        InputError: No pixel is used.
    """
    target = depth.double()
    if kind == "disparity":
        target = torch.where(target > 0, 1.0 / target.clamp_min(1e-12), 0.0)
    fit = (values.double(), target, use)
    if max_side is not None and max(values.shape) > max_side:
        fit = tuple(_sampled(plane, max_side / max(values.shape)) for plane in fit)
    scale, shift = fit_scale_shift(*fit)
    aligned = values.double() * scale + shift
    if kind == "disparity":
        aligned = 1.0 / aligned.clamp_min(LEAST_DISPARITY)
    return AlignedDepth(aligned, scale, shift)


def _sampled(plane: Tensor, factor: float) -> Tensor:
    """Return every 1 / factor-th pixel, the nearest one towards the upper left as torch's "nearest" takes it."""
    small = torch.nn.functional.interpolate(plane[None, None].double(), scale_factor=factor, mode="nearest")
    return small[0, 0].to(plane.dtype)
