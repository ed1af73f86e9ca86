"""What each view's normals say about its shift, for any value of it.

Convention:
    Costs are negative logarithms of a probability, up to a constant: those of the single-picture fit, with the
    focal length known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..camera import Camera
from ..evidence import Evidence
from ..fit import FIRST_SCALE, PIXEL_VOTES, SCALE_RANGE, prior_cost, squared_chord
from .views import Views

GRID = (-6.0, 4.0, 81)
"""First and last ln shift and their number, in the map's robust range."""


@dataclass(frozen=True)
class ShiftPrior:
    """Cost of every view's shift on a grid.

    Attributes:
        grid: (G,) float64, evenly spaced ln shift in the map's own unit, for each view from ``start``.
        start: (N,) float64, added to the grid.
        cost: (N, G) float64.
    """

    grid: Tensor
    start: Tensor
    cost: Tensor

    def best(self) -> Tensor:
        """Return the most probable ln shift of each view, (N,) float64."""
        return self.grid[self.cost.argmin(dim=1)] + self.start

    def at(self, log_shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return cost, slope and curvature (not negative) of the views at ln shifts, (N,) each.

        Between grid points the cost is a parabola through the nearest three; beyond the ends it grows as fast
        as at the end.
        """
        step = float(self.grid[1] - self.grid[0])
        position = (log_shift - self.start - self.grid[0]) / step
        middle = position.round().long().clamp(1, len(self.grid) - 2)
        a, b, c = (self.cost.gather(1, (middle + k)[:, None])[:, 0] for k in (-1, 0, 1))
        slope, bend = (c - a) / (2 * step), (a - 2 * b + c) / step**2
        away = (position - middle) * step
        cost = b + slope * away + bend * away.square() / 2
        return cost, slope + bend * away, bend.clamp_min(0)


def shift_prior(evidence: Sequence[Evidence], cameras: Sequence[Camera], views: Views) -> ShiftPrior:
    """Return what the normals say.

    Args:
        evidence: Of each view, with a batch of 1.
        cameras: Of each view. Their focal lengths are taken; a principal point off the middle is not.
        views: The same views at the working size, on the CPU.

    Returns:
        The costs.
    """
    grid = torch.linspace(*GRID, dtype=torch.float64)
    start = views.span.double().log()
    costs = []
    for index, (one, camera) in enumerate(zip(evidence, cameras, strict=True)):
        focal = torch.tensor(float(camera.intrinsics[0, 0]) / (camera.width / 2), dtype=torch.float64)
        own = (grid + start[index]).exp()  # in the map's unit, above the robust minimum at the working size
        shift = (own - views.low[index].double() + one.low.double()) / one.span.double()
        costs.append(_cost(one.double(), focal, shift.clamp_min(1e-4)))
    return ShiftPrior(grid, start, torch.stack(costs))


def _cost(evidence: Evidence, focal: Tensor, shift: Tensor) -> Tensor:
    """(G,) cost of the shifts (G,) in the evidence's unit, with the scale of the residuals at the best of them."""
    weight, total = evidence.weight, evidence.weight.sum().clamp_min(1)
    slope2 = evidence.slope_x.square() + evidence.slope_y.square()
    squared = squared_chord(evidence, slope2, (evidence.level + shift[:, None]) / focal)  # (G, P)
    prior = prior_cost(focal.log(), shift, None)
    if float(weight.sum()) < 1:
        return prior
    scale = FIRST_SCALE
    cost = prior
    for _ in range(2):
        cost = PIXEL_VOTES * (weight * squared / (squared + scale**2)).sum(1) / total + prior
        median = squared[int(cost.argmin())][weight[0] > 0].median()
        scale = min(max(2 * math.sqrt(float(median)), SCALE_RANGE[0]), SCALE_RANGE[1])
    return cost
