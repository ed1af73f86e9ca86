"""Where to start: each view's scale, from how well its neighbours' maps agree with it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .bundle import AGREEMENT, masked_median
from .views import Affine, Pairs, Views, land

CANDIDATES = 60
SCALE_RANGE = (0.05, 400.0)
"""Middle depths that are tried, in distances between neighbouring cameras."""


def search_scales(views: Views, pairs: Pairs, log_shift: Tensor) -> Affine:
    """Return each view's scale for which its neighbours agree best.

    Every candidate places the view's pixels in each neighbour, whose own scale is unknown: what counts is how
    narrowly ``ln z'`` minus the neighbour's unscaled ln depth gathers around its median. That median is the
    neighbour's scale if the candidate is right, and a vote for it.

    Args:
        views: The views.
        pairs: Samples of every pair of neighbours, in both directions.
        log_shift: (N,) float64, ln of each shift as the normals give it.

    Returns:
        Scales and the given shifts.
    """
    count = len(views.low)
    centres = views.world_from_camera[:, :3, 3].double()
    apart = (centres[pairs.source] - centres[pairs.target]).norm(dim=-1)
    unit = apart[apart > 0].median()
    low, high = (math.log(bound) for bound in SCALE_RANGE)
    candidates = torch.linspace(low, high, CANDIDATES, dtype=torch.float64) + unit.log()
    unscaled = Affine(torch.zeros(count, dtype=torch.float64), log_shift)
    source = unscaled.log_depth(views, pairs.source, pairs.x)
    score = torch.zeros(count, CANDIDATES, dtype=torch.float64)
    for c, candidate in enumerate(candidates):
        landing = land(views, pairs, source + candidate)
        offset = landing.log_depth - unscaled.log_depth(views, pairs.target, landing.maps[..., 0])
        other = masked_median(offset, landing.usable)
        near = torch.exp(-((offset - other[:, None]) / AGREEMENT).square())
        share = (landing.usable * near).sum(1) / pairs.usable.sum(1).clamp_min(1)
        score[:, c].index_add_(0, pairs.source, share)
        vote = ((other - candidates[0]) / (candidates[1] - candidates[0])).round().long()
        known = landing.usable.any(dim=1) & (vote >= 0) & (vote < CANDIDATES)
        score.index_put_((pairs.target[known], vote[known]), share[known], accumulate=True)
    return Affine(candidates[_blurred(score).argmax(dim=1)], log_shift)


def _blurred(score: Tensor) -> Tensor:
    """Votes fall between candidates: spread each over its neighbours."""
    padded = torch.nn.functional.pad(score, (1, 1))
    return (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4
