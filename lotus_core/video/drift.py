"""What of a clip's fitted drift is the network's, and what crept in from the scene.

Fits from frame to frame err by a little that always points the same way: a mover that comes closer, a camera that
advances. Chained, this grows into a slow trend, while the network's own drift jumps about from frame to frame. The
trend is estimated from the whole clip and taken out of the correction again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor


@dataclass(frozen=True)
class TrendPrior:
    """How a trend may run.

    Attributes:
        slope: Standard deviation of its mean change per frame.
        bend: Standard deviation of the change of that change, per frame.
    """

    slope: float
    bend: float


MOVING_CAMERA: Final = TrendPrior(slope=3e-3, bend=1.2e-3)
"""Tuned on rendered pans and dollies with a near mover: all of the scene's creep, little of the network's drift."""

STILL_CAMERA: Final = TrendPrior(slope=1e-4, bend=3e-5)
"""A still background pins the fits down, so that slow drift is the network's too."""

_FIT_NOISE: Final = 2e-3  # standard deviation of a fit's own error: jumps of this size need no correction
_SMALLEST_JITTER: Final = 1e-5
_MAD_TO_SD: Final = 1.4826


def split_drift(series: Tensor, prior: TrendPrior) -> tuple[Tensor, Tensor]:
    """Return the scene's slow trend and the network's drift in a series of per-frame corrections.

    The trend is the posterior mean of b in ``series = b + jitter``, with the jitter's standard deviation measured
    from the series' second differences and a Gaussian prior on b's slope and bend. The drift is what the trend
    leaves, shrunk by the share of the jitter that is mere error of the fits (Wiener). A straight line without
    jitter is all trend: a clip whose fits creep but do not jump is left as it is. Pure jitter has a trend near its
    mean.

    Args:
        series: (T,) float, ln scale or level of the corrections.
        prior: How the trend may run.

    Returns:
        Trend and drift, each (T,) float64.
    """
    x = series.double()
    if len(x) < 3:  # too short to tell them apart: the mean keeps the shot at the network's own level
        trend = x.mean().expand(len(x)) if len(x) else x
        return trend, x - trend
    jitter = _jitter(x)
    slope = 1.0 / (prior.slope**2 * (len(x) - 1))
    solved = _solve_pentadiagonal(x.tolist(), jitter**-2, slope, prior.bend**-2)
    trend = torch.tensor(solved, dtype=torch.float64)
    return trend, (x - trend) * (jitter**2 / (jitter**2 + _FIT_NOISE**2))


def _jitter(x: Tensor) -> float:
    second = x[2:] - 2.0 * x[1:-1] + x[:-2]
    return max(float(second.abs().median()) * _MAD_TO_SD / math.sqrt(6.0), _SMALLEST_JITTER)


def _solve_pentadiagonal(values: list[float], data: float, slope: float, bend: float) -> list[float]:
    """Solve ``(data I + slope D1'D1 + bend D2'D2) b = data values`` by LDL', in time linear in the clip."""
    n = len(values)
    diagonal, beside, beyond = _normal_matrix(n, data, slope, bend)
    l1, l2 = [0.0] * n, [0.0] * n
    z = [data * value for value in values]
    for i in range(n):
        if i >= 2:
            diagonal[i] -= l2[i - 2] ** 2 * diagonal[i - 2]
            z[i] -= l2[i - 2] * z[i - 2]
        if i >= 1:
            diagonal[i] -= l1[i - 1] ** 2 * diagonal[i - 1]
            z[i] -= l1[i - 1] * z[i - 1]
            beside[i] -= l1[i - 1] * l2[i - 1] * diagonal[i - 1]
        l1[i], l2[i] = beside[i] / diagonal[i], beyond[i] / diagonal[i]
    b = [value / pivot for value, pivot in zip(z, diagonal, strict=True)]
    for i in range(n - 2, -1, -1):
        b[i] -= l1[i] * b[i + 1] + (l2[i] * b[i + 2] if i + 2 < n else 0.0)
    return b


def _normal_matrix(
    n: int, data: float, slope: float, bend: float
) -> tuple[list[float], list[float], list[float]]:
    """Return the diagonal of the normal matrix and the two beside it, each n long."""
    diagonal, beside, beyond = [data] * n, [0.0] * n, [0.0] * n
    for i in range(n - 1):  # rows (-1, 1)
        diagonal[i] += slope
        diagonal[i + 1] += slope
        beside[i] -= slope
    for i in range(n - 2):  # rows (1, -2, 1)
        diagonal[i] += bend
        diagonal[i + 1] += 4.0 * bend
        diagonal[i + 2] += bend
        beside[i] -= 2.0 * bend
        beside[i + 1] -= 2.0 * bend
        beyond[i] += bend
    return diagonal, beside, beyond
