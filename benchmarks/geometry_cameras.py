"""How well cameras and affine shifts are found, and what is said where they can't be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lotus_core.conventions import DepthKind
from lotus_core.geometry.calibrate import calibrate
from lotus_core.geometry.camera import intrinsics_from_fov, pixel_rays
from lotus_core.training.scenes import Frame

from .geometry_noise import LEVELS, network_maps
from .geometry_scores import abs_rel, mean

HEIGHT, WIDTH = 192, 256


@dataclass(frozen=True)
class CameraRow:
    """One kind and one level over all scenes.

    Attributes:
        kind: Of the map.
        level: Of the noise.
        fov_mean: Mean error of the field of view, degrees.
        fov_median: Its median.
        abs_rel: Mean relative depth error after median scaling, camera and shift found.
        abs_rel_given: The same with the field of view given.
        abs_rel_oracle: The same with the true scale and shift.
        abs_rel_all: As ``abs_rel``, over clipped pixels too.
        from_normals: Share of the scenes whose focal length came from the normals.
        z_rms: Root mean square of error / reported standard deviation of ln f, where it came from the normals:
            1 is honest, more is overconfident.
        worst_confident: Largest FOV error among the scenes that report a standard deviation below 0.1, degrees.
    """

    kind: DepthKind
    level: str
    fov_mean: float
    fov_median: float
    abs_rel: float
    abs_rel_given: float
    abs_rel_oracle: float
    abs_rel_all: float
    from_normals: float
    z_rms: float
    worst_confident: float


def score_cameras(frames: Sequence[Frame], kind: DepthKind, level: str) -> CameraRow:
    """Calibrate every frame's maps twice, without and with its field of view."""
    errors, found, given, oracle, everywhere, scores, confident = [], [], [], [], [], [], [0.0]
    for seed, frame in enumerate(frames):
        maps = network_maps(frame, kind, LEVELS[level], seed)
        true_fov = frame.camera.fov_x_deg
        values, normals = maps.values[None], maps.normals[None]
        free = calibrate(values, normals, kind=kind)
        known = calibrate(values, normals, kind=kind, fov_x_deg=true_fov)
        depth = free.resolve_depth(values)[0]
        errors.append(abs(float(free.fov_x_deg) - true_fov))
        found.append(abs_rel(depth, frame, maps.scored))
        everywhere.append(abs_rel(depth, frame, frame.valid))
        given.append(abs_rel(known.resolve_depth(values)[0], frame, maps.scored))
        oracle.append(abs_rel(maps.oracle, frame, maps.scored))
        if free.focal_source[0] == "normals":
            true_focal, focal = (
                1 / math.tan(math.radians(fov) / 2) for fov in (true_fov, float(free.fov_x_deg))
            )
            scores.append((math.log(focal / true_focal) / float(free.sd_log_focal)) ** 2)
        if float(free.sd_log_focal) < 0.1:
            confident.append(errors[-1])
    return CameraRow(
        kind=kind,
        level=level,
        fov_mean=mean(errors),
        fov_median=sorted(errors)[len(errors) // 2],
        abs_rel=mean(found),
        abs_rel_given=mean(given),
        abs_rel_oracle=mean(oracle),
        abs_rel_all=mean(everywhere),
        from_normals=len(scores) / len(frames),
        z_rms=math.sqrt(mean(scores)),
        worst_confident=max(confident),
    )


@dataclass(frozen=True)
class FlatRow:
    """An ill-posed scene: what was said about it.

    Attributes:
        name: The scene.
        kind: Of the map.
        least_sd: Smallest reported standard deviation of ln f over fields of view of 35, 60 and 85 degrees and
            noise of the map of 0, 0.3 and 2 % of its range (normals: three times that in radians).
        fov_offset: Largest distance of the field of view from the prior's 60 degrees.
    """

    name: str
    kind: DepthKind
    least_sd: float
    fov_offset: float


def score_flat_scenes() -> list[FlatRow]:
    """Calibrate scenes that do not tell their focal length."""
    cases: list[tuple[str, DepthKind, tuple[float, float, float], bool]] = [
        ("frontoparallel plane", "depth", (0.0, 0.0, -1.0), False),
        ("frontoparallel plane", "disparity", (0.0, 0.0, -1.0), False),
        ("slanted plane", "disparity", (0.5, -0.17, -0.85), False),
        ("two frontoparallel planes", "depth", (0.0, 0.0, -1.0), True),
        ("two frontoparallel planes", "disparity", (0.0, 0.0, -1.0), True),
    ]
    rows = []
    for name, kind, normal, two in cases:
        deviations, offsets = [], []
        for fov in (35.0, 60.0, 85.0):
            for noise in (0.0, 0.003, 0.02):
                values, normals = _planes(fov, normal, kind, noise, two)
                camera = calibrate(values[None], normals[None], kind=kind)
                deviations.append(float(camera.sd_log_focal))
                offsets.append(abs(float(camera.fov_x_deg) - 60.0))
        rows.append(FlatRow(name, kind, min(deviations), max(offsets)))
    return rows


def _planes(
    fov_x_deg: float, normal: tuple[float, float, float], kind: DepthKind, noise: float, two: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the scaled map and the normals of one plane, or of two parallel ones side by side."""
    generator = torch.Generator().manual_seed(3)
    rays = pixel_rays(intrinsics_from_fov(fov_x_deg, HEIGHT, WIDTH), HEIGHT, WIDTH)[0]
    unit = torch.nn.functional.normalize(torch.tensor(normal), dim=0)
    depth = -3.0 / (rays @ unit)
    if two:
        depth[:, : WIDTH // 2] *= 0.6
    exact = depth if kind == "depth" else 1.0 / depth
    exact = exact - exact.min()
    values = exact / exact.max() if float(exact.max()) > 1e-5 else exact
    values = values + noise * torch.randn(values.shape, generator=generator)
    normals = unit + 3 * noise * torch.randn(HEIGHT, WIDTH, 3, generator=generator)
    return values, torch.nn.functional.normalize(normals, dim=-1)
