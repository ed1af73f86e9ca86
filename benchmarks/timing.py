"""Interleaved timing: contenders take turns, so that what slows the machine slows all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Sample:
    """Times of one contender.

    Attributes:
        seconds: One per repeat, in order.
    """

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Middle time, seconds."""
        return statistics.median(self.seconds)

    @property
    def best(self) -> float:
        """Shortest time, seconds."""
        return min(self.seconds)

    def speedup_over(self, other: Sample) -> float:
        """Return how many times shorter these are than `other`'s: the median of the ratios pair by pair."""
        return statistics.median(b / a for a, b in zip(self.seconds, other.seconds, strict=True))


def interleave(work: Mapping[str, Callable[[], object]], repeats: int, warmups: int = 1) -> dict[str, Sample]:
    """Return the times of every piece of work, run in turn `repeats` times.

    The order is turned by one place every round. Warm-up rounds are run and not counted.
    """
    names = list(work)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(warmups + repeats):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            taken = seconds_of(work[name])
            if turn >= warmups:
                seconds[name].append(taken)
    return {name: Sample(tuple(s)) for name, s in seconds.items()}


def seconds_of(work: Callable[[], object]) -> float:
    """Return the seconds that a piece of work takes, what it started on an accelerator included."""
    synchronise()
    start = time.perf_counter()
    work()
    synchronise()
    return time.perf_counter() - start


def synchronise() -> None:
    """Wait for the accelerator, if there is one in use."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
