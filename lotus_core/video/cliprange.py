"""One range for a whole clip, so that a hint or colour map does not flicker.

Of every frame a row of evenly spaced quantiles is kept. A correction is affine and keeps their order, so that the
percentiles of the corrected clip follow from the rows alone: two passes, of which the second already
knows the range.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from ..rendering.ranges import PERCENTILES, ValueRange
from .stabilize import Corrections

_QUANTILES: Final = 128
_SAMPLES: Final = 2**15  # pixels per frame that the quantiles between the extremes are taken from


class ClipRange:
    """Collects what the range of a clip needs: 130 numbers per frame."""

    def __init__(self) -> None:
        self._rows: list[Tensor] = []

    def push(self, values: Tensor) -> None:
        """Take note of a frame's map, (H, W) float, before its correction. Its extremes are kept exactly."""
        flat = values.detach().float().cpu().flatten()
        thin = flat[:: max(1, len(flat) // _SAMPLES)].sort().values
        at = (torch.arange(_QUANTILES) + 0.5) / _QUANTILES * len(thin)
        self._rows.append(torch.cat([thin[at.long()], torch.stack(flat.aminmax())]))

    def range(self, corrections: Corrections, percentiles: tuple[float, float] = PERCENTILES) -> ValueRange:
        """Return the range between two percentiles of the corrected clip, (1,) each.

        Args:
            corrections: Of all frames pushed so far.
            percentiles: Lower and upper; (0, 100) are the exact minimum and maximum.
        """
        rows = torch.stack(self._rows)
        pooled = rows * corrections.scale[:, None] + corrections.shift[:, None]
        extremes = pooled[:, _QUANTILES].min(), pooled[:, _QUANTILES + 1].max()
        ends = extremes
        if percentiles != (0.0, 100.0):
            ordered = pooled[:, :_QUANTILES].flatten().sort().values
            at = torch.tensor(percentiles) / 100.0 * (len(ordered) - 1)
            low, high = ordered[at.round().long()]
            ends = extremes if low == high else (low, high)
        return ValueRange(ends[0].reshape(1), ends[1].reshape(1))

    def state(self, start: int = 0) -> dict[str, Tensor]:
        """Return the rows of the frames from `start` on, for `restore`."""
        return {"quantiles": torch.stack(self._rows[start:])} if len(self._rows) > start else {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Append the rows of another collector's `state`."""
        self._rows.extend(state.get("quantiles", torch.empty(0, _QUANTILES + 2)))
