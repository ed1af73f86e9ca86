"""Which examples make each batch when several data sets are mixed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from ...errors import OptionError

HYPERSIM_SHARE: Final = 0.9
"""Chance that a batch is of Hypersim, else of Virtual KITTI. Source: Lotus, section 5.1, after Marigold."""


@dataclass(frozen=True)
class BatchPlan:
    """One batch.

    Attributes:
        step: Number of the batch from the start of the run.
        dataset: Which data set all of it is from.
        indices: Its examples.
    """

    step: int
    dataset: int
    indices: tuple[int, ...]


class MixedBatches:
    """Endless batches, each wholly of one data set drawn by chance; each data set is shuffled anew when used up.

    The batch of a step depends on the seed and the step alone, so that a run that goes on from a step sees what it
    would have seen.

    Args:
        lengths: Number of examples of each data set.
        shares: Chance of each data set; they sum to 1.
        batch_size: Examples a batch, at most the smallest data set that has a share.
        seed: Of the draws.

    Raises:
        OptionError: Shares that do not sum to 1 or do not fit the data sets, or a batch that is too large.
    """

    def __init__(self, lengths: Sequence[int], shares: Sequence[float], batch_size: int, seed: int) -> None:
        fits = len(lengths) == len(shares) and all(share >= 0 for share in shares)
        if not fits or abs(sum(shares) - 1.0) > 1e-9:
            raise OptionError("shares", list(shares), f"{len(lengths)} numbers of at least 0 that sum to 1")
        smallest = min(length for length, share in zip(lengths, shares, strict=True) if share > 0)
        if not 1 <= batch_size <= smallest:
            raise OptionError("batch_size", batch_size, f"1 to {smallest}, the smallest data set")
        self._lengths = tuple(lengths)
        self._shares = np.asarray(shares, dtype=np.float64)
        self._batch_size = batch_size
        self._seed = seed

    def batches(self, start: int = 0) -> Iterator[BatchPlan]:
        """Yield the batches from a step on.

        Args:
            start: First step; those before it are drawn but not made.
        """
        chooser = np.random.default_rng([self._seed, 0])
        used = [0] * len(self._lengths)
        orders: dict[int, tuple[int, np.ndarray]] = {}
        step = 0
        while True:
            chosen = int(np.searchsorted(np.cumsum(self._shares), chooser.random(), side="right"))
            chosen = min(chosen, len(self._lengths) - 1)  # rounding may leave the sum of the shares below 1
            if step >= start:
                yield BatchPlan(step, chosen, self._indices(chosen, used[chosen], orders))
            used[chosen] += 1
            step += 1

    def _indices(self, dataset: int, nth: int, orders: dict[int, tuple[int, np.ndarray]]) -> tuple[int, ...]:
        """Return the examples of the nth batch of a data set; what does not fill a batch is left to the next order."""
        per_pass = self._lengths[dataset] // self._batch_size
        turn, place = divmod(nth, per_pass)
        if dataset not in orders or orders[dataset][0] != turn:
            rng = np.random.default_rng([self._seed, 1, dataset, turn])
            orders[dataset] = (turn, rng.permutation(self._lengths[dataset]))
        first = place * self._batch_size
        return tuple(int(i) for i in orders[dataset][1][first : first + self._batch_size])
