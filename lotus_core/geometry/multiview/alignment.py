"""From affine-invariant maps of several views with known cameras to depth in the cameras' unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...conventions import DepthKind
from ...errors import GeometryError
from ..anchors import DepthAnchors
from ..camera import Camera
from ..evidence import gather_evidence
from .bundle import COARSE, FINE, adjust
from .consensus import neighbours
from .inputs import ViewInputs
from .scale_search import search_scales
from .shift_prior import ShiftPrior, shift_prior
from .stereo_fit import refit
from .sweep import Sweep, grey_pictures, sweep_depths
from .verdict import Agreement, judge, refuse_mismatch
from .views import CLIPPED, Affine, Pairs, Views, gather_views, sample_pairs

SAMPLES = 800
"""Cells of a view that are compared with each neighbour."""

SWEEPS = ((0.25, 25), (0.12, 12))
"""Reach in ln z and steps to either side of the two searches for depths on which the pictures agree."""

LEAST_AGREEMENT = 0.75
"""Share of what neighbouring views both see that they must put at the same place, on average. Right poses give .85 and
more, also with noisy maps; exchanged ones .75 and less."""


@dataclass(frozen=True)
class Alignment:
    """Scale and shift of N views.

    Attributes:
        scale: (N,) float64. Depth is ``scale * (value + shift)`` for kind "depth" and
            ``scale / (value + shift)`` for "disparity", in the unit of the poses.
        shift: (N,) float64, in the map's own unit.
        low: (N,) float64, the map's robust minimum; ``low + shift`` is positive.
        high: (N,) float64, the robust maximum.
        kind: Of the maps.
        near: N lists of the neighbours that were compared.
        agreement: How well the views fit together.
    """

    scale: Tensor
    shift: Tensor
    low: Tensor
    high: Tensor
    kind: DepthKind
    near: tuple[tuple[int, ...], ...]
    agreement: Agreement

    def resolve_depth(self, index: int, values: Tensor) -> Tensor:
        """Return the z-depth of one view's map, (H, W) float32; values below ``low`` are held there."""
        held = values.double().clamp_min(float(self.low[index])) + self.shift[index].to(values.device)
        scale = self.scale[index].to(values.device)
        return (scale * held if self.kind == "depth" else scale / held).float()

    def unclipped(self, index: int, values: Tensor) -> Tensor:
        """Return where one view's map is inside its range, (H, W) bool: at the ends it may be cut off."""
        low, high = float(self.low[index]), float(self.high[index])
        margin = CLIPPED * (high - low)
        return (values > low + margin) & (values < high - margin)


def align_views(
    inputs: ViewInputs, anchors: DepthAnchors | None = None, *, least_agreement: float = LEAST_AGREEMENT
) -> Alignment:
    """Return the scales and shifts for which all views see one scene.

    Shifts come from the normals, first scales from a search; then both are fitted together, to the other
    views' maps, to depths at which the pictures themselves agree, and to known depths. Without pictures or
    anchors the scale that all views share may be off by some percent.

    Args:
        inputs: The views.
        anchors: Known depths, in pixels of the maps, or None.
        least_agreement: Share of what neighbours both see that they must put at the same place; 0 to take
            whatever comes out.

    Returns:
        The alignment.

    Raises:
        GeometryError: A map is constant, a view shares nothing with the others, or the poses do not fit.
    """
    inputs = inputs.cpu()  # the fit is small, and needs float64, which some devices lack
    views = gather_views(inputs)
    _refuse_constant(views)
    near = neighbours(inputs.cameras)
    one_way = {(i, j) for i, row in enumerate(near) for j in row}
    edges = sorted(one_way | {(j, i) for i, j in one_way})
    source, target = torch.tensor(edges).T
    pairs = sample_pairs(views, source, target, SAMPLES)
    evidence = [
        gather_evidence(d[None].nan_to_num(), n[None].nan_to_num(), inputs.kind, v[None])
        for d, n, v in zip(inputs.values, inputs.normals, inputs.valid, strict=True)
    ]
    prior = shift_prior(evidence, inputs.cameras, views)
    given = None if anchors is None else _in_cells(anchors, inputs.cameras, views)
    affine, sweep = _fit(views, pairs, prior, inputs.images, given)
    agreement = judge(views, pairs, affine, sweep)
    refuse_mismatch(agreement, least_agreement)
    return _alignment(views, affine, agreement, pairs)


def _fit(
    views: Views, pairs: Pairs, prior: ShiftPrior, images: Sequence[Tensor] | None, given: DepthAnchors | None
) -> tuple[Affine, Sweep | None]:
    """Scales and shifts, and what comparing the pictures gave."""
    affine = search_scales(views, pairs, prior.best())
    if images is None:
        return adjust(views, pairs, affine, prior, given, COARSE), None
    grey = grey_pictures(images, (views.usable.shape[1], views.usable.shape[2]))
    affine, votes = refit(views, grey, pairs, affine)
    affine = adjust(views, pairs, affine, prior, _joined(votes, given), COARSE[1:])
    sweep = None
    for reach, steps in SWEEPS:
        sweep = sweep_depths(views, grey, pairs, affine, reach=reach, steps=steps)
        affine = adjust(views, pairs, affine, prior, _joined(sweep.depths, given), FINE)
    return affine, sweep


def _joined(first: DepthAnchors, second: DepthAnchors | None) -> DepthAnchors:
    if second is None:
        return first
    return DepthAnchors(
        *(torch.cat([a, b]) for a, b in zip(vars(first).values(), vars(second).values(), strict=True))
    )


def _in_cells(anchors: DepthAnchors, cameras: Sequence[Camera], views: Views) -> DepthAnchors:
    """The anchors in pixels of the working grid."""
    height, width = views.usable.shape[1:]
    scale = torch.tensor([[width / camera.width, height / camera.height] for camera in cameras])
    view = anchors.view.cpu()
    return DepthAnchors(view, anchors.pixels.cpu().float() * scale[view], anchors.depth.cpu().float())


def _alignment(views: Views, affine: Affine, agreement: Agreement, pairs: Pairs) -> Alignment:
    shift = affine.log_shift.exp()  # above the robust minimum
    middle = views.middle.double() + shift
    return Alignment(
        scale=(affine.log_middle - views.sign * middle.log()).exp(),
        shift=shift - views.low.double(),
        low=views.low.double(),
        high=(views.low + views.span).double(),
        kind=views.kind,
        near=tuple(tuple(pairs.target[pairs.source == i].tolist()) for i in range(len(shift))),
        agreement=agreement,
    )


def _refuse_constant(views: Views) -> None:
    flat = (views.span <= 1e-6 * views.low.abs().clamp_min(1e-3)).nonzero().flatten().tolist()
    if flat:
        raise GeometryError(
            f"the depth map of view {flat[0]} is constant",
            found=f"{float(views.low[flat[0]]):.4g} everywhere it is valid",
            remedy="leave this view out",
        )
