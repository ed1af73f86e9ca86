"""The images of a unit, in chunks: from files, or from a WebDataset shard as it streams by."""

from __future__ import annotations

import hashlib
import importlib
import itertools
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from torch import Tensor

from ..errors import ImageError, MissingExtraError
from ..io.images import IMAGE_SUFFIXES, decode_image
from .plan import Unit
from .storage import reading

_UNSAFE = re.compile(r"[^\w\-]+")


@dataclass(frozen=True)
class Sample:
    """One image that is still to be read.

    Attributes:
        input: Path or URL; a shard's image is ``shard::key``.
        key: Name of its result, unique in its chunk and without a dot.
        read: Returns the bytes of the image's file; it may raise.
    """

    input: str
    key: str
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Chunk:
    """Images that are committed together.

    Attributes:
        name: Of its files: unit and part.
        samples: The images, at least one. A shard's are in memory, as the file holds them.
        closes: Name of the shard's unit where the unit ends with this chunk, or None.
    """

    name: str
    samples: tuple[Sample, ...]
    closes: str | None = None


@dataclass(frozen=True)
class Picture:
    """One image that was read.

    Attributes:
        pixels: (1, H, W, 3) float32 RGB in [0, 1].
        hash: "sha256:..." of the file's bytes.
    """

    pixels: Tensor
    hash: str


class UnreadableImage(Exception):  # noqa: N818 (carries a cause to its row; nobody catches it by name)
    """An image that could not be read, with the hash of its bytes where there were any.

    Attributes:
        cause: Why.
        hash: "sha256:..." or None.
    """

    def __init__(self, cause: Exception, digest: str | None) -> None:
        self.cause = cause
        self.hash = digest
        super().__init__(str(cause))


def unit_name(unit: Unit) -> str:
    """Return the name of a unit's files: ``00000007``."""
    return f"{unit.number:08d}"


def chunks_of(unit: Unit, size: int) -> Iterator[Chunk]:
    """Yield the chunks of a unit, in order; a unit of files is one.

    Args:
        unit: The unit.
        size: Images of a chunk of a shard.

    Raises:
        MissingExtraError: A shard, without the package webdataset.
    """
    if unit.source == "files":
        samples = tuple(_file(index, name) for index, name in enumerate(unit.inputs))
        yield Chunk(f"{unit_name(unit)}-0000", samples)
        return
    samples = _shard(unit.inputs[0])
    ahead = list(itertools.islice(samples, size))
    for part in itertools.count():
        now, ahead = tuple(ahead), list(itertools.islice(samples, size))
        yield Chunk(f"{unit_name(unit)}-{part:04d}", now, None if ahead else unit_name(unit))
        if not ahead:
            return


def read_picture(sample: Sample) -> Picture:
    """Return an image, read and decoded.

    Raises:
        UnreadableImage: It cannot be read or decoded.
    """
    digest = None
    try:
        data = sample.read()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        return Picture(decode_image(data, sample.input).pixels, digest)
    except (ImageError, OSError, ValueError) as error:
        raise UnreadableImage(error, digest) from error


def require_webdataset(module: str) -> Any:
    """Return a module of the package webdataset.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError("webdataset", "batch", "WebDataset shards") from error


def _file(index: int, name: str) -> Sample:
    def read() -> bytes:
        try:
            with reading(name) as file:
                return file.read()
        except FileNotFoundError as error:
            raise ImageError(f"there is no file {name}", remedy="check its name") from error

    stem = _UNSAFE.sub("_", PurePosixPath(name).stem) or "image"  # a dot ends a WebDataset key
    return Sample(name, f"{index:05d}-{stem[:100]}", read)


def _shard(url: str) -> Iterator[Sample]:
    """Yield the samples of a shard; where it is missing or damaged, one more that says so when it is read."""
    tariterators = require_webdataset("webdataset.tariterators")
    seen: dict[str, int] = {}
    damage: list[Exception] = []
    for fields in tariterators.group_by_keys(_members(url, damage)):
        yield _member(url, fields, seen)
    if not damage and not seen:
        damage.append(ValueError("no sample in it"))
    if damage:
        found = str(damage[0].args[0] if damage[0].args else damage[0])
        broken = ImageError(
            f"the shard {url} is missing, empty or damaged from here on",
            found=found.split(" @ ")[0],  # webdataset adds its stream
            remedy="copy or download it again",
        )
        yield Sample(url, "damaged", partial(_refuse, broken))


def _members(url: str, damage: list[Exception]) -> Iterator[dict[str, Any]]:
    """Yield the members of a shard up to where it is damaged: what came before is whole, and is told so."""
    tariterators = require_webdataset("webdataset.tariterators")
    try:
        with reading(url) as file:
            # The stream is opened here: webdataset's own opener would run what a name says after "pipe:".
            yield from tariterators.tar_file_expander(iter([{"url": url, "stream": file}]))
    except (tarfile.TarError, OSError, ValueError) as error:
        damage.append(error)


def _refuse(error: ImageError) -> bytes:
    raise error


def _member(url: str, fields: dict[str, Any], seen: dict[str, int]) -> Sample:
    # A result never leaves its chunk's folder, and never takes another's name.
    key = "/".join(part for part in str(fields["__key__"]).split("/") if part not in ("", ".", ".."))
    seen[key] = seen.get(key, 0) + 1
    name = key if seen[key] == 1 else f"{key}_{seen[key]}"
    images = sorted(name for name in fields if f".{name.rsplit('.', 1)[-1].lower()}" in IMAGE_SUFFIXES)

    def read() -> bytes:
        if not images:
            held = ", ".join(sorted(name for name in fields if not name.startswith("__"))) or "nothing"
            raise ImageError(f"{url}::{key} holds no image", found=held, remedy="add one to the sample")
        return fields[images[0]]

    return Sample(f"{url}::{key}", name, read)
