"""A whole job on one machine, and how it ended."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .committer import ChunkDone
from .estimator import Estimator
from .job import Job, has_job, open_job
from .manifest import FOLDER as MANIFEST
from .manifest import SUMMARY, merge
from .pipeline import Pipeline, Workers
from .plan import Unit, plan_units
from .samples import require_webdataset
from .shards import FOLDER as SHARDS
from .storage import Store

OnChunk = Callable[[ChunkDone], None]
"""Called with every chunk when it is committed."""


@dataclass(frozen=True)
class Summary:
    """How a job stands after a run.

    Attributes:
        images: Rows of the manifest.
        failed: Those without a result.
        new: Images that this run worked on.
        seconds: That this run took, the loading of the model not counted.
        idle: Share of the time in which the model had nothing to do, [0, 1]; None where a cluster ran it.
        engine: "local" or "ray".
        workers: Processes that ran a model.
    """

    images: int
    failed: int
    new: int
    seconds: float
    idle: float | None
    engine: str
    workers: int

    @property
    def images_per_second(self) -> float:
        """Images of this run per second."""
        return self.new / self.seconds if self.seconds > 0.0 else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON values, the images per second to a thousandth."""
        return {**asdict(self), "images_per_second": round(self.images_per_second, 3)}


def begin(spec: str, store: Store, job: Job) -> list[Unit]:
    """Return the units of a job: those planned before, if it was begun before, else a new plan.

    Raises:
        ImageError: Nothing to work on.
        OptionError: The folder holds another job.
        StorageError: The input cannot be listed, or the folder not written.
        MissingExtraError: Shards are read or written, and the package webdataset is not installed.
    """
    planned = None if has_job(store) else plan_units(spec, job.chunk)
    units = open_job(store, job, planned, spec)
    if job.format == "webdataset" or any(unit.source == "tar" for unit in units):
        require_webdataset("webdataset")  # now, rather than after the model was loaded
    return units


def run_local(
    units: Sequence[Unit],
    store: Store,
    job: Job,
    estimator: Estimator,
    *,
    workers: Workers | None = None,
    on_chunk: OnChunk | None = None,
) -> tuple[Summary, list[dict[str, Any]]]:
    """Work on what is left of a job in this process; return how it stands and the rows that failed.

    Args:
        units: Of `begin`.
        store: The output folder.
        job: What is done.
        estimator: The model.
        workers: Threads.
        on_chunk: Called with every chunk that is committed.

    Raises:
        NoSpaceError: The disk is full; the same call goes on when there is space.
        StorageError: Results cannot be written.
    """
    store.sweep(MANIFEST, SHARDS)
    pipeline = Pipeline(job, store, estimator, workers)
    start, new = time.perf_counter(), 0
    for chunk in pipeline.run(units):
        new += chunk.done + chunk.failed
        if on_chunk is not None:
            on_chunk(chunk)
    seconds = time.perf_counter() - start
    return finish(store, new, seconds, pipeline.usage.idle, "local", 1)


def finish(
    store: Store, new: int, seconds: float, idle: float | None, engine: str, workers: int
) -> tuple[Summary, list[dict[str, Any]]]:
    """Write the merged manifest and the summary; return the summary and the rows that failed."""
    images, failed = merge(store)
    rounded = None if idle is None else round(idle, 4)
    summary = Summary(images, len(failed), new, round(seconds, 3), rounded, engine, workers)
    store.write(SUMMARY, (json.dumps(summary.to_json(), indent=2) + "\n").encode())
    return summary, failed
