"""Where to start with pictures: each view's scale and shift from the depths at which patches agree."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..anchors import DepthAnchors
from .bundle import support
from .sweep import sweep_depths
from .views import Affine, Pairs, Views

WIDE_REACH = 1.4
WIDE_STEP = 0.02
"""Change of ln z that is searched for a view's scale and shift, a factor of 4 either way, and its steps."""

WIDE_BLOCK = 12
"""One patch is taken from each block of this many working cells squared: a few dozen are enough to vote."""

FEWEST_VOTES = 8
LEAST_SHARE = 0.4
WINDOW = 0.06
"""Patches that must agree on a scale and a shift, as a number, as a share, and within how much of ln z."""

MAP_WEIGHT = 3.0
LEAST_KEPT = 0.7
"""How much more the maps' own agreement counts than the patches', and the share of it that must stay: a few patches
can follow a wrong line, which then leaves the view alone with itself."""


def refit(views: Views, grey: Tensor, pairs: Pairs, affine: Affine) -> tuple[Affine, DepthAnchors]:
    """Return the scales and shifts on which most of each view's patches agree, over a wide range of depths.

    Two patches of one view give its scale and its shift; of all such pairs the one that most patches follow
    wins. A view keeps what it has unless enough patches agree on something better.

    Args:
        views: The views.
        grey: (N, h2, w2) float, from `grey_pictures`.
        pairs: Which views are neighbours.
        affine: From the maps alone.

    Returns:
        Scales and shifts, and the depths that voted.
    """
    steps = round(WIDE_REACH / WIDE_STEP)
    votes = sweep_depths(views, grey, pairs, affine, reach=WIDE_REACH, steps=steps, block=WIDE_BLOCK).depths
    log_middle, log_shift = affine.log_middle.clone(), affine.log_shift.clone()
    count = len(log_middle)
    gain = torch.zeros(count)
    for index in range(len(views.low)):
        pixels, depth = votes.of_view(index)
        if len(depth) < FEWEST_VOTES:
            continue
        row, column = (pixels[:, 1].long(), pixels[:, 0].long())
        x = views.maps[index, row, column, 0].double()
        found = _consensus(x, depth.double().log(), float(views.span[index]), views.sign)
        here = affine.log_depth(views, torch.tensor([index]), x[None])[0] - depth.double().log()
        before = int((here.abs() < WINDOW).sum())
        if found is None or found[2] < max(FEWEST_VOTES, LEAST_SHARE * len(depth), before + 1):
            continue
        shift, scale, after = found
        log_shift[index] = math.log(shift)
        log_middle[index] = scale + views.sign * math.log(float(views.middle[index]) + shift)
        gain[index] = (after - before) / len(depth)
    trial = Affine(log_middle, log_shift)
    for index in gain.nonzero().flatten().tolist():  # the patches' gain must outweigh what the maps lose
        before = Affine(trial.log_middle.clone(), trial.log_shift.clone())
        before.log_middle[index], before.log_shift[index] = affine.log_middle[index], affine.log_shift[index]
        had, has = (support(views, pairs, each, index) for each in (before, trial))
        if MAP_WEIGHT * (had - has) > gain[index] or has < LEAST_KEPT * had:
            trial = before
    return trial, votes


def _consensus(x: Tensor, log_depth: Tensor, span: float, sign: float) -> tuple[float, float, int] | None:
    """Shift, logarithm of the scale and number of followers of the best line through two of (S,) patches.

    ``ln z = scale + sign * ln(x + shift)``. Lines that pass through zero within the map are no surface.
    """
    count = len(x)
    thin = torch.linspace(0, count - 1, min(count, 60)).long()
    first, second = torch.combinations(thin, 2).T
    z = (sign * log_depth).exp()
    rise, run = z[first] - z[second], x[first] - x[second]
    wide = run.abs() > 0.02 * span
    slope = rise / torch.where(wide, run, torch.ones_like(run))
    shift = z[first] / slope - x[first]
    possible = wide & (slope > 0) & (shift > 1e-3 * span) & (shift < 60 * span)
    if not bool(possible.any()):
        return None
    slope, shift = slope[possible], shift[possible]
    scale = sign * slope.log()
    error = scale[:, None] + sign * (x + shift[:, None]).log() - log_depth
    followers = (error.abs() < WINDOW).sum(dim=1)
    best = int(followers.argmax())
    return float(shift[best]), float(scale[best]), int(followers[best])
