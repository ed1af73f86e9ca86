"""Depth and normals of the same pictures, resolved to cameras and surfaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..types import DepthPrediction, JointPrediction, NormalPrediction
from .align import Anchor, anchor_scale
from .calibrate import Calibration, FocalSource, calibrate, check_maps
from .edges import GridCuts, cut_grid
from .normals import facing_normals
from .points import unproject
from .refine import refine as refine_depth

ScaleMeaning = Literal["median", "anchor", "poses"]

CLIPPED_SHARE = 0.005
"""Share of a picture that must lie at one end of the map for that end to count as clipped."""

CLIPPED_BAND = 0.002


@dataclass(frozen=True)
class JointGeometry:
    """Cameras and surfaces of B pictures.

    Attributes:
        depth: (B, H, W) float32 z-depth, high = far, positive; its unit is told by ``scale_meaning``.
        points: (B, H, W, 3) float32, OpenCV camera frame (+x right, +y down, +z forward), same unit.
        normals: (B, H, W, 3) float32 unit vectors, same frame, facing the camera; zero where unknown.
        intrinsics: (B, 3, 3) float32, pixels of this size, principal point in the middle.
        cuts: Grid edges that cross an occlusion.
        edges: (B, H, W) bool, valid pixels at an occlusion, on either side.
        valid: (B, H, W) bool, where depth and normals are known.
        clipped: (B, H, W) bool, where the network's range ended: depth is only a bound there (sky, in disparity).
        calibration: How camera and shift were found. ``calibration.sd_log_focal`` (B,) is the confidence:
            the standard deviation of ln f, above 0.3 of which the focal length is the prior's.
        scale_meaning: B times "median" (the unit is the picture's own median valid depth), "anchor" (the
            anchor's unit, usually metres) or "poses" (that of the camera poses with which views were fused).
        refined: Whether the normals refined the depth.
    """

    depth: Tensor
    points: Tensor
    normals: Tensor
    intrinsics: Tensor
    cuts: GridCuts
    edges: Tensor
    valid: Tensor
    clipped: Tensor
    calibration: Calibration
    scale_meaning: tuple[ScaleMeaning, ...]
    refined: bool

    @property
    def fov_x_deg(self) -> Tensor:
        """(B,) float32, horizontal field of view in degrees."""
        return self.calibration.fov_x_deg

    @property
    def focal_source(self) -> tuple[FocalSource, ...]:
        """B times "given", "normals" or "prior"."""
        return self.calibration.focal_source


@dataclass(frozen=True)
class JointResult(JointPrediction):
    """Depth and normals of the same pictures, and what they say together.

    Attributes:
        geometry: Cameras and surfaces on which the two agree; None where it was not asked for.
    """

    geometry: JointGeometry | None = None


def resolve_geometry(
    depth: DepthPrediction,
    normals: NormalPrediction,
    *,
    fov_x_deg: float | None = None,
    refine: bool = True,
    anchor: Anchor | None = None,
    valid: Tensor | None = None,
) -> JointGeometry:
    """Return the cameras and surfaces on which a depth and a normal prediction agree.

    Args:
        depth: Affine-invariant depth or disparity.
        normals: Of the same pictures.
        fov_x_deg: Known horizontal field of view in degrees, from the user, EXIF (`fov_from_exif`) or
            another estimator; it wins over the estimate. None: estimate it.
        refine: Whether the normals shall refine the depth.
        anchor: What fixes the scale, or None to leave it open: depth then has a median of 1.
        valid: (B, H, W) bool, pixels on surfaces (not sky), or None for all.

    Returns:
        The geometry. Differentiable in neither prediction.

    Raises:
        ShapeError: Predictions of different sizes, or a mask of another size.
        OptionError: A field of view outside 1 to 170 degrees.
        GeometryError: No pixel is valid, a map without any finite pixel, an anchor that meets no valid depth.
    """
    values, vectors = depth.values.detach(), normals.vectors.detach().to(depth.values.device)
    with torch.no_grad():
        usable = check_maps(values, vectors, valid)
        camera = calibrate(values, vectors, kind=depth.kind, fov_x_deg=fov_x_deg, valid=usable)
        resolved = camera.resolve_depth(torch.where(usable, values, camera.low[:, None, None])).float()
        facing = facing_normals(vectors.float(), camera.intrinsics)
        usable = usable & (facing.square().sum(-1) > 0.5) & resolved.isfinite()
        if refine:
            resolved = refine_depth(resolved, facing, camera.intrinsics, kind=depth.kind, valid=usable)
        clipped = _clipped(values, usable)
        resolved = resolved * _unit(resolved, usable & ~clipped, usable)[:, None, None]
        meaning: tuple[ScaleMeaning, ...] = ("median",) * values.shape[0]
        if anchor is not None:
            fixed = anchor_scale(resolved, camera.intrinsics, anchor, valid=usable & ~clipped)
            resolved = resolved * fixed.scale[:, None, None]
            meaning = tuple("anchor" if count else "median" for count in fixed.count.tolist())
        cuts = cut_grid(resolved, facing, camera.intrinsics, valid=usable)
    return JointGeometry(
        depth=resolved,
        points=unproject(resolved, camera.intrinsics),
        normals=facing,
        intrinsics=camera.intrinsics,
        cuts=cuts,
        edges=cuts.pixels() & usable,
        valid=usable,
        clipped=clipped,
        calibration=camera,
        scale_meaning=meaning,
        refined=refine,
    )


def _unit(depth: Tensor, preferred: Tensor, usable: Tensor) -> Tensor:
    """Return 1 / median depth over the preferred pixels, or over the usable ones where none is; (B,) float."""
    scales = []
    for picture, best, other in zip(depth, preferred, usable, strict=True):
        chosen = best if bool(best.any()) else other
        scales.append(1.0 / picture[chosen].median() if bool(chosen.any()) else picture.new_ones(()))
    return torch.stack(scales)


def _clipped(values: Tensor, usable: Tensor) -> Tensor:
    """Return the pixels at an end of the map where many share that end, (B, H, W) bool."""
    low = torch.where(usable, values, float("inf")).amin((1, 2), keepdim=True)
    high = torch.where(usable, values, float("-inf")).amax((1, 2), keepdim=True)
    band = CLIPPED_BAND * (high - low)
    clipped = torch.zeros_like(usable)
    for end in (values <= low + band, values >= high - band):
        at_end = end & usable & (high > low)
        share = at_end.sum((1, 2), keepdim=True) / usable.sum((1, 2), keepdim=True).clamp_min(1)
        clipped |= at_end & (share > CLIPPED_SHARE)
    return clipped
