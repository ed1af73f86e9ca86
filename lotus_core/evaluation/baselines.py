"""The best guess that ignores the picture: each pixel's mean over the data set."""

from __future__ import annotations

import torch
from torch import Tensor

from ..conventions import DepthKind
from ..geometry.normals import unit_normals
from .aggregate import mean_metrics
from .depth_metrics import DepthMetrics
from .normal_metrics import AngularErrors, NormalMetrics, angular_error_deg
from .rendered import SceneDepth, SceneNormals
from .run import Score, score_depth, summarise

QUANTILES = (0.02, 0.98)
"""A map's range in training: between these quantiles of its valid pixels. Source: Marigold; Lotus's "truncnorm"."""


def mean_normal_score(scenes: SceneNormals) -> Score[NormalMetrics]:
    """Return what each pixel's mean normal reaches on the same scenes: the guess without looking.

    Args:
        scenes: Rendered scenes of one size.
    """
    total = torch.zeros(scenes.scenes.height, scenes.scenes.width, 3, dtype=torch.float64)
    for name in scenes.names():
        total += scenes.load(name, colour=False).normals.double()
    guess = unit_normals(total)
    errors, images = AngularErrors(), 0
    for name in scenes.names():
        sample = scenes.load(name, colour=False)
        errors.add(angular_error_deg(guess, sample.normals.double())[sample.valid])
        images += bool(sample.valid.any())
    return summarise(None, images, (), (), [errors.metrics()])


def mean_map_score(scenes: SceneDepth, kind: DepthKind) -> Score[DepthMetrics]:
    """Return what each pixel's mean map reaches on the same scenes after scale and shift.

    Every scene's map is brought to [0, 1] between its quantiles, as in training, before the mean is taken.

    Args:
        scenes: Rendered scenes of one size.
        kind: Space of the map: that of the model it is compared with.
    """
    total = torch.zeros(scenes.scenes.height, scenes.scenes.width, dtype=torch.float64)
    for name in scenes.names():
        sample = scenes.load(name, colour=False)
        if bool(sample.valid.any()):
            total += _normalised(sample.depth, sample.valid, kind)
    rows: list[DepthMetrics] = []
    for name in scenes.names():
        sample = scenes.load(name, colour=False)
        if bool(sample.valid.any()):
            rows.append(score_depth(total, kind, sample, scenes.rules))
    return summarise(None, len(rows), (), (), [mean_metrics(rows)])


def _normalised(depth: Tensor, valid: Tensor, kind: DepthKind) -> Tensor:
    """Return a map in [0, 1] between its quantiles; where there is no truth, it is the far end."""
    plane = depth.double()
    if kind == "disparity":
        plane = 1.0 / plane
    low, high = torch.quantile(plane[valid], torch.tensor(QUANTILES, dtype=torch.float64))
    scaled = ((plane - low) / (high - low).clamp_min(1e-12)).clamp(0.0, 1.0)
    return torch.where(valid, scaled, 0.0 if kind == "disparity" else 1.0)
