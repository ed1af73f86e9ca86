"""Files of results: one archive or folder per chunk."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol

import numpy as np
from torch import Tensor

from ..io.png import encode_png
from ..rendering.normal import normal_rgb
from .job import BatchFormat, Job
from .samples import require_webdataset
from .storage import Store

FOLDER = "shards"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that ZIP knows: equal results make equal files


@dataclass(frozen=True)
class Encoded:
    """A result as it is stored.

    Attributes:
        data: Bytes of an NPY or a 16-bit PNG.
        notes: What is said beside it in a WebDataset sample.
    """

    data: bytes
    notes: Mapping[str, Any] = field(default_factory=dict)


def encode_map(values: Tensor, kind: str, job: Job) -> bytes:
    """Return a map as the bytes of a file.

    Args:
        values: (H, W) float32 in [0, 1], or (H, W, 3) OpenCV unit vectors.
        kind: "depth", "disparity" or "normal".
        job: Says the format, and what the colours of normals mean.

    Returns:
        NPY of float32 for "npz"; else a 16-bit PNG, ``round(65535 * x)``.
    """
    if job.format == "npz":
        buffer = io.BytesIO()
        np.save(buffer, values.numpy(), allow_pickle=False)
        return buffer.getvalue()
    levels = normal_rgb(values[None], job.convention)[0] if kind == "normal" else values
    array = np.rint(np.clip(levels.double().numpy(), 0.0, 1.0) * 65535.0).astype(">u2")
    return encode_png(array, {"Lotus kind": kind})


class ShardWriter(Protocol):
    """Takes the results of one chunk."""

    def add(self, key: str, encoded: Encoded) -> str:
        """Store a result and return where it is: a path, or an fsspec chain, relative to the output folder."""
        ...


@contextmanager
def open_shard(store: Store, chunk: str, form: BatchFormat, kind: str) -> Iterator[ShardWriter]:
    """Yield a writer of one chunk's results; an archive appears when the block ends without an error.

    Args:
        store: The output folder.
        chunk: Name of the chunk.
        form: As `Job.format`.
        kind: What the results are.

    Raises:
        MissingExtraError: "webdataset" without the package.
        NoSpaceError: The disk is full.
    """
    if form == "png16":
        yield _Folder(store, f"{FOLDER}/{chunk}")
    elif form == "npz":
        name = f"{FOLDER}/{chunk}.npz"
        with store.writing(name) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            yield _Zip(archive, name)
    else:
        name = f"{FOLDER}/{chunk}.tar"
        with store.writing(name) as file, _tar_writer(file) as archive:
            yield _Tar(archive, name, kind)


@dataclass(frozen=True)
class _Folder:
    store: Store
    name: str

    def add(self, key: str, encoded: Encoded) -> str:
        path = f"{self.name}/{key}.png"
        self.store.write(path, encoded.data)
        return path


@dataclass(frozen=True)
class _Zip:
    archive: zipfile.ZipFile
    name: str

    def add(self, key: str, encoded: Encoded) -> str:
        self.archive.writestr(zipfile.ZipInfo(f"{key}.npy", _EPOCH), encoded.data)
        return f"zip://{key}.npy::{self.name}"


@dataclass(frozen=True)
class _Tar:
    archive: Any
    name: str
    kind: str

    def add(self, key: str, encoded: Encoded) -> str:
        import json

        member = f"{self.kind}.png"
        notes = json.dumps(dict(encoded.notes)).encode()
        self.archive.write({"__key__": key, member: encoded.data, "json": notes})
        return f"tar://{key}.{member}::{self.name}"


def _tar_writer(file: BinaryIO) -> Any:
    writer = require_webdataset("webdataset.writer")
    return writer.TarWriter(file, user="lotus", group="lotus", encoder=False, mtime=0)
