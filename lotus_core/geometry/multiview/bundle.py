"""Scale and shift of several views with known cameras, so that their surfaces coincide.

For a pixel of one view that lands in another at depth z', the other's own depth Z there must be the same:
``r = ln Z - ln z'``. All views' scales and shifts are fitted together by Gauss-Newton on robust residuals. A change
of the source's depth also moves the landing point along its ray; without that part of the derivative the iteration
diverges even on clean maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..anchors import DepthAnchors
from .shift_prior import ShiftPrior
from .views import Affine, Landing, Pairs, Views, land, look_up

COARSE = (0.2, 0.1, 0.06, 0.04, 0.04, 0.04)
FINE = (0.1, 0.04, 0.04)
"""Residuals of ln z at which a pixel loses three quarters of its pull, round by round, where the views do not agree
better than that: from a search, and from an earlier fit."""

FINEST = 0.002
"""The same where they agree perfectly: what interpolation on the working grid leaves."""

STEPS = 8
PAIR_VOTES = 20.0
"""Independent measurements that the pixels of one pair of views are worth: neighbours share their errors."""

ANCHOR_VOTES = 5.0
MOST_ANCHOR_VOTES = 1000.0
"""The same for one anchor, and for all anchors of one view."""

PRIOR_SHARE = 0.25
"""Weight of what the normals say about the shifts: their common errors are larger than the fit of one map knows."""

AGREEMENT = 0.1
"""Residual of ln z below which two views see the same surface."""


def adjust(
    views: Views,
    pairs: Pairs,
    start: Affine,
    prior: ShiftPrior,
    anchors: DepthAnchors | None,
    tolerances: Sequence[float],
) -> Affine:
    """Return scales and shifts that make all views agree with each other and with the anchors.

    Args:
        views: The views.
        pairs: Samples of every pair of neighbours, in both directions.
        start: From `search_scales`.
        prior: What the normals say about the shifts.
        anchors: Known depths in pixels of the working grid, or None.
        tolerances: `COARSE` or `FINE`.

    Returns:
        The fitted scales and shifts.
    """
    current = start
    for bound in tolerances:
        tolerance = _tolerances(views, pairs, current, anchors, bound)
        damping = 1e-3
        cost, gradient, hessian = _system(views, pairs, current, prior, anchors, tolerance)
        for _ in range(STEPS):
            diagonal = hessian.diagonal() * damping + 1e-9
            step = torch.linalg.solve(hessian + diagonal.diag(), -gradient).clamp(-0.3, 0.3)
            trial = Affine(current.log_middle + step[0::2], current.log_shift + step[1::2])
            found = _system(views, pairs, trial, prior, anchors, tolerance)
            if found[0] <= cost:
                small = float(cost - found[0]) < 1e-7 * max(cost, 1e-9)
                current, damping = trial, damping / 5
                cost, gradient, hessian = found
                if small:
                    break
            else:
                damping *= 8
    return current


@dataclass(frozen=True)
class _Tolerances:
    """Residuals of ln z at which a sample, and an anchor, loses three quarters of its pull."""

    maps: float
    anchors: float


def _tolerances(
    views: Views, pairs: Pairs, affine: Affine, anchors: DepthAnchors | None, bound: float
) -> _Tolerances:
    """Each as fine as its own residuals allow: what is measured better counts more."""
    landing = land(views, pairs, affine.log_depth(views, pairs.source, pairs.x))
    size = depth_residual(views, pairs, affine, landing).abs()
    maps = _tolerance(size[landing.usable], bound)
    if anchors is None or len(anchors.view) == 0:
        return _Tolerances(maps, bound)
    _, residual, inside = _anchor_residual(views, affine, anchors)
    return _Tolerances(maps, _tolerance(residual.abs()[inside], bound))


def _tolerance(size: Tensor, bound: float) -> float:
    """Three median residuals of those within the bound, which is also the most."""
    near = size[size < bound]
    return min(bound, max(FINEST, 3.0 * float(near.median()))) if near.numel() else bound


def support(views: Views, pairs: Pairs, affine: Affine, index: int) -> float:
    """Return the share of one view's exchanged samples, both ways, that land at the depth they find there."""
    mine = pairs.of((pairs.source == index) | (pairs.target == index))
    landing = land(views, mine, affine.log_depth(views, mine.source, mine.x))
    same = landing.usable & (depth_residual(views, mine, affine, landing).abs() < AGREEMENT / 2)
    return float(same.sum()) / max(int(mine.usable.sum()), 1)


def depth_residual(views: Views, pairs: Pairs, affine: Affine, landing: Landing) -> Tensor:
    """Return ln of the target's own depth where samples land, minus ln of theirs, (P, S) float64."""
    return affine.log_depth(views, pairs.target, landing.maps[..., 0]) - landing.log_depth


def _system(
    views: Views,
    pairs: Pairs,
    affine: Affine,
    prior: ShiftPrior,
    anchors: DepthAnchors | None,
    tolerance: _Tolerances,
) -> tuple[float, Tensor, Tensor]:
    """Cost, gradient (2N,) and Gauss-Newton Hessian (2N, 2N) in the order m_0, b_0, m_1, ..."""
    count = len(views.low)
    gradient = torch.zeros(count, 2, dtype=torch.float64)
    hessian = torch.zeros(count, count, 2, 2, dtype=torch.float64)
    landing = land(views, pairs, affine.log_depth(views, pairs.source, pairs.x))
    residual = depth_residual(views, pairs, affine, landing)
    # Beside d Z / d(own parameters) there is the slope of ln Z where the sample lands, along its motion.
    x = landing.maps[..., 0]
    target_shift = affine.log_shift[pairs.target].exp()[:, None]
    slope = views.sign * landing.maps[..., 1:3].double() / (x.double().clamp_min(0) + target_shift)[..., None]
    by_source = (slope * landing.motion).sum(-1) - landing.stretch
    one = torch.ones_like(residual)
    jacobian_source = by_source[..., None] * torch.stack(
        [one, affine.shift_slope(views, pairs.source, pairs.x)], dim=-1
    )
    jacobian_target = torch.stack([one, affine.shift_slope(views, pairs.target, x)], dim=-1)
    total = pairs.usable.sum(1).clamp_min(1)
    weight, cost = _robust(residual, landing.usable, tolerance.maps, PAIR_VOTES / total)
    i, j = pairs.source, pairs.target
    for row, left in ((i, jacobian_source), (j, jacobian_target)):
        gradient.index_add_(0, row, (left * (weight * residual)[..., None]).sum(1))
        for column, right in ((i, jacobian_source), (j, jacobian_target)):
            block = (left * weight[..., None]).mT @ right
            hessian.index_put_((row, column), block, accumulate=True)
    if anchors is not None:
        cost += _add_anchors(views, affine, anchors, tolerance.anchors, gradient, hessian)
    prior_cost, slope, bend = prior.at(affine.log_shift)
    cost += PRIOR_SHARE * float(prior_cost.sum())
    gradient[:, 1] += PRIOR_SHARE * slope
    diagonal = torch.arange(count)
    hessian[diagonal, diagonal, 1, 1] += PRIOR_SHARE * bend
    return cost, gradient.flatten(), hessian.permute(0, 2, 1, 3).reshape(2 * count, 2 * count)


def _add_anchors(
    views: Views, affine: Affine, anchors: DepthAnchors, tolerance: float, gradient: Tensor, hessian: Tensor
) -> float:
    """Add the residuals of the anchors, ln Z - ln depth; returns their cost."""
    index = anchors.view
    x, residual, inside = _anchor_residual(views, affine, anchors)
    jacobian = torch.stack([torch.ones_like(residual), affine.shift_slope(views, index, x)], dim=-1)
    number = torch.zeros(len(views.low), dtype=torch.float64).index_add_(0, index, inside[:, 0].double())
    each = (MOST_ANCHOR_VOTES / number.clamp_min(1)).clamp_max(ANCHOR_VOTES)[index]
    weight, cost = _robust(residual, inside, tolerance, each)
    gradient.index_add_(0, index, (jacobian * (weight * residual)[..., None]).sum(1))
    hessian.index_put_((index, index), (jacobian * weight[..., None]).mT @ jacobian, accumulate=True)
    return cost


def _anchor_residual(views: Views, affine: Affine, anchors: DepthAnchors) -> tuple[Tensor, Tensor, Tensor]:
    """Map value, ln Z - ln depth and whether it can be used, (A, 1) each: an anchor is a sample of its own view."""
    maps, inside = look_up(views, anchors.view, anchors.pixels[:, None].double())
    x = maps[..., 0]
    return x, affine.log_depth(views, anchors.view, x) - anchors.depth.double().log()[:, None], inside


def _robust(residual: Tensor, usable: Tensor, tolerance: float, votes: Tensor) -> tuple[Tensor, float]:
    """Geman-McClure: weights (P, S) of the squared residuals, and the cost.

    Samples that land nowhere cost as much as an outlier: else moving out of sight would pay.
    """
    t2 = tolerance**2
    squared = residual.square()
    scaled = torch.where(usable, squared / (squared + t2), torch.ones_like(squared))
    # Per vote a residual of the last tolerance costs about one unit, as a Gaussian of a third of it would.
    weight = torch.where(usable, 2 * t2 / (squared + t2).square(), torch.zeros_like(squared))
    return weight * votes[:, None], float((scaled * votes[:, None]).sum())


def masked_median(values: Tensor, mask: Tensor) -> Tensor:
    """Return the lower median along the second axis of (P, S) values where ``mask``; 0 without any."""
    ordered = torch.where(mask, values, torch.full_like(values, float("inf"))).sort(dim=1).values
    number = mask.sum(1)
    middle = ordered.gather(1, ((number - 1).clamp_min(0) // 2)[:, None])[:, 0]
    return torch.where(number > 0, middle, torch.zeros_like(middle))
