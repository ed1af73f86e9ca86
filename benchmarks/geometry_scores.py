"""Errors of cameras, surfaces and occlusions against a rendered frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from lotus_core.geometry.edges import GridCuts
from lotus_core.geometry.normals import log_depth_slopes
from lotus_core.geometry.points import unproject
from lotus_core.training.scenes import Frame

CLEAR_JUMP: Final = 0.1
"""Jump of ln z, beyond both tangent planes, of an occlusion that has to be found."""

FAINT_JUMP: Final = 0.02
"""The same of one near which nothing is held against a method."""


@dataclass(frozen=True)
class Occlusions:
    """True occlusions of a frame.

    Attributes:
        right: (H, W - 1) bool, clear ones between a pixel and its right neighbour.
        down: (H - 1, W) bool, likewise to the pixel below.
        clear: (H, W) bool, pixels at a clear one.
        any: (H, W) bool, pixels at any, faint ones too.
        log_depth: (H, W) float32, ln z; the sky at twice the largest depth.
    """

    right: Tensor
    down: Tensor
    clear: Tensor
    any: Tensor
    log_depth: Tensor


def true_occlusions(frame: Frame) -> Occlusions:
    """Return where neighbours lie on different surfaces that do not meet between them."""
    far = 2.0 * frame.depth[frame.valid].max()
    log_depth = torch.where(frame.valid, frame.depth, far).log()
    slopes = log_depth_slopes(frame.normals[None], frame.camera.intrinsics[None])
    jumps = []
    for axis, slope in ((1, slopes[0][0]), (0, slopes[1][0])):
        size = log_depth.shape[axis] - 1
        step = log_depth.narrow(axis, 1, size) - log_depth.narrow(axis, 0, size)
        first, second = slope.narrow(axis, 0, size), slope.narrow(axis, 1, size)
        beyond = torch.maximum(
            step - torch.maximum(first, second).clamp_min(0), torch.minimum(first, second).clamp_max(0) - step
        )
        other = frame.surface.narrow(axis, 1, size) != frame.surface.narrow(axis, 0, size)
        jumps.append((beyond * other)[None])
    clear = GridCuts(right=jumps[0] > CLEAR_JUMP, down=jumps[1] > CLEAR_JUMP)
    faint = GridCuts(right=jumps[0] > FAINT_JUMP, down=jumps[1] > FAINT_JUMP)
    return Occlusions(clear.right[0], clear.down[0], clear.pixels()[0], faint.pixels()[0], log_depth)


@dataclass(frozen=True)
class SurfaceScore:
    """Errors of a depth map after median scaling.

    Attributes:
        abs_rel: Mean relative error.
        band: The same within 3 pixels of a clear occlusion; NaN without one.
        flying: Share of the pixels within 1 of a clear occlusion that lie on neither surface: farther from every
            true ln z of the 5 x 5 pixels around than a quarter of their range.
        normal_deg: Mean angle of the surface's normals, at least 3 pixels from any occlusion.
    """

    abs_rel: float
    band: float
    flying: float
    normal_deg: float


def score_surface(depth: Tensor, frame: Frame, truth: Occlusions, scored: Tensor) -> SurfaceScore:
    """Return the errors of an (H, W) depth map over the scored pixels."""
    scaled = depth * (frame.depth[scored] / depth[scored]).median()
    relative = (scaled - frame.depth).abs() / frame.depth
    band = scored & _near(truth.clear, 3)
    around = functional.pad(truth.log_depth[None, None], (2, 2, 2, 2), mode="replicate")
    window = functional.unfold(around, 5).view(25, *depth.shape)
    off = (scaled.log() - window).abs().amin(0) > 0.25 * (window.amax(0) - window.amin(0))
    at_edge = scored & _near(truth.clear, 1)
    normals = central_normals(scaled, frame.camera.intrinsics)
    angle = torch.rad2deg((normals * frame.normals).sum(-1).clamp(-1, 1).acos())
    inner = torch.zeros_like(scored)
    inner[1:-1, 1:-1] = True
    return SurfaceScore(
        abs_rel=_mean(relative, scored),
        band=_mean(relative, band),
        flying=_mean(off.float(), at_edge),
        normal_deg=_mean(angle, scored & inner & ~_near(truth.any, 2)),
    )


@dataclass(frozen=True)
class CutScore:
    """Counts of found and wrong cuts.

    Attributes:
        found: Clear occlusions with a cut of the same direction within 2 pixels.
        occlusions: Clear occlusions.
        lost: Scored pixels more than 4 from any occlusion that touch a cut.
        good: Scored pixels more than 4 from any occlusion.
    """

    found: int
    occlusions: int
    lost: int
    good: int


def score_cuts(cuts: GridCuts, truth: Occlusions, scored: Tensor) -> CutScore:
    """Return how well cuts of one picture match the true occlusions."""
    pairs = ((cuts.right[0], truth.right), (cuts.down[0], truth.down))
    away = scored & ~_near(truth.any, 4)
    return CutScore(
        found=sum(int((_near(made, 2) & true).sum()) for made, true in pairs),
        occlusions=sum(int(true.sum()) for _, true in pairs),
        lost=int((cuts.pixels()[0] & away).sum()),
        good=int(away.sum()),
    )


def central_normals(depth: Tensor, intrinsics: Tensor) -> Tensor:
    """Return the normals of a surface from central differences of its points; zero at the border."""
    points = unproject(depth[None], intrinsics[None])[0]
    across, down = torch.zeros_like(points), torch.zeros_like(points)
    across[:, 1:-1] = points[:, 2:] - points[:, :-2]
    down[1:-1] = points[2:] - points[:-2]
    return functional.normalize(torch.linalg.cross(down, across), dim=-1)


def abs_rel(depth: Tensor, frame: Frame, scored: Tensor) -> float:
    """Return the mean relative error after median scaling."""
    known, guess = frame.depth[scored], depth[scored]
    return float(((guess * (known.median() / guess.median()) - known).abs() / known).mean())


def mean(numbers: list[float]) -> float:
    """Return the mean of the finite numbers."""
    finite = [number for number in numbers if math.isfinite(number)]
    return sum(finite) / max(len(finite), 1)


def _near(mask: Tensor, radius: int) -> Tensor:
    """Return the pixels within a Chebyshev distance of a mask."""
    return functional.max_pool2d(mask[None, None].float(), 2 * radius + 1, 1, radius)[0, 0] > 0


def _mean(values: Tensor, mask: Tensor) -> float:
    return float(values[mask].mean()) if bool(mask.any()) else math.nan
