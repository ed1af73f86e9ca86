"""Batches in the order of a run, read ahead by threads; what cannot be read is skipped, counted and named."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from ..errors import CorruptSampleError
from .order import Order

_log = logging.getLogger("lotus_geometry")

Item = TypeVar("Item")
ItemOut = TypeVar("ItemOut", covariant=True)
BatchT = TypeVar("BatchT")


class Indexed(Protocol[ItemOut]):
    """Examples by number."""

    def __len__(self) -> int:
        """Return the number of examples."""
        ...

    def __getitem__(self, index: int) -> ItemOut:
        """Return one example, or raise CorruptSampleError."""
        ...


@dataclass(frozen=True)
class Fed(Generic[BatchT]):
    """One process's part of a micro-step.

    Attributes:
        batch: What `collate` made of its examples.
        skipped: Why examples were left out; others stand in their place.
    """

    batch: BatchT
    skipped: tuple[CorruptSampleError, ...]


class Feed(Generic[Item, BatchT]):
    """The batches of a run, from any micro-step on.

    Args:
        sources: Where examples are.
        order: Which ones a micro-step takes.
        collate: Makes a batch of examples; also takes the micro-step and the rank's offset in the batch.
        rank: Number of this process.
        processes: How many share each batch.
        workers: Threads that read ahead.
    """

    def __init__(
        self,
        sources: Sequence[Indexed[Item]],
        order: Order,
        collate: Callable[[Sequence[Item], int, int], BatchT],
        *,
        rank: int = 0,
        processes: int = 1,
        workers: int = 1,
    ) -> None:
        self._sources = sources
        self._order = order
        self._collate = collate
        self._rank = rank
        self._processes = processes
        self._workers = workers

    def at(self, micro_step: int) -> Fed[BatchT]:
        """Return this process's part of a micro-step.

        Raises:
            CorruptSampleError: Nothing of a source can be read.
        """
        pick = self._order(micro_step)
        share = len(pick.indices) // self._processes
        first = self._rank * share
        source = self._sources[pick.source]
        skipped: list[CorruptSampleError] = []
        items = [readable(source, index, skipped) for index in pick.indices[first : first + share]]
        for error in skipped:
            _log.warning("skipped: %s", error)
        return Fed(self._collate(items, micro_step, first), tuple(skipped))

    def from_step(self, micro_step: int) -> Iterator[Fed[BatchT]]:
        """Yield one micro-step after the other, read ahead."""
        ahead: deque[Future[Fed[BatchT]]] = deque()
        with ThreadPoolExecutor(self._workers) as pool:
            try:
                while True:
                    while len(ahead) < self._workers + 1:
                        ahead.append(pool.submit(self.at, micro_step))
                        micro_step += 1
                    yield ahead.popleft().result()
            finally:
                for future in ahead:
                    future.cancel()


_TRIES = 16


def readable(source: Indexed[Item], index: int, skipped: list[CorruptSampleError]) -> Item:
    """Return an example, or the next one after it that can be read.

    Args:
        source: Where it is.
        index: Its number.
        skipped: Takes the errors of those that cannot be read.

    Raises:
        CorruptSampleError: 16 in a row cannot be read.
    """
    for step in range(_TRIES):
        try:
            return source[(index + step) % len(source)]
        except CorruptSampleError as error:
            skipped.append(error)
    raise CorruptSampleError(
        f"{_TRIES} examples in a row cannot be read",
        path=skipped[-1].path,
        found=skipped[-1].problem,
        remedy="check the data set's folder",
    )
