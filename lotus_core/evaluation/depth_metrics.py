"""Errors of depth maps.

Source: Eigen et al., "Depth Map Prediction from a Single Image" (arXiv 1406.2283), section 4; SILog as in the KITTI
depth benchmark (the standard deviation of the logarithmic error, times 100).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..errors import InputError, ShapeError


@dataclass(frozen=True)
class DepthMetrics:
    """Errors of one map, or their mean over images.

    Attributes:
        abs_rel: Mean of ``|d - d*| / d*``.
        sq_rel: Mean of ``(d - d*)^2 / d*``, metres.
        rmse: Root of the mean of ``(d - d*)^2``, metres.
        log_rmse: Root of the mean of ``(ln d - ln d*)^2``.
        log10: Mean of ``|log10 d - log10 d*|``.
        delta1: Share in percent of pixels with ``max(d / d*, d* / d) < 1.25``.
        delta2: Likewise under ``1.25^2``.
        delta3: Likewise under ``1.25^3``.
        silog: 100 times the standard deviation of ``ln d - ln d*``: a wrong scale costs nothing.
    """

    abs_rel: float
    sq_rel: float
    rmse: float
    log_rmse: float
    log10: float
    delta1: float
    delta2: float
    delta3: float
    silog: float


def depth_metrics(predicted: Tensor, truth: Tensor, valid: Tensor) -> DepthMetrics:
    """Return the errors of one depth map over its valid pixels.

    For truths (2, 4) and predictions (1, 4) the relative errors are 0.5 and 0: abs_rel is 0.25.

    Args:
        predicted: (H, W) float, metres, positive.
        truth: (H, W) float, metres, positive where valid.
        valid: (H, W) bool.

    Raises:
        ShapeError: Maps of different sizes.
        InputError: No valid pixel, or a depth that is not positive.
    """
    for name, other in (("truth", truth), ("valid", valid)):
        if other.shape != predicted.shape:
            raise ShapeError(
                name, other.shape, str(tuple(predicted.shape)), remedy="compare maps of one size"
            )
    d, t = predicted[valid].double(), truth[valid].double()
    if not len(d):
        raise InputError("no pixel has a true depth", remedy="leave this image out")
    if not (bool((d > 0).all()) and bool((t > 0).all())):
        raise InputError(
            "depths must be positive to be compared",
            found=f"{float(d.min()):.3g} predicted and {float(t.min()):.3g} true at least",
            remedy="clip the prediction to the protocol's range, and mask pixels without a truth",
        )
    difference, log_difference = d - t, d.log() - t.log()
    ratio = (d / t).maximum(t / d)
    shares = [100.0 * float((ratio < 1.25**power).double().mean()) for power in (1, 2, 3)]
    return DepthMetrics(
        abs_rel=float((difference.abs() / t).mean()),
        sq_rel=float((difference**2 / t).mean()),
        rmse=float((difference**2).mean().sqrt()),
        log_rmse=float((log_difference**2).mean().sqrt()),
        log10=float((d.log10() - t.log10()).abs().mean()),
        delta1=shares[0],
        delta2=shares[1],
        delta3=shares[2],
        silog=100.0 * float(log_difference.var(correction=0).clamp_min(0.0).sqrt()),
    )
