"""Scores a trained objective on held-out scenes, with several noises."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lotus_core.evaluation.alignment import align_depth
from lotus_core.evaluation.depth_metrics import depth_metrics
from lotus_core.training.lotus import LotusObjective
from lotus_core.training.order import draws
from lotus_core.training.scenes import Frame, sample_frame

from .regions import near_depth_edges, thin_structures

FIRST_SEED = 600_000
FARTHEST_M = 80.0
NOISES = 4


@dataclass(frozen=True)
class Figures:
    """What a trained model reached.

    Attributes:
        abs_rel: Mean absolute relative error of depth after scale and shift of disparity.
        delta1: Share in percent of pixels within a factor of 1.25.
        noise_spread: Standard deviation over noises of the disparity map in [0, 1], mean over pixels.
        edge_error: Relative error within 2 pixels of a depth edge.
        thin_error: Relative error on structures at most 4 pixels wide.
        reconstruction_db: PSNR between the flipped switch's picture and the VAE's own, decibels; None where it was
            not asked for.
        seconds: To denoise one picture.
    """

    abs_rel: float
    delta1: float
    noise_spread: float
    edge_error: float
    thin_error: float
    reconstruction_db: float | None
    seconds: float


@torch.no_grad()
def score(
    objective: LotusObjective,
    count: int = 48,
    size: tuple[int, int] = (128, 128),
    *,
    reconstruct: bool = True,
) -> Figures:
    """Return the figures of an objective's present weights.

    Args:
        objective: For depth, as disparity.
        count: Held-out scenes.
        size: (height, width) in pixels.
        reconstruct: Whether the flipped switch is scored too: as many denoising steps again.
    """
    objective.module.eval()
    rows: list[tuple[float, ...]] = []
    seconds = 0.0
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        frame = sample_frame(seed, height=size[0], width=size[1])
        valid = frame.valid & (frame.depth < FARTHEST_M)
        if not valid.any():
            continue
        latents = objective.encode(frame.rgb.movedim(-1, 0)[None] * 2 - 1).expand(NOISES, -1, -1, -1)
        noise = torch.randn(latents.shape, generator=draws(0, seed)).to(latents)
        began = time.perf_counter()
        found = objective.predict(latents, noise)
        seconds += (time.perf_counter() - began) / NOISES
        maps = (objective.decode(found).mean(1) * 0.5 + 0.5).clamp(0, 1).cpu()
        decibels = math.nan
        if reconstruct:
            painted = objective.decode(objective.predict(latents[:1], noise[:1], reconstruct=True))
            decibels = _psnr(painted, objective.decode(latents[:1]))
        rows.append((*_depth_errors(maps, frame, valid), float(maps.std(0).mean()), decibels))
    table = torch.tensor(rows, dtype=torch.float64)
    abs_rel, delta1, edge, thin, spread, decibels = table.nanmean(0).tolist()
    reconstruction = decibels if reconstruct else None
    return Figures(abs_rel, delta1, spread, edge, thin, reconstruction, seconds / len(rows))


def _depth_errors(maps: Tensor, frame: Frame, valid: Tensor) -> tuple[float, float, float, float]:
    """Return AbsRel, delta1, and the relative errors near edges and on thin structures; means over noises."""
    edges = near_depth_edges(frame.depth) & valid
    thin = thin_structures(frame.surface) & valid
    rows: list[tuple[float, ...]] = []
    for values in maps:
        aligned = align_depth(values, frame.depth, valid, "disparity").depth.clamp(1e-3, FARTHEST_M)
        metrics = depth_metrics(aligned, frame.depth, valid)
        relative = (aligned - frame.depth).abs() / frame.depth
        rows.append((metrics.abs_rel, metrics.delta1, _mean(relative, edges), _mean(relative, thin)))
    abs_rel, delta1, edge, thin_error = (math.fsum(column) / len(rows) for column in zip(*rows, strict=True))
    return abs_rel, delta1, edge, thin_error


def _mean(values: Tensor, mask: Tensor) -> float:
    """Return the mean inside a mask; NaN, which later means leave out, where the mask is empty."""
    return float(values[mask].mean()) if mask.any() else math.nan


def _psnr(picture: Tensor, reference: Tensor) -> float:
    error = float(((picture - reference) / 2).square().mean())
    return -10 * math.log10(max(error, 1e-12))


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the sample standard deviation; a single value has a spread of 0."""
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return mean, 0.0
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
