"""What a perfect alignment of the exact views is."""

from __future__ import annotations

import torch

from lotus_core.geometry.multiview.views import Affine, Pairs, Views, sample_pairs
from tests.core.geometry.multiview.rig import View, truth


def exact_affine(views: Views, seen: list[View]) -> Affine:
    """Return the parameters that follow from the true depths."""
    middle, shift = [], []
    for index, view in enumerate(seen):
        scale, offset = truth(view, views.kind)
        above = offset + float(views.low[index])  # x counts from the robust minimum
        shift.append(above)
        reached = float(views.middle[index]) + above
        middle.append(scale * reached if views.kind == "depth" else scale / reached)
    return Affine(torch.tensor(middle).double().log(), torch.tensor(shift).double().log())


def all_pairs(views: Views, samples: int = 400) -> Pairs:
    """Return samples of every view in every other."""
    count = len(views.low)
    edges = [(i, j) for i in range(count) for j in range(count) if i != j]
    source, target = torch.tensor(edges).T
    return sample_pairs(views, source, target, samples)


def flat_prior(views: Views):
    """Return a prior that says nothing."""
    from lotus_core.geometry.multiview.shift_prior import ShiftPrior

    grid = torch.linspace(-6, 4, 81, dtype=torch.float64)
    count = len(views.low)
    return ShiftPrior(grid, torch.zeros(count, dtype=torch.float64), torch.zeros(count, 81).double())
