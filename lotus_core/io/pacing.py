"""Frames that are missing from a video, told by the times of those that are there."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from statistics import median
from typing import Final

_PACED: Final = 8  # equal steps that show a pace
_TOLERANCE_S: Final = 2e-3  # containers round times to milliseconds
_GAP: Final = 1.8  # usual steps from which a step is a gap


@dataclass(frozen=True)
class Loss:
    """What could not be read.

    Attributes:
        frame: Number of frames read before it.
        reason: What is known of it.
    """

    frame: int
    reason: str


class Pace:
    """Notices gaps between frames, for files that state no number of frames.

    Only while all frames come at one pace: a video of variable frame rate has gaps of its own, and after its first
    uneven step nothing more is said of it.

    Args:
        time_base: Seconds per tick.
    """

    def __init__(self, time_base: Fraction) -> None:
        self._seconds = float(time_base)
        self._steps: deque[int] = deque(maxlen=_PACED)
        self._even = True

    def step(self, ticks: int, frame: int) -> Iterator[Loss]:
        """Yield the gap before a frame, if there is one.

        Args:
            ticks: From the frame before to this one.
            frame: Number of this one.
        """
        if not self._even:
            return
        usual = median(self._steps) if self._steps else ticks
        if abs(ticks - usual) * self._seconds <= _TOLERANCE_S:
            self._steps.append(ticks)
        elif len(self._steps) == _PACED and ticks >= _GAP * usual:
            missing = round(ticks / usual) - 1
            yield Loss(frame, f"about {missing} frames are missing: a gap of {ticks * self._seconds:.2f} s")
        else:
            self._even = False
