"""What became of every image: one line of JSON each, committed with the chunk that it belongs to.

A chunk is done when its part of the manifest is in place; its results were in place before. A run that is killed in
between does that chunk again, over what was there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from ..errors import LotusError
from .storage import Store

FOLDER: Final = "manifest"
MERGED: Final = "manifest.jsonl"
SUMMARY: Final = "summary.json"


@dataclass(frozen=True)
class Row:
    """One image.

    Attributes:
        input: Path or URL; a shard's image is ``shard::key``.
        key: Name of its result, unique in its chunk.
        chunk: The chunk that holds it.
        hash: "sha256:..." of the input's bytes, or None where they could not be read.
        width: Pixels, or None.
        height: Pixels, or None.
        output: Where the result is, relative to the output folder: a path, or an fsspec chain into an archive.
        kind: "depth", "disparity" or "normal".
        model: Name of the model.
        options: How it was run.
        ms: Milliseconds of the model for this image, or None.
        error: Type and message of what went wrong, or None.
    """

    input: str
    key: str
    chunk: str
    hash: str | None
    width: int | None
    height: int | None
    output: str | None
    kind: str
    model: str
    options: dict[str, Any]
    ms: float | None
    error: dict[str, str] | None


def describe(error: BaseException) -> dict[str, str]:
    """Return an error as a row holds it."""
    message = str(error) if isinstance(error, LotusError) else f"unexpected {type(error).__name__}: {error}"
    return {"type": type(error).__name__, "message": message}


def commit(store: Store, chunk: str, rows: Sequence[Row]) -> None:
    """Put a chunk's part of the manifest in place: from now on the chunk is done.

    Raises:
        StorageError: The disk is full.
    """
    store.write(f"{FOLDER}/{chunk}.jsonl", "".join(json.dumps(asdict(row)) + "\n" for row in rows).encode())


def finish_unit(store: Store, unit: str) -> None:
    """Note that all chunks of a shard are done, so that it need not be opened again."""
    store.write(f"{FOLDER}/{unit}.done", b"")


@dataclass(frozen=True)
class Progress:
    """What a folder says is done.

    Attributes:
        chunks: Names of the chunks whose part of the manifest is in place.
        units: Names of the shards of which nothing is left.
    """

    chunks: frozenset[str]
    units: frozenset[str]

    @classmethod
    def of(cls, store: Store) -> Progress:
        """Return where a folder stands."""
        names = store.names(FOLDER)
        return cls(
            frozenset(name.removesuffix(".jsonl") for name in names if name.endswith(".jsonl")),
            frozenset(name.removesuffix(".done") for name in names if name.endswith(".done")),
        )


def rows_of(store: Store, chunk: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a chunk that is done."""
    for line in store.read(f"{FOLDER}/{chunk}.jsonl").decode().splitlines():
        yield json.loads(line)


def merge(store: Store) -> tuple[int, list[dict[str, Any]]]:
    """Write one manifest of all parts, in the order of the plan, and return the number of rows and the failed ones.

    Raises:
        StorageError: The disk is full.
    """
    count, failed = 0, []
    with store.writing(MERGED) as file:
        for chunk in sorted(Progress.of(store).chunks):
            for row in rows_of(store, chunk):
                file.write((json.dumps(row) + "\n").encode())
                count += 1
                if row["error"] is not None:
                    failed.append(row)
    return count, failed
