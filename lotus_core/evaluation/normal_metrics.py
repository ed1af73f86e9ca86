"""Angular errors of normal maps, pooled over the pixels of a whole data set.

Source: Fouhey et al., "Data-Driven 3D Primitives" (ICCV 2013) for the measures; DSINE (arXiv 2403.00712), which pools
all pixels of a data set and counts 5, 7.5, 11.25, 22.5 and 30 degrees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from ..checks import require_shape
from ..errors import InputError

BINS_PER_DEGREE: Final = 1000
"""Errors are kept as a histogram, so that 500 million pixels fit in memory: the median is exact to 0.001 degrees."""

_THRESHOLDS_DEG: Final = (5.0, 7.5, 11.25, 22.5, 30.0)
_SHORTEST: Final = 1e-6


@dataclass(frozen=True)
class NormalMetrics:
    """Angular errors over many pixels.

    Attributes:
        mean: Degrees.
        median: Degrees, to 0.001.
        rmse: Root of the mean square, degrees.
        within_5: Share in percent of pixels whose error is under 5 degrees.
        within_7_5: Likewise, 7.5 degrees.
        within_11_25: Likewise, 11.25 degrees.
        within_22_5: Likewise, 22.5 degrees.
        within_30: Likewise, 30 degrees.
    """

    mean: float
    median: float
    rmse: float
    within_5: float
    within_7_5: float
    within_11_25: float
    within_22_5: float
    within_30: float


def angular_error_deg(predicted: Tensor, truth: Tensor) -> Tensor:
    """Return the angle between vectors of any length, in degrees.

    Computed as ``atan2(|a x b|, a . b)``, which unlike the arc cosine keeps its digits near 0 and 180 degrees. Between
    (0, 0, -1) and (1, 0, -1) it is 45. A vector shorter than 1e-6 has no direction: its error is 90.

    Args:
        predicted: (..., 3) float.
        truth: (..., 3) float, in the same frame.

    Returns:
        (...) float64, 0 to 180.

    Raises:
        ShapeError: Vectors that do not have three components, or of different shapes.
    """
    for name, vectors in (("predicted", predicted), ("truth", truth)):
        require_shape(name, vectors, "(..., 3)", remedy="pass vectors along the last axis")
    require_shape("truth", truth, str(tuple(predicted.shape)), remedy="compare maps of one size")
    a, b = predicted.double(), truth.double()
    angle = torch.rad2deg(torch.atan2(torch.linalg.cross(a, b).norm(dim=-1), (a * b).sum(-1)))
    without = (a.norm(dim=-1) < _SHORTEST) | (b.norm(dim=-1) < _SHORTEST)
    return torch.where(without, 90.0, angle)


class AngularErrors:
    """Collects errors picture by picture in constant memory."""

    def __init__(self) -> None:
        self.count = 0
        self._sum = 0.0
        self._sum_of_squares = 0.0
        self._within = [0] * len(_THRESHOLDS_DEG)
        self._histogram = torch.zeros(180 * BINS_PER_DEGREE + 1, dtype=torch.int64)

    def add(self, errors_deg: Tensor) -> None:
        """Add the errors of some pixels.

        Args:
            errors_deg: Any shape, float, 0 to 180 degrees.

        Raises:
            InputError: NaN, or angles outside 0 to 180.
        """
        errors = errors_deg.detach().double().reshape(-1).cpu()
        if not len(errors):
            return
        low, high = float(errors.min()), float(errors.max())
        if not (low >= 0.0 and high <= 180.0):
            raise InputError(
                "angles must lie between 0 and 180 degrees",
                found=f"{low:.4g} to {high:.4g}",
                remedy="mask such pixels",
            )
        self.count += len(errors)
        self._sum += float(errors.sum())
        self._sum_of_squares += float((errors**2).sum())
        for index, threshold in enumerate(_THRESHOLDS_DEG):
            self._within[index] += int((errors < threshold).sum())
        bins = (errors * BINS_PER_DEGREE).round().long()
        self._histogram += torch.bincount(bins, minlength=len(self._histogram))

    def metrics(self) -> NormalMetrics:
        """Return what the errors amount to.

        Raises:
            InputError: No error was added.
        """
        if not self.count:
            raise InputError("no pixel has a true normal", remedy="check the data set's masks")
        shares = [100.0 * within / self.count for within in self._within]
        return NormalMetrics(
            self._sum / self.count, self._median(), (self._sum_of_squares / self.count) ** 0.5, *shares
        )

    def _median(self) -> float:
        """Return the middle error, or the mean of the two middle ones."""
        upto = self._histogram.cumsum(0)
        middle = torch.tensor([(self.count - 1) // 2, self.count // 2])
        return float(torch.searchsorted(upto, middle, right=True).double().mean()) / BINS_PER_DEGREE
