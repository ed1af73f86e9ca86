"""The same job on a Ray cluster: Ray Data hands units to actors, scales them, and repeats what a lost worker had.

There is no scheduler here. A unit is one row of a dataset; an actor per CPU or GPU slot loads the model once and runs
the local pipeline on every unit it is given. Ray starts a lost actor again and repeats its unit; what that
unit had committed is passed over, so that nothing is lost and nothing appears twice. Needs the extra "ray".
"""

from __future__ import annotations

import importlib
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ..errors import LotusError, MissingExtraError, NoSpaceError, OptionError, StorageError
from .committer import ChunkDone
from .job import Job
from .manifest import FOLDER as MANIFEST
from .manifest import Progress
from .pipeline import Pipeline, Workers
from .plan import Unit
from .run import OnChunk, Summary, finish
from .samples import unit_name
from .shards import FOLDER as SHARDS
from .storage import Store

_MAX_BLOCKS: Final = 20_000  # blocks of a dataset that Ray's driver handles with ease


@dataclass(frozen=True)
class Cluster:
    """Where a job runs.

    Attributes:
        address: Of a Ray cluster ("auto", "ray://host:10001"); None starts one on this machine.
        min_workers: Actors that are kept.
        max_workers: Actors up to which Ray scales while units wait.
        cpus_per_worker: CPU slots of an actor: its model's and its decoders'.
        gpus_per_worker: GPU slots of an actor; may be a fraction.
        env: Environment of the actors.

    Raises:
        OptionError: Numbers that make no sense.
    """

    address: str | None = None
    min_workers: int = 1
    max_workers: int = 1
    cpus_per_worker: float = 1.0
    gpus_per_worker: float = 0.0
    env: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.min_workers <= self.max_workers:
            expected = "at least 1, and no more at least than at most"
            raise OptionError("--workers", f"{self.min_workers}:{self.max_workers}", expected)
        if self.cpus_per_worker < 0 or self.gpus_per_worker < 0:
            raise OptionError("slots per worker", (self.cpus_per_worker, self.gpus_per_worker), "at least 0")


class UnitWorker:
    """An actor: loads the model of a job once, and works on units.

    Args:
        job: `Job.to_json`'s values.
        url: The output folder.
        decoders: Threads that decode.
    """

    def __init__(self, job: Mapping[str, Any], url: str, decoders: int) -> None:
        from .estimator import Estimator

        self._job = Job.from_json(job)
        self._store = Store(url)
        self._workers = Workers(decoders=decoders, encoders=decoders)
        self._estimator = Estimator(self._job)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Work on the units of a batch and return a row for every chunk that was committed.

        A disk that is full is no fault of the worker, to be tried again on another: it comes back as a row.
        """
        units = [Unit.from_json(str(line)) for line in batch["unit"]]
        rows: list[tuple[str, int, int, str]] = []
        pipeline = Pipeline(self._job, self._store, self._estimator, self._workers)
        try:
            for chunk in pipeline.run(units):
                rows.append((chunk.name, chunk.done, chunk.failed, ""))
        except LotusError as error:
            rows.append((type(error).__name__, 0, 0, str(error)))
        if not rows:  # all of it had been committed; Ray wants a row to know the columns by
            rows.append(("", 0, 0, ""))
        names, done, failed, stopped = zip(*rows, strict=True)
        return {"chunk": list(names), "done": list(done), "failed": list(failed), "stopped": list(stopped)}


def run_ray(
    units: Sequence[Unit],
    store: Store,
    job: Job,
    cluster: Cluster,
    *,
    on_chunk: OnChunk | None = None,
) -> tuple[Summary, list[dict[str, Any]]]:
    """Work on what is left of a job on a Ray cluster; return how it stands and the rows that failed.

    Args:
        units: Of `begin`; their inputs and the output folder must be the same place for every worker.
        store: The output folder.
        job: What is done; every worker loads its model.
        cluster: Where.
        on_chunk: Called with every chunk that is committed.

    Raises:
        MissingExtraError: Ray is not installed.
        NoSpaceError: The disk is full; the same call goes on when there is space.
        StorageError: Results cannot be written.
    """
    ray, data = _require_ray()
    left = _left(units, Progress.of(store))
    start, new = time.perf_counter(), 0
    if left:
        started = not ray.is_initialized()
        if started:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anyone unasked
            ray.init(**_init_arguments(cluster))
        try:
            for row in _dataset(data, left, store, job, cluster).iter_rows():
                if row["stopped"]:
                    raise _stopped(row)
                done = ChunkDone(row["chunk"], row["done"], row["failed"])
                new += done.done + done.failed
                if on_chunk is not None and done.name:
                    on_chunk(done)
        finally:
            if started:
                ray.shutdown()
    seconds = time.perf_counter() - start
    store.sweep(MANIFEST, SHARDS)
    return finish(store, new, seconds, None, "ray", cluster.max_workers)


def _init_arguments(cluster: Cluster) -> dict[str, Any]:
    arguments: dict[str, Any] = {"address": cluster.address, "log_to_driver": False}
    if cluster.env:
        arguments["runtime_env"] = {"env_vars": dict(cluster.env)}
    if cluster.address is None:
        # A slot more than the actors take: Ray Data's own tasks would wait for one for ever.
        slots = cluster.max_workers * cluster.cpus_per_worker
        arguments |= {"num_cpus": math.ceil(slots) + 1, "include_dashboard": False}
    return arguments


def _left(units: Sequence[Unit], progress: Progress) -> list[Unit]:
    """Return the units that are not wholly done."""
    return [
        unit
        for unit in units
        if unit_name(unit) not in progress.units
        and not (unit.source == "files" and f"{unit_name(unit)}-0000" in progress.chunks)
    ]


def _dataset(data: Any, units: Sequence[Unit], store: Store, job: Job, cluster: Cluster) -> Any:
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    rows = [{"unit": unit.to_json()} for unit in units]
    pool = data.ActorPoolStrategy(min_size=cluster.min_workers, max_size=cluster.max_workers)
    slots: dict[str, float] = {"num_cpus": cluster.cpus_per_worker}
    if cluster.gpus_per_worker:
        slots["num_gpus"] = cluster.gpus_per_worker
    return data.from_items(rows, override_num_blocks=min(len(rows), _MAX_BLOCKS)).map_batches(
        UnitWorker,
        fn_constructor_kwargs={
            "job": job.to_json(),
            "url": store.url,
            "decoders": max(1, round(cluster.cpus_per_worker)),
        },
        batch_size=1,
        compute=pool,
        **slots,
    )


def _stopped(row: Mapping[str, Any]) -> LotusError:
    """Return the error that stopped a worker, as an error of this process."""
    kind: Callable[[str], LotusError] = NoSpaceError if row["chunk"] == "NoSpaceError" else StorageError
    return kind(f"a worker stopped: {row['stopped']}")


def _require_ray() -> tuple[Any, Any]:
    try:
        return importlib.import_module("ray"), importlib.import_module("ray.data")
    except ImportError as error:
        raise MissingExtraError("ray", "ray", "the engine ray") from error
