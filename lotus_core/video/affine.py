"""Robust affine fits between the maps of two frames.

Source: the project's study of rendered clips: ordinary least squares shrinks the scale by the noise of its
regressor, frame after frame; the reduced major axis treats both maps alike and does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

_L1_STEPS: Final = 3
_GEMAN_MCCLURE_STEPS: Final = 7
_MAD_TO_SD: Final = 1.4826
_SCALE_FACTOR: Final = 1.5  # Geman-McClure scale, in standard deviations of the residuals
_WIDEST: Final = 0.15  # of the map's own spread: beyond it a residual is a mover, however many there are
_INLIER: Final = 2.0  # Geman-McClure scales
_MEDIAN_STRIDE: Final = 4  # residuals are neighbours' copies: a quarter gives the same median
_SCALE_LIMIT: Final = 4.0
_TINY: Final = 1e-6


@dataclass(frozen=True)
class AffineFits:
    """``y_k ~ scale_k * x + shift_k`` for K maps y.

    Attributes:
        scale: (K,) float32, positive.
        shift: (K,) float32.
        inliers: (K,) float32 in [0, 1], share of the valid pixels that the fit explains; 0 where there is no fit.
    """

    scale: Tensor
    shift: Tensor
    inliers: Tensor


@dataclass(frozen=True)
class Spread:
    """Middle and width of a map's values.

    Attributes:
        median: () or (K,) float32.
        mad: Same shape, median absolute deviation.
    """

    median: Tensor
    mad: Tensor


def spread(values: Tensor, valid: Tensor) -> Spread:
    """Return median and median absolute deviation of the valid values of a map, (N,); 0 and 0 if there are none."""
    kept = values[valid]
    if kept.numel() == 0:
        return Spread(values.new_zeros(()), values.new_zeros(()))
    median = kept.median()
    return Spread(median, (kept - median).abs().median())


def fit_affine(
    x: Tensor, y: Tensor, valid: Tensor, x_spread: Spread, y_spread: Spread, weight: Tensor | None = None
) -> AffineFits:
    """Return the robust affine maps from one frame to several others.

    Starts at the ratio of the spreads; three L1 and seven Geman-McClure reweightings follow, with the
    reduced-major-axis slope ``sqrt(S_yy / S_xx)``. For ``y = 2 x + 1`` the fit is (2, 1).

    Args:
        x: (N,) float32, this frame's samples.
        y: (K, N) float32, the other frames' samples at the same pixels.
        valid: (K, N) bool, where both are usable.
        x_spread: Spread of `x`.
        y_spread: Spreads of `y`, (K,) each.
        weight: (N,) float32, prior weight of every pixel; None: all alike.
    """
    prior = valid.float() if weight is None else valid * weight
    fitted = y_spread.mad > _TINY
    fitted &= x_spread.mad > _TINY
    scale = (y_spread.mad / x_spread.mad.clamp_min(_TINY)).clamp(1 / _SCALE_LIMIT, _SCALE_LIMIT)[:, None]
    shift = y_spread.median[:, None] - scale * x_spread.median
    width = y_spread.mad[:, None] * _MAD_TO_SD
    tolerance = width
    for step in range(_L1_STEPS + _GEMAN_MCCLURE_STEPS):
        residual = (y - shift).sub_(scale * x)
        if step < _L1_STEPS:
            weights = prior / residual.abs_().add_(0.01 * width + _TINY)
        else:
            if (step - _L1_STEPS) % 2 == 0:  # it moves slowly, and its median is what costs most
                tolerance = _tolerance(residual, valid, width)
            weights = prior / residual.div_(tolerance).square_().add_(1.0).square_()
        scale, shift = _reduced_major_axis(x, y, weights)
    close = ((y - shift).sub_(scale * x).abs_() < _INLIER * tolerance) & valid
    share = close.sum(-1) / valid.sum(-1).clamp_min(1)
    return AffineFits(scale[:, 0], shift[:, 0], torch.where(fitted, share, 0.0))


def _tolerance(residual: Tensor, valid: Tensor, width: Tensor) -> Tensor:
    """Return the Geman-McClure scale of every fit, (K, 1)."""
    thin, kept = residual[:, ::_MEDIAN_STRIDE].abs(), valid[:, ::_MEDIAN_STRIDE]
    median = torch.where(kept, thin, torch.nan).nanmedian(-1, keepdim=True).values.nan_to_num(0.0)
    sd = median * (_MAD_TO_SD * _SCALE_FACTOR)
    return torch.minimum(sd.clamp_min(1e-4), _WIDEST * width).clamp_min(_TINY)


def _reduced_major_axis(x: Tensor, y: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    total = weights.sum(-1, keepdim=True).clamp_min(1e-12)
    mean_x = (weights @ x)[:, None] / total
    mean_y = (weights * y).sum(-1, keepdim=True) / total
    s_xx = (weights * (x - mean_x).square_()).sum(-1, keepdim=True)
    s_yy = (weights * (y - mean_y).square_()).sum(-1, keepdim=True)
    scale = (s_yy / s_xx.clamp_min(1e-12)).sqrt().clamp(1 / _SCALE_LIMIT, _SCALE_LIMIT)
    return scale, mean_y - scale * mean_x
