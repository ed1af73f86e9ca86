"""Where one shot ends and the next begins."""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from .thumbnails import thumbnail

_SAME_LAYOUT: Final = 0.65  # correlation of consecutive thumbnails; pans and movers stay above 0.9
_SAME_COLOURS: Final = 0.05  # share of the pixels that change their colour bin
_LEVELS: Final = 8  # colour bins per channel


class CutDetector:
    """Tells cuts from motion, one frame after the other.

    A frame starts a new shot when its layout no longer resembles that of the frame before (normalised
    correlation of small luma pictures, which a flash or a fade hardly changes) and its colours differ too (histogram
    distance, which a fast pan hardly changes). Dissolves are no cuts: the longer fits of the stabiliser
    fade out over them.
    """

    def __init__(self) -> None:
        self._layout: Tensor | None = None
        self._colours: Tensor | None = None

    def push(self, rgb: Tensor) -> bool:
        """Return whether this frame starts a new shot; the first frame does not.

        Args:
            rgb: (H, W, 3) float in [0, 1].
        """
        layout, colours = _layout(rgb), _colours(rgb)
        cut = False
        if self._layout is not None and self._colours is not None:
            changed = 0.5 * float((colours - self._colours).abs().sum())
            cut = changed > _SAME_COLOURS and _correlation(layout, self._layout) < _SAME_LAYOUT
        self._layout, self._colours = layout, colours
        return cut

    def state(self) -> dict[str, Tensor]:
        """Return what is remembered of the last frame, for `restore`."""
        if self._layout is None or self._colours is None:
            return {}
        return {"layout": self._layout, "colours": self._colours}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on where another detector's `state` was taken."""
        self._layout, self._colours = state.get("layout"), state.get("colours")


def _layout(rgb: Tensor) -> Tensor:
    """Return the thumbnail at a quarter of its size, flat, of zero mean."""
    small = F.adaptive_avg_pool2d(thumbnail(rgb)[None], (24, 32)).flatten()
    return small - small.mean()


def _correlation(first: Tensor, second: Tensor) -> float:
    energy = float(first.norm() * second.norm())
    if energy < 1e-4:  # two blank pictures are alike, and a blank one is like nothing else
        return 1.0 if float((first - second).norm()) < 1e-2 else 0.0
    return float(first @ second) / energy


def _colours(rgb: Tensor) -> Tensor:
    """Return the share of pixels in each of 512 colour bins."""
    step = max(1, max(rgb.shape[:2]) // 64)
    bins = (rgb[::step, ::step].reshape(-1, 3).float() * (_LEVELS - 0.001)).long().clamp(0, _LEVELS - 1)
    index = (bins[:, 0] * _LEVELS + bins[:, 1]) * _LEVELS + bins[:, 2]
    return torch.bincount(index, minlength=_LEVELS**3).float() / len(index)
