"""Whether views fit together, or poses and pictures are not of one scene.

Maps alone can be bent to agree with wrong poses: scales so large that the parallax vanishes fit any rotation. So a
view's samples must land where a neighbour has a surface at the same depth AND turned the same way, and pictures, where
there are any, must show the same texture there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import GeometryError
from .bundle import AGREEMENT, depth_residual, masked_median
from .sweep import Sweep
from .views import Affine, Pairs, Views, land

TURNED_ALIKE = 0.85
"""Least cosine between both views' normals of one surface, 32 degrees: two noisy normals stay below."""

LEAST_OVERLAP = 0.05
"""Share of a view's cells that must fall into a neighbour's picture, on a surface that is not hidden there."""

LEAST_OF_OTHERS = 0.8
"""Share of the other views' mean agreement that each must reach: one wrong pose among right ones gives .78 and less of
it, noisy maps .88 and more."""

LEAST_TRIED = 30
LEAST_SHARE = 0.04
DOUBTFUL = 0.8
"""A view is refused too if its maps agree less than this with its neighbours' and, of at least 30 patches compared, the
pictures look alike in less than 4 %. Wrong poses give about 1 %, right ones a quarter and more; but the grain of a dim
picture has contrast and no likeness, so that patches alone do not refuse a view."""


@dataclass(frozen=True)
class Agreement:
    """How well N views fit together.

    Attributes:
        overlap: (N,) float64, share of a view's usable samples that some neighbour sees.
        agreement: (N,) float64, share of what it and each neighbour see that lies at the same depth and is turned
            the same way.
        scale_spread: Standard deviation of the views' scales, each against its neighbours'.
        patches: (N,) int64, patches of each picture that were compared with its neighbours; 0 without pictures.
        matched: (N,) int64, those of them that gave a depth.
    """

    overlap: Tensor
    agreement: Tensor
    scale_spread: float
    patches: Tensor
    matched: Tensor


def judge(views: Views, pairs: Pairs, affine: Affine, sweep: Sweep | None) -> Agreement:
    """Return how well fitted views agree."""
    landing = land(views, pairs, affine.log_depth(views, pairs.source, pairs.x))
    residual = depth_residual(views, pairs, affine, landing)
    visible = landing.visible & (residual > -AGREEMENT)
    same = visible & (residual.abs() < AGREEMENT) & (landing.cosine > TURNED_ALIKE)
    count, samples = len(views.low), pairs.x.shape[1]
    seen = torch.zeros(count, samples).index_add_(0, pairs.source, visible.float()) > 0
    usable = torch.zeros(count, samples, dtype=torch.bool)
    usable[pairs.source] = pairs.usable
    none = torch.zeros(count, dtype=torch.float64)
    total, alike = (none.index_add(0, pairs.source, part.sum(1).double()) for part in (visible, same))
    middle = masked_median(residual, same)
    each = none.index_add(0, pairs.source, middle)
    return Agreement(
        overlap=seen.sum(1).double() / usable.sum(1).clamp_min(1),
        agreement=alike / total.clamp_min(1),
        scale_spread=float(
            (each / torch.bincount(pairs.source, minlength=count).clamp_min(1)).std(unbiased=False)
        ),
        patches=none.long() if sweep is None else sweep.tried,
        matched=none.long() if sweep is None else torch.bincount(sweep.depths.view, minlength=count),
    )


def refuse_mismatch(agreement: Agreement, least: float) -> None:
    """Refuse views that do not belong together.

    Args:
        agreement: Of all views.
        least: Share of agreement that all views must reach on average.

    Raises:
        GeometryError: A view shares nothing with the others, or poses do not match the pictures.
    """
    alone = (agreement.overlap < LEAST_OVERLAP).nonzero().flatten().tolist()
    if alone:
        raise GeometryError(
            f"view {alone[0]} shares nothing with its neighbours",
            found=f"{float(agreement.overlap[alone[0]]):.0%} of it is seen by another view",
            remedy="check its pose, or leave this view out",
        )
    if least <= 0:
        return
    worst = int(agreement.agreement.argmin())
    lowest = float(agreement.agreement[worst])
    others = (float(agreement.agreement.sum()) - lowest) / (len(agreement.agreement) - 1)
    if lowest < LEAST_OF_OTHERS * others:
        raise _mismatch(f"the pose of view {worst} does not match its picture", agreement, worst)
    if float(agreement.agreement.mean()) < least:
        raise _mismatch("the poses do not match the pictures", agreement, worst)
    compared = agreement.patches >= LEAST_TRIED
    unlike = (
        compared & (agreement.matched < LEAST_SHARE * agreement.patches) & (agreement.agreement < DOUBTFUL)
    )
    if bool(unlike.any()):
        worst = int(unlike.nonzero()[0])
        raise GeometryError(
            f"the pose of view {worst} does not match its picture",
            found=f"{int(agreement.matched[worst])} of {int(agreement.patches[worst])} patches of it look the same in"
            " its neighbours",
            remedy="check that poses and pictures are in the same order and that the poses are in OpenCV axes",
        )


def _mismatch(problem: str, agreement: Agreement, worst: int) -> GeometryError:
    return GeometryError(
        problem,
        found=f"neighbours agree on {float(agreement.agreement[worst]):.0%} of what view {worst} and they see,"
        f" all views on {float(agreement.agreement.mean()):.0%}",
        remedy="check that poses and pictures are in the same order and that the poses are in OpenCV axes",
    )
