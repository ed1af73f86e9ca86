"""Robust fit of (focal length, shift) to the evidence: a coarse grid, then damped Gauss-Newton."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .evidence import Evidence

PRIOR_FOV_DEG = 60.0
"""Horizontal field of view of a common lens."""

PRIOR_SD_LOG_FOCAL = 0.30
PRIOR_DEPTH_RATIO = 4.0
"""Ratio of the farthest to the nearest depth of a common picture."""

PRIOR_SD_LOG_RATIO = 0.9
PIXEL_VOTES = 100.0
"""Independent measurements that all pixels together are worth: neighbours share their errors. With this many,
the standard deviations that are reported fit the errors that are made (see docs/geometry.md)."""

GRID_FOVS_DEG = (22.0, 105.0)
GRID_FOCALS, GRID_SHIFTS, GRID_PIXELS = 12, 14, 3000
FIRST_SCALE, SCALE_RANGE = 0.3, (0.03, 0.4)
"""Radians at which a residual loses half of its pull: at first, and between which it is then estimated."""

SHIFT_RANGE = (0.004, 60.0)
STEPS, LARGEST_STEP = 14, 0.4


@dataclass(frozen=True)
class Fit:
    """Fitted parameters of B pictures, in half widths and in the scaled map's unit.

    Attributes:
        focal: (B,) float, half widths.
        shift: (B,) float, added to the map scaled to [0, 1].
        sd_log_focal: (B,) float, standard deviation of ln focal from the evidence alone; infinite without any.
        sd_log_kappa: (B,) float, standard deviation of ln((shift + median value) / focal) at this focal
            length, from the evidence alone; infinite without any.
        residual: (B,) float, median angle between the normals in radians.
    """

    focal: Tensor
    shift: Tensor
    sd_log_focal: Tensor
    sd_log_kappa: Tensor
    residual: Tensor

    def where(self, kept: Tensor, other: Fit) -> Fit:
        """Return this fit where ``kept`` (B,) is true, else the other one's focal, shift and residual.

        The standard deviation stays: it says what the evidence says, whatever focal length is then chosen.
        """
        return Fit(
            torch.where(kept, self.focal, other.focal),
            torch.where(kept, self.shift, other.shift),
            self.sd_log_focal,
            torch.where(kept, self.sd_log_kappa, other.sd_log_kappa),
            torch.where(kept, self.residual, other.residual),
        )


def half_width_focal(fov_x_deg: float) -> float:
    """Return the focal length in half widths of a horizontal field of view in degrees: 60 gives 1.732."""
    return 1.0 / math.tan(math.radians(fov_x_deg) / 2.0)


def fit_camera(evidence: Evidence, prior_focal: float, known_focal: float | None) -> Fit:
    """Return the focal length and shift of each picture that agree best with its evidence.

    Args:
        evidence: Of B pictures.
        prior_focal: Expected focal length in half widths.
        known_focal: Focal length in half widths that is taken as it is, or None to fit it.

    Returns:
        The fit.
    """
    problem = _Problem(
        evidence, math.log(prior_focal), None if known_focal is None else math.log(known_focal)
    )
    scale = torch.full_like(evidence.low, FIRST_SCALE)
    log_focal, log_kappa = _search(problem, scale)
    residual = scale
    for _ in range(2):
        log_focal, log_kappa = _descend(problem, log_focal, log_kappa, scale)
        residual = _masked_median(problem.residual(log_focal, log_kappa).clamp_min(0).sqrt(), evidence.usable)
        scale = (2.0 * residual).clamp(*SCALE_RANGE)
    _, hessian = problem.pull(log_focal, log_kappa, scale)
    return Fit(
        focal=log_focal.exp(),
        shift=problem.shift(log_focal, log_kappa),
        sd_log_focal=_marginal_sd(hessian),
        sd_log_kappa=hessian[:, 1, 1].rsqrt(),
        residual=2.0 * (residual / 2.0).clamp(0, 1).asin(),
    )


class _Problem:
    """Cost and derivatives in (ln f, ln kappa), kappa = (shift + median value) / f.

    The pair is nearly uncorrelated: kappa is the tangent scale at the middle of the map, which the evidence
    fixes well, while f alone may be loose.
    """

    def __init__(self, evidence: Evidence, log_prior: float, log_known: float | None) -> None:
        self.evidence = evidence
        self.log_prior, self.log_known = log_prior, log_known
        self.middle = _masked_median(evidence.value, evidence.usable)
        self.squared_slope = evidence.slope_x.square() + evidence.slope_y.square()
        self.total = evidence.usable.sum(1).clamp_min(1).to(evidence.low)

    def shift(self, log_focal: Tensor, log_kappa: Tensor) -> Tensor:
        return (log_focal + log_kappa).exp() - self.middle

    def kappa_of(self, log_focal: Tensor, shift: Tensor) -> Tensor:
        return (shift + self.middle).clamp_min(1e-3).log() - log_focal

    def _tangent(self, log_focal: Tensor, log_kappa: Tensor) -> Tensor:
        offset = self.evidence.level - self.middle[:, None]
        return log_kappa.exp()[:, None] + offset * (-log_focal).exp()[:, None]

    def residual(self, log_focal: Tensor, log_kappa: Tensor) -> Tensor:
        """Squared distance between the unit normals, (B, P): about the squared angle."""
        e, tangent = self.evidence, self._tangent(log_focal, log_kappa)
        return squared_chord(e, self.squared_slope, tangent)

    def cost(self, log_focal: Tensor, log_kappa: Tensor, scale: Tensor) -> Tensor:
        squared, s2 = self.residual(log_focal, log_kappa), scale.square()[:, None]
        mean = (self.evidence.weight * squared / (squared + s2)).sum(1) / self.total
        shift = self.shift(log_focal, log_kappa)
        allowed = (shift >= SHIFT_RANGE[0] * 0.999) & (shift <= SHIFT_RANGE[1] * 1.001)
        cost = PIXEL_VOTES * mean + self.prior(log_focal, shift)
        return torch.where(allowed, cost, float("inf"))

    def prior(self, log_focal: Tensor, shift: Tensor) -> Tensor:
        return prior_cost(log_focal, shift, None if self.log_known is not None else self.log_prior)

    def pull(self, log_focal: Tensor, log_kappa: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (B, 2) and Gauss-Newton Hessian (B, 2, 2) of the evidence's cost."""
        e, tangent = self.evidence, self._tangent(log_focal, log_kappa)
        length2 = self.squared_slope + tangent.square() + 1e-14
        length = length2.sqrt()
        model = torch.stack([e.slope_x, e.slope_y, -tangent], dim=-1) / length[..., None]
        error = model - e.normal
        by_tangent = torch.stack([-e.slope_x * tangent, -e.slope_y * tangent, -self.squared_slope], dim=-1)
        by_tangent = by_tangent / (length2 * length)[..., None]
        s2 = scale.square()[:, None]
        pull = (
            e.weight * s2 / (error.square().sum(-1) + s2).square() / self.total[:, None] * (2 * PIXEL_VOTES)
        )
        jacobian = torch.stack(
            [
                -(e.level - self.middle[:, None]) * (-log_focal).exp()[:, None],
                log_kappa.exp()[:, None].expand_as(tangent),
            ],
            dim=-1,
        )  # (B, P, 2): how the tangent moves with ln f and ln kappa
        along = pull * (by_tangent * error).sum(-1)
        stiffness = pull * self.squared_slope / length2.square()
        gradient = (along[..., None] * jacobian).sum(1)
        hessian = (stiffness[..., None] * jacobian).mT @ jacobian
        return gradient, hessian

    def prior_pull(self, log_focal: Tensor, log_kappa: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (B, 2) and Hessian (B, 2, 2) of the priors."""
        shift = self.shift(log_focal, log_kappa).clamp_min(SHIFT_RANGE[0])
        ratio = ((1 + shift) / shift).log() - math.log(PRIOR_DEPTH_RATIO)
        slope = -(shift + self.middle) / (shift * (1 + shift))  # of ln ratio; the same for both parameters
        variance = PRIOR_SD_LOG_RATIO**2
        gradient = (ratio * slope / variance)[:, None].repeat(1, 2)
        hessian = (slope.square() / variance)[:, None, None].repeat(1, 2, 2)
        if self.log_known is None:
            gradient[:, 0] += (log_focal - self.log_prior) / PRIOR_SD_LOG_FOCAL**2
            hessian[:, 0, 0] += 1.0 / PRIOR_SD_LOG_FOCAL**2
        return gradient, hessian


def squared_chord(evidence: Evidence, squared_slope: Tensor, tangent: Tensor) -> Tensor:
    """Return the squared distance between given and modelled unit normals, of tangent's shape (..., P)."""
    inverse = (squared_slope + tangent.square() + 1e-14).rsqrt()
    nx, ny, nz = evidence.normal.unbind(-1)
    # Not 2 - 2 cos: in float32 that would lose angles below half a degree.
    dx, dy = evidence.slope_x * inverse - nx, evidence.slope_y * inverse - ny
    return dx.square() + dy.square() + (tangent * inverse + nz).square()


def prior_cost(log_focal: Tensor, shift: Tensor, log_prior: float | None) -> Tensor:
    """Return the negative logarithm of the priors; without ``log_prior`` that of the shift alone."""
    ratio = ((1 + shift) / shift.clamp_min(1e-6)).log() - math.log(PRIOR_DEPTH_RATIO)
    cost = ratio.square() / (2 * PRIOR_SD_LOG_RATIO**2)
    if log_prior is not None:
        cost = cost + (log_focal - log_prior).square() / (2 * PRIOR_SD_LOG_FOCAL**2)
    return cost


def _search(problem: _Problem, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Return the best point of a coarse grid, (ln f, ln kappa), each (B,)."""
    evidence = problem.evidence
    thin = evidence.thinned(GRID_PIXELS)
    low, high = (math.log(half_width_focal(fov)) for fov in reversed(GRID_FOVS_DEG))
    focals = torch.linspace(low, high, GRID_FOCALS, dtype=scale.dtype, device=scale.device)
    if problem.log_known is not None:
        focals = focals.new_full((1,), problem.log_known)
    shifts = torch.logspace(-1.8, 1.2, GRID_SHIFTS, dtype=scale.dtype, device=scale.device)
    log_focal, shift = (t.flatten() for t in torch.meshgrid(focals, shifts, indexing="ij"))
    squared_slope = thin.slope_x.square() + thin.slope_y.square()
    total, s2 = thin.usable.sum(1).clamp_min(1), scale.square()[:, None]
    best = torch.full_like(scale, float("inf"))
    chosen = torch.zeros_like(scale, dtype=torch.int64)
    for index in range(log_focal.shape[0]):
        tangent = (thin.level + shift[index]) * (-log_focal[index]).exp()
        squared = squared_chord(thin, squared_slope, tangent)
        mean = (thin.weight * squared / (squared + s2)).sum(1) / total
        cost = PIXEL_VOTES * mean + problem.prior(log_focal[index], shift[index])
        chosen = torch.where(cost < best, index, chosen)
        best = torch.minimum(best, cost)
    start = log_focal[chosen]
    return start, problem.kappa_of(start, shift[chosen])


def _descend(problem: _Problem, log_focal: Tensor, log_kappa: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Levenberg-Marquardt with one trial a step, all pictures side by side."""
    damping = torch.full_like(scale, 1e-3)
    cost = problem.cost(log_focal, log_kappa, scale)
    outside = cost.isinf()
    log_kappa = torch.where(outside, problem.kappa_of(log_focal, torch.full_like(scale, 0.02)), log_kappa)
    cost = torch.where(outside, problem.cost(log_focal, log_kappa, scale), cost)
    for _ in range(STEPS):
        gradient, hessian = problem.pull(log_focal, log_kappa, scale)
        prior_gradient, prior_hessian = problem.prior_pull(log_focal, log_kappa)
        step = _damped_step(
            gradient + prior_gradient, hessian + prior_hessian, damping, problem.log_known is not None
        )
        new_focal, new_kappa = log_focal + step[:, 0], log_kappa + step[:, 1]
        new_cost = problem.cost(new_focal, new_kappa, scale)
        better = new_cost <= cost
        moved = (step.abs().sum(1) * better).max()
        log_focal = torch.where(better, new_focal, log_focal)
        log_kappa = torch.where(better, new_kappa, log_kappa)
        cost = torch.where(better, new_cost, cost)
        damping = torch.where(better, damping / 4, damping * 6).clamp(1e-7, 1e6)
        if bool(better.all()) and float(moved) < 1e-5:
            break
    return log_focal, log_kappa


def _damped_step(gradient: Tensor, hessian: Tensor, damping: Tensor, focal_known: bool) -> Tensor:
    """Solve the 2 x 2 systems, or the second row alone where the focal length is known."""
    a = hessian[:, 0, 0] * (1 + damping) + 1e-12
    c = hessian[:, 1, 1] * (1 + damping) + 1e-12
    b = hessian[:, 0, 1]
    if focal_known:
        step = torch.stack([torch.zeros_like(a), -gradient[:, 1] / c], dim=-1)
    else:
        determinant = (a * c - b * b).clamp_min(1e-24)
        first = -(c * gradient[:, 0] - b * gradient[:, 1]) / determinant
        second = -(a * gradient[:, 1] - b * gradient[:, 0]) / determinant
        step = torch.stack([first, second], dim=-1)
    return step.clamp(-LARGEST_STEP, LARGEST_STEP)


def _marginal_sd(hessian: Tensor) -> Tensor:
    """Return the standard deviation of the first parameter; infinite where the Hessian is singular."""
    a, b, c = hessian[:, 0, 0], hessian[:, 0, 1], hessian[:, 1, 1]
    determinant = a * c - b * b
    singular = determinant <= 1e-9 * a * c
    return torch.where(singular, float("inf"), (c / determinant.clamp_min(1e-30)).sqrt())


def _masked_median(values: Tensor, mask: Tensor) -> Tensor:
    """Return the lower median of the masked (B, P) values; 0 without any."""
    ordered = torch.where(mask, values, float("inf")).sort(dim=1).values
    count = mask.sum(1)
    middle = ordered.gather(1, ((count - 1).clamp_min(0) // 2)[:, None])[:, 0]
    return torch.where(count > 0, middle, 0.0)
