"""How long to go on asking: a bounded number of attempts, with waits that a cancel can end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from .hub_errors import Failure, explain

_log = logging.getLogger(__name__)

T = TypeVar("T")

Progress = Callable[[int, int], None]
"""Told (bytes done, bytes in all), several times a second, also while waiting. What it raises ends the download."""

TICK_S: Final = 0.2

MEANINGFUL_BYTES: Final = 2**16
"""How much further a file must get for an attempt to count as none that failed."""


@dataclass(frozen=True)
class Retries:
    """When to give up.

    Attributes:
        attempts: Requests in a row that may fail without a byte coming in.
        unreachable_attempts: The same, where no connection comes about at all: a user without network waits for it.
        first_wait_s: Seconds before the second attempt; doubled for each further one.
        longest_wait_s: Longest wait between two attempts; a server that asks for more is not waited for.
    """

    attempts: int = 5
    unreachable_attempts: int = 2
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0


class Patience:
    """Counts failed attempts, waits between them, and raises when there were enough."""

    def __init__(self, retries: Retries, tick: Callable[[], None]) -> None:
        self._retries = retries
        self._tick = tick
        self._failed = 0
        self._furthest = 0

    def came(self, position: int) -> None:
        """Count failures anew if a file got further than ever; a server that begins at 0 each time never does."""
        if position >= self._furthest + MEANINGFUL_BYTES:
            self._furthest = position
            self._failed = 0

    def after(self, failure: Failure, cause: BaseException | None) -> None:
        """Wait before the next attempt.

        Args:
            failure: What went wrong.
            cause: What it was concluded from.

        Raises:
            LotusError: The failure is final, or it was one too many.
        """
        self._failed += 1
        limit = self._retries.attempts
        if failure.kind == "unreachable":
            limit = min(limit, self._retries.unreachable_attempts)
        wait = self._retries.first_wait_s * 2.0 ** (self._failed - 1)
        wait = min(wait, self._retries.longest_wait_s) if failure.wait_s is None else failure.wait_s
        if failure.kind == "final" or self._failed >= limit or wait > self._retries.longest_wait_s:
            raise failure.error from cause
        _log.info("%s Trying again in %.0f s.", failure.error, wait)
        self._sleep(wait)

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._tick()
            time.sleep(min(TICK_S, left))


def persist(step: Callable[[], T], what: str, repository: str, patience: Patience) -> T:
    """Return what a request returns, asking again while its failure may pass.

    Raises:
        DownloadError: It failed for good.
    """
    while True:
        try:
            return step()
        except Exception as error:  # told apart by `explain`, and raised again if unknown
            failure = explain(error, what, repository)
            if failure is None:
                raise
            cause = error
        patience.after(failure, cause)
