"""Results into shards, and shards into the manifest."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from queue import SimpleQueue

from .job import BatchFormat
from .manifest import Row, commit, describe, finish_unit
from .samples import Chunk
from .shards import Encoded, ShardWriter, open_shard
from .storage import Store


@dataclass(frozen=True)
class Finished:
    """An image that the model is done with.

    Attributes:
        chunk: Where it belongs.
        row: Its row, still without its output.
        encoded: The bytes of its result, or None where there is none.
    """

    chunk: Chunk
    row: Row
    encoded: Future[bytes] | None


@dataclass(frozen=True)
class ChunkDone:
    """A chunk that is committed.

    Attributes:
        name: Of the chunk.
        done: Images with a result.
        failed: Images without one.
    """

    name: str
    done: int
    failed: int


class Committer(AbstractContextManager["Committer"]):
    """Takes images in the order of their chunks, and commits every chunk with its last image.

    Args:
        store: The output folder.
        form: As `Job.format`.
        kind: What the results are.

    Attributes:
        done: The chunks that were committed, to be taken by another thread.
    """

    def __init__(self, store: Store, form: BatchFormat, kind: str) -> None:
        self._store = store
        self._form: BatchFormat = form
        self._kind = kind
        self._open: ExitStack | None = None
        self._shard: ShardWriter | None = None
        self._rows: list[Row] = []
        self.done: SimpleQueue[ChunkDone] = SimpleQueue()

    def __exit__(self, *exc: object) -> None:
        """Drop a chunk that was not finished: nothing of it becomes visible."""
        if self._open is not None:
            dropped = _DroppedError("the chunk was not finished")
            self._open.__exit__(type(dropped), dropped, None)

    def add(self, item: Finished) -> None:
        """Take the next image.

        Raises:
            NoSpaceError: The disk is full.
            StorageError: The shard cannot be written.
        """
        if self._shard is None:
            self._open = ExitStack()
            shard = open_shard(self._store, item.chunk.name, self._form, self._kind)
            self._shard = self._open.enter_context(shard)
        self._rows.append(self._stored(item))
        if len(self._rows) == len(item.chunk.samples):
            self._commit(item.chunk)

    def _stored(self, item: Finished) -> Row:
        if item.encoded is None or self._shard is None:
            return item.row
        try:
            data = item.encoded.result()
        except (ValueError, RuntimeError) as error:
            return replace(item.row, error=describe(error))
        row = item.row
        notes = {"input": row.input, "hash": row.hash, "kind": row.kind, "model": row.model}
        return replace(row, output=self._shard.add(row.key, Encoded(data, notes)))

    def _commit(self, chunk: Chunk) -> None:
        stack, rows = self._open, self._rows
        self._open, self._shard, self._rows = None, None, []
        if stack is not None:
            stack.close()  # the shard is in place, and now the manifest says so
        commit(self._store, chunk.name, rows)
        if chunk.closes is not None:
            finish_unit(self._store, chunk.closes)
        failed = sum(row.error is not None for row in rows)
        self.done.put(ChunkDone(chunk.name, len(rows) - failed, failed))


class _DroppedError(Exception):
    """Tells an open shard that it is not to appear."""
