"""How long a run may take."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Deadline:
    """A moment after which a run stops cleanly, with a state that can be resumed.

    Attributes:
        at: Seconds of `time.time`, or None for never.
    """

    at: float | None = None

    @classmethod
    def after_minutes(cls, minutes: float | None) -> Deadline:
        """Return the deadline that lies this many minutes ahead; None for never."""
        return cls(None if minutes is None else time.time() + 60 * minutes)

    def passed(self) -> bool:
        """Return whether it is time to stop."""
        return self.at is not None and time.time() >= self.at
