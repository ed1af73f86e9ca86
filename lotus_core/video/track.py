"""From painted maps of a clip to its depth and its normals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from ..conventions import DepthKind, NormalConvention
from ..inference.ensemble import merge_depths, merge_normals
from ..inference.image import WorkingSize, resize_map
from ..inference.model import LotusModel
from ..inference.options import Upsample
from ..inference.run import Merged, unit_normals
from .cliprange import ClipRange
from .painter import ClipOptions
from .run import PaintedFrames, rgb_of
from .stabilize import Corrections, DepthStabilizer


class DepthTrack:
    """The depth half of a clip: collects the network's maps, and corrects them when the clip has ended.

    Args:
        model: A depth or disparity model.
        clip: How the clip is made stable.

    Raises:
        ModelTaskError: A normal model.
    """

    def __init__(self, model: LotusModel, clip: ClipOptions) -> None:
        self.kind: DepthKind = model.depth_kind()
        self._stabilize = clip.stabilize
        self._stabilizer = DepthStabilizer(self.kind)
        self._range = ClipRange()

    def push(self, piece: PaintedFrames) -> Merged:
        """Take note of the next frames and return the network's own maps, uncorrected.

        Args:
            piece: The frames; the first model's maps are this track's.

        Returns:
            (B, h, w) float32 in [0, 1] at the working size, and the ensemble's spread, or None.
        """
        depths = piece.painted[0].float().mean(2)  # (N, B, h, w)
        values, uncertainty = (depths[0], None) if len(depths) == 1 else merge_depths(depths)
        for value, frame, cut in zip(values, piece.frames, piece.cuts, strict=True):
            self._stabilizer.push(value, rgb_of(frame), cut=cut)
            self._range.push(value)
        return values, uncertainty

    def corrections(self) -> Corrections:
        """Return the corrections of all frames so far; without stabilisation they change nothing."""
        if self._stabilize:
            return self._stabilizer.corrections()
        count = len(self._stabilizer)
        return Corrections(torch.ones(count), torch.zeros(count), self._stabilizer.corrections().shots)

    def limits(self, corrections: Corrections) -> tuple[float, float]:
        """Return the least and greatest value of the corrected clip, at most 0 and at least 1."""
        ends = self._range.range(corrections, (0.0, 100.0))
        return min(0.0, float(ends.low)), max(1.0, float(ends.high))

    def display_range(self, corrections: Corrections) -> tuple[float, float]:
        """Return the 1st and the 99th percentile of the corrected clip: the one range of all its pictures."""
        ends = self._range.range(corrections)
        return float(ends.low), float(ends.high)

    def state(self, start: int = 0) -> dict[str, Tensor]:
        """Return all that is remembered, for `restore`; of the frames' ranges, those from `start` on."""
        return {**self._stabilizer.state(), **self._range.state(start)}

    def restore(self, states: Iterable[Mapping[str, Tensor]]) -> None:
        """Go on where another track's states were taken, one after the other, each from where the last ended."""
        last: dict[str, Tensor] | None = None
        for state in states:
            last = dict(state)
            self._range.restore(last)
        if last is not None:
            self._stabilizer.restore(last)


def merged_normals(painted: Tensor) -> Merged:
    """Return the OpenCV unit normals of painted maps: (N, B, 3, h, w) -> (B, h, w, 3), and their spread."""
    signs = painted.new_tensor(NormalConvention.LOTUS.signs_from_opencv)
    vectors = unit_normals((painted.float() * 2.0 - 1.0).movedim(2, -1) * signs)
    return (vectors[0], None) if len(vectors) == 1 else merge_normals(vectors)


def sized_normals(
    vectors: Tensor, uncertainty: Tensor | None, size: WorkingSize, upsample: Upsample
) -> Merged:
    """Return normals and their spread at the frames' size: (B, h, w, 3) -> (B, H, W, 3), unit length again."""
    resized = resize_map(vectors.movedim(-1, 1), size.height, size.width, upsample)
    spread = None if uncertainty is None else sized_depth(uncertainty, size, upsample)
    return unit_normals(resized.movedim(1, -1)), spread


def sized_depth(values: Tensor, size: WorkingSize, upsample: Upsample) -> Tensor:
    """Return maps at the frames' size: (B, h, w) -> (B, H, W)."""
    return resize_map(values[:, None], size.height, size.width, upsample)[:, 0]
