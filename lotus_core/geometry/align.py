"""The last unknown scale: one known distance, a metric depth map or a few known depths."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import require_shape
from ..errors import GeometryError
from .anchors import DepthAnchors
from .points import unproject

INLIER_DEVIATIONS = 2.5
"""Robust standard deviations of ln scale within which a measurement takes part in the mean."""

LEAST_DEVIATION = 0.01


@dataclass(frozen=True)
class KnownDistance:
    """One measured distance in one picture.

    Attributes:
        distance: In the unit that the depth shall have (metres, usually), positive.
        first: (x, y) of a pixel, centres at +0.5.
        second: (x, y) of another pixel: the distance is between the two points. None: it is between the
            camera and the first point, along the ray.
        picture: Index in the batch.
    """

    distance: float
    first: tuple[float, float]
    second: tuple[float, float] | None = None
    picture: int = 0


@dataclass(frozen=True)
class MetricDepth:
    """Depth maps of another source, such as a sensor or a metric estimator.

    Attributes:
        depth: (B, H, W) float z-depth of the same pictures; not positive or not finite where unknown.
    """

    depth: Tensor


Anchor = KnownDistance | MetricDepth | DepthAnchors
"""What can fix the scale. The views of `DepthAnchors` are indices in the batch."""


@dataclass(frozen=True)
class AnchorScale:
    """Scale for each of B pictures.

    Attributes:
        scale: (B,) float, factor from the given depth to the anchor's unit; 1 where there is no anchor.
        spread: (B,) float, robust relative deviation of the single measurements; 0 for one, infinite for none.
        count: (B,) int64, number of measurements.
    """

    scale: Tensor
    spread: Tensor
    count: Tensor


def anchor_scale(
    depth: Tensor, intrinsics: Tensor, anchor: Anchor, *, valid: Tensor | None = None
) -> AnchorScale:
    """Return the factor that brings depth to an anchor's unit.

    The scale is the mean of ln(known / depth) over the measurements within 2.5 robust standard deviations of
    their median: up to almost half of them may be wrong.

    Args:
        depth: (B, H, W) float z-depth up to one scale, positive.
        intrinsics: (B, 3, 3) float, pixels of this size.
        anchor: What is known.
        valid: (B, H, W) bool, pixels whose depth may be compared, or None for all.

    Returns:
        The scales.

    Raises:
        ShapeError: A metric depth map of another size.
        GeometryError: A distance that is not positive, pixels outside the picture, no measurement at all.
    """
    require_shape("depth", depth, "(B, H, W)", remedy="pass one channel, with a batch axis first")
    usable = depth.isfinite() & (depth > 0)
    if valid is not None:
        usable &= valid
    if isinstance(anchor, KnownDistance):
        ratios = _distance_ratio(depth, intrinsics, anchor, usable)
    elif isinstance(anchor, MetricDepth):
        shape = f"({', '.join(str(size) for size in depth.shape)})"
        require_shape("metric depth", anchor.depth, shape, remedy="resize it to the pictures first (nearest)")
        known = anchor.depth.to(depth)
        both = usable & known.isfinite() & (known > 0)
        ratios = [(known[i][mask] / depth[i][mask]).log() for i, mask in enumerate(both)]
    else:
        ratios = _point_ratios(depth, anchor, usable)
    results = [_robust_mean(ratio) for ratio in ratios]
    count = torch.tensor([ratio.numel() for ratio in ratios])
    if not bool(count.any()):
        raise GeometryError(
            "the anchor meets no valid depth",
            remedy="give a distance or depths of pixels where the depth is valid",
        )
    scale, spread = (depth.new_tensor(column) for column in zip(*results, strict=True))
    return AnchorScale(scale, spread, count)


def apply_anchor(depth: Tensor, intrinsics: Tensor, anchor: Anchor, *, valid: Tensor | None = None) -> Tensor:
    """Return depth in the anchor's unit, (B, H, W) float; arguments and errors as `anchor_scale`."""
    return depth * anchor_scale(depth, intrinsics, anchor, valid=valid).scale[:, None, None]


def _distance_ratio(depth: Tensor, intrinsics: Tensor, anchor: KnownDistance, usable: Tensor) -> list[Tensor]:
    if not (math.isfinite(anchor.distance) and anchor.distance > 0):
        raise GeometryError(
            "a known distance must be positive",
            found=repr(anchor.distance),
            remedy="measure it again, in metres",
        )
    if not 0 <= anchor.picture < depth.shape[0]:
        raise GeometryError(
            "a known distance names a picture that is not there",
            found=f"picture {anchor.picture} of {depth.shape[0]}",
            remedy="count from 0",
        )
    points = unproject(depth, intrinsics)[anchor.picture]
    here = usable[anchor.picture]
    start = _point_at(points, here, anchor.first)
    end = torch.zeros_like(start) if anchor.second is None else _point_at(points, here, anchor.second)
    length = float((start - end).norm())
    if length <= 0:
        raise GeometryError(
            "a known distance is between a point and itself",
            found=repr(anchor.first),
            remedy="pick two pixels",
        )
    ratios = [depth.new_zeros(0) for _ in range(depth.shape[0])]
    ratios[anchor.picture] = depth.new_tensor([math.log(anchor.distance / length)])
    return ratios


def _point_at(points: Tensor, usable: Tensor, pixel: tuple[float, float]) -> Tensor:
    height, width = usable.shape
    x, y = pixel
    if not (0 <= x <= width and 0 <= y <= height):
        raise GeometryError(
            "a pixel lies outside the picture",
            found=f"{pixel} of {width} x {height}",
            remedy="give (x, y) in pixels",
        )
    column, row = min(int(x), width - 1), min(int(y), height - 1)
    if not bool(usable[row, column]):
        raise GeometryError("no valid depth at a pixel", found=str(pixel), remedy="pick a pixel on a surface")
    return points[row, column]


def _point_ratios(depth: Tensor, anchor: DepthAnchors, usable: Tensor) -> list[Tensor]:
    height, width = depth.shape[1:]
    ratios = []
    for index in range(depth.shape[0]):
        pixels, known = anchor.of_view(index)
        known = known.to(depth)
        column, row = pixels.to(depth.device).floor().long().unbind(-1)
        inside = (
            (column >= 0) & (column < width) & (row >= 0) & (row < height) & (known > 0) & known.isfinite()
        )
        column, row, known = column[inside], row[inside], known[inside]
        seen = usable[index, row, column]
        ratios.append((known[seen] / depth[index, row[seen], column[seen]]).log())
    return ratios


def _robust_mean(ratios: Tensor) -> tuple[float, float]:
    """Return the scale and the robust relative deviation of ln ratios."""
    if ratios.numel() == 0:
        return 1.0, math.inf
    middle = ratios.median()
    deviation = 1.4826 * float((ratios - middle).abs().median())
    near = (ratios - middle).abs() <= max(INLIER_DEVIATIONS * deviation, LEAST_DEVIATION)
    return math.exp(float(ratios[near].mean())), deviation
