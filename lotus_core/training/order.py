"""Which examples a step sees: a function of seed and step alone, so that a resumed run needs no other memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

_CHOICE_STREAM = 1
_SHUFFLE_STREAM = 2
_NOISE_STREAM = 3


@dataclass(frozen=True)
class Pick:
    """The examples of one micro-step, all from one source.

    Attributes:
        source: Index of the source.
        indices: Of the examples in it.
    """

    source: int
    indices: tuple[int, ...]


class Order:
    """The examples of every micro-step of a run.

    Every micro-step draws its source by its share, as the published training does; each source is gone through in
    random order, anew every time it is exhausted.

    Args:
        sizes: Number of examples of each source.
        shares: How often each source is drawn, relative to the others.
        batch_size: Examples of a micro-step.
        seed: Of the order.
    """

    def __init__(self, sizes: Sequence[int], shares: Sequence[float], batch_size: int, seed: int) -> None:
        self._sizes = tuple(sizes)
        self._shares = np.asarray(shares, dtype=np.float64) / sum(shares)
        self._batch_size = batch_size
        self._seed = seed
        self._choices = np.zeros(0, dtype=np.int64)
        self._earlier = np.zeros(0, dtype=np.int64)
        self._shuffled: dict[int, tuple[int, np.ndarray]] = {}
        self._lock = threading.Lock()  # several threads read ahead

    def __call__(self, micro_step: int) -> Pick:
        """Return the examples of a micro-step, counted from 0."""
        with self._lock:
            self._extend(micro_step + 1)
            source = int(self._choices[micro_step])
            start = int(self._earlier[micro_step]) * self._batch_size
            return Pick(source, tuple(self._index(source, start + row) for row in range(self._batch_size)))

    def _extend(self, count: int) -> None:
        if len(self._choices) >= count:
            return
        length = 1024
        while length < count:
            length *= 2  # drawn from the start each time: a longer draw begins with the shorter one
        draws = np.random.default_rng([self._seed, _CHOICE_STREAM]).random(length)
        self._choices = np.minimum(
            np.searchsorted(self._shares.cumsum(), draws, side="right"), len(self._sizes) - 1
        )
        self._earlier = np.zeros(length, dtype=np.int64)
        for source in range(len(self._sizes)):
            here = self._choices == source
            self._earlier[here] = np.arange(here.sum())

    def _index(self, source: int, place: int) -> int:
        epoch, row = divmod(place, self._sizes[source])
        kept = self._shuffled.get(source)
        if kept is None or kept[0] != epoch:
            rng = np.random.default_rng([self._seed, _SHUFFLE_STREAM, source, epoch])
            kept = (epoch, rng.permutation(self._sizes[source]))
            self._shuffled[source] = kept
        return int(kept[1][row])


def draws(seed: int, micro_step: int, purpose: int = 0) -> torch.Generator:
    """Return the generator of a micro-step's random numbers, on the CPU: every device draws the same.

    Args:
        seed: Of the run.
        micro_step: Counted from 0.
        purpose: Different ones are independent.
    """
    words = np.random.SeedSequence([seed, _NOISE_STREAM, micro_step, purpose]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(words[0]) << 31 ^ int(words[1]))
