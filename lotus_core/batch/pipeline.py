"""Units in, committed chunks out: some threads decode, one runs the model, some encode, one writes.

The same pipeline runs in this process and in every actor of a Ray cluster.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

from .committer import ChunkDone, Committer, Finished
from .estimator import Estimate, Estimator
from .job import Job
from .manifest import Progress, Row, describe, finish_unit
from .plan import Unit
from .samples import Chunk, Picture, Sample, UnreadableImage, chunks_of, read_picture, unit_name
from .shards import encode_map
from .storage import Store
from .threads import Behind, ahead_of

_TOGETHER = 4  # images of one size in a row that the model gets at once


@dataclass(frozen=True)
class Workers:
    """How many threads do what beside the model's own.

    Attributes:
        decoders: Threads that read and decode.
        encoders: Threads that encode results.
        ahead: Images that may be decoded before the model asks for them.
    """

    decoders: int = 2
    encoders: int = 2
    ahead: int = 16


@dataclass
class Usage:
    """Where the model's thread spent its time, in seconds.

    Attributes:
        busy: In the model.
        waiting: For images to be decoded, or for results to be taken.
        images: That the model was given.
    """

    busy: float = 0.0
    waiting: float = 0.0
    images: int = 0

    @property
    def idle(self) -> float:
        """Share of the time in which the model had nothing to do, [0, 1]."""
        total = self.busy + self.waiting
        return self.waiting / total if total > 0.0 else 0.0


@dataclass(frozen=True)
class _Begun:
    """An image on its way to the model."""

    chunk: Chunk
    sample: Sample
    picture: Future[Picture]


class Pipeline:
    """Works on units and commits their chunks.

    Args:
        job: What is done.
        store: The output folder.
        estimator: The model.
        workers: Threads.

    Attributes:
        usage: Where the model's thread spent its time so far.
    """

    def __init__(self, job: Job, store: Store, estimator: Estimator, workers: Workers | None = None) -> None:
        self._job = job
        self._store = store
        self._estimator = estimator
        self._workers = workers or Workers()
        self.usage = Usage()

    def run(self, units: Iterable[Unit]) -> Iterator[ChunkDone]:
        """Yield every chunk when it is committed; chunks and shards that are done already are passed over.

        Args:
            units: What to work on.

        Raises:
            NoSpaceError: The disk is full; what was committed before is whole.
            StorageError: Results cannot be written.
            MissingExtraError: A shard, without the package webdataset.
        """
        ahead = self._workers.ahead
        with (
            ThreadPoolExecutor(self._workers.decoders, "lotus-decode") as decoders,
            ThreadPoolExecutor(self._workers.encoders, "lotus-encode") as encoders,
            Committer(self._store, self._job.format, self._estimator.kind) as committer,
            Behind(committer.add, ahead) as writer,
            closing(ahead_of(self._begin(units, decoders), ahead)) as begun,
        ):
            mark = time.perf_counter()
            for batch in _alike(begun):
                self.usage.waiting += time.perf_counter() - mark
                estimates = self._estimate(batch)
                mark = time.perf_counter()
                for item, estimate in zip(batch, estimates, strict=True):
                    writer.put(self._finished(item, estimate, encoders))
                while not committer.done.empty():
                    yield committer.done.get()
            writer.finish()
            while not committer.done.empty():
                yield committer.done.get()

    def _begin(self, units: Iterable[Unit], decoders: Executor) -> Iterator[_Begun]:
        """Yield the images that are not done yet, their decoding under way."""
        progress = Progress.of(self._store)
        for unit in units:
            if unit_name(unit) in progress.units:
                continue
            for chunk in chunks_of(unit, self._job.chunk):
                if chunk.name not in progress.chunks:
                    for sample in chunk.samples:
                        yield _Begun(chunk, sample, decoders.submit(read_picture, sample))
                elif chunk.closes is not None:
                    finish_unit(self._store, chunk.closes)

    def _estimate(self, batch: list[_Begun]) -> list[Estimate | None]:
        """Return what the model makes of images of one size; None for one that could not be read."""
        if batch[0].picture.exception() is not None:
            return [None] * len(batch)
        start = time.perf_counter()
        estimates = self._estimator.run([item.picture.result().pixels for item in batch])
        self.usage.busy += time.perf_counter() - start
        self.usage.images += len(batch)
        return list(estimates)

    def _finished(self, item: _Begun, estimate: Estimate | None, encoders: Executor) -> Finished:
        encoded = None
        if estimate is not None and estimate.values is not None:
            encoded = encoders.submit(encode_map, estimate.values, self._estimator.kind, self._job)
        return Finished(item.chunk, self._row(item, estimate), encoded)

    def _row(self, item: _Begun, estimate: Estimate | None) -> Row:
        error = item.picture.exception() if estimate is None else estimate.error
        digest, height, width = None, None, None
        if isinstance(error, UnreadableImage):
            digest, error = error.hash, error.cause
        elif estimate is not None:
            picture = item.picture.result()
            digest, (height, width) = picture.hash, picture.pixels.shape[1:3]
        return Row(
            input=item.sample.input,
            key=item.sample.key,
            chunk=item.chunk.name,
            hash=digest,
            width=width,
            height=height,
            output=None,
            kind=self._estimator.kind,
            model=self._estimator.model_name,
            options=self._estimator.options,
            ms=None if estimate is None else round(estimate.ms, 3),
            error=None if error is None else describe(error),
        )


def _alike(items: Iterable[_Begun]) -> Iterator[list[_Begun]]:
    """Yield images of one size and chunk that follow each other, a few at once; unreadable ones alone."""
    batch: list[_Begun] = []
    shape: tuple[int, ...] | None = None
    for item in items:
        failed = item.picture.exception() is not None  # waits until it is decoded
        own = None if failed else tuple(item.picture.result().pixels.shape)
        full = len(batch) == _TOGETHER
        if batch and (full or own is None or own != shape or item.chunk is not batch[0].chunk):
            yield batch
            batch = []
        batch, shape = [*batch, item], own
        if own is None:
            yield batch
            batch = []
    if batch:
        yield batch
