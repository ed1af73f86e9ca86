"""Which images a job works on, cut into units that are done or not done."""

from __future__ import annotations

import glob
import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

import fsspec

from ..errors import ImageError, LotusError, MissingExtraError, StorageError
from ..io.images import IMAGE_SUFFIXES
from .storage import reading

Source = Literal["files", "tar"]

CHUNK: Final = 64
"""Images that are committed together where nothing else is asked for: what a kill costs at most."""

_LISTS: Final = (".txt", ".lst", ".list")
_SHARDS: Final = (".tar",)


@dataclass(frozen=True)
class Unit:
    """What one worker takes on at a time.

    Attributes:
        number: From 0, in the order of the plan.
        source: "files" (each input an image) or "tar" (the only input a WebDataset shard).
        inputs: Paths or fsspec URLs.
    """

    number: int
    source: Source
    inputs: tuple[str, ...]

    def to_json(self) -> str:
        """Return the unit as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Unit:
        """Return the unit of a line."""
        fields: dict[str, Any] = json.loads(line)
        return cls(fields["number"], fields["source"], tuple(fields["inputs"]))


def plan_units(spec: str, chunk: int = CHUNK) -> list[Unit]:
    """Return the units of an input.

    Args:
        spec: A folder (its images, sub-folders included; or its .tar shards, where it has no images), a pattern
            (``photos/*.jpg``), shards (``set-{000000..000099}.tar``), a list of paths or URLs, one a line
            (``.txt``; relative to the list), or one image. Each may be an fsspec URL.
        chunk: Images of a unit of files.

    Raises:
        ImageError: Nothing to work on.
        StorageError: It cannot be listed or read.
    """
    inputs = list(dict.fromkeys(_expand(spec)))
    if not inputs:
        raise ImageError(
            f"{spec} stands for no image and no shard",
            remedy="name a folder, a pattern, a list (.txt) or WebDataset shards (.tar)",
        )
    shards = [name for name in inputs if _suffix(name) in _SHARDS]
    files = [name for name in inputs if _suffix(name) not in _SHARDS]
    parts: list[tuple[Source, tuple[str, ...]]] = [("files", part) for part in _pieces(files, chunk)]
    parts.extend(("tar", (shard,)) for shard in shards)
    return [Unit(number, source, part) for number, (source, part) in enumerate(parts)]


def _pieces(names: list[str], size: int) -> Iterator[tuple[str, ...]]:
    iterator = iter(names)
    while piece := tuple(itertools.islice(iterator, size)):
        yield piece


def _expand(spec: str) -> Iterable[str]:
    try:
        if "{" in spec:
            return [name for braced in _braces(spec) for name in _expand(braced)]
        if _suffix(spec) in _LISTS:
            return _listed(spec)
        if _is_web(spec) and not _has_magic(spec):
            return [spec]  # the web lists no folders
        fs, path = fsspec.core.url_to_fs(spec)
        if _has_magic(spec):
            found = sorted(str(name) for name in fs.glob(path))
            return [_url(fs, name, spec) for name in found if not fs.isdir(name)]
        if fs.isdir(path):
            names = sorted(str(name) for name in fs.find(path) if not _hidden(str(name), path))
            images = [name for name in names if _suffix(name) in IMAGE_SUFFIXES]
            chosen = images or [name for name in names if _suffix(name) in _SHARDS]
            return [_url(fs, name, spec) for name in chosen]
    except (OSError, ValueError, ImportError) as error:
        if isinstance(error, LotusError):
            raise
        raise StorageError(
            f"{spec} cannot be listed",
            found=str(error),
            remedy="check the path or URL, and install what it needs",
        ) from error
    return [spec]


def _is_web(spec: str) -> bool:
    return spec.lower().startswith(("http://", "https://"))


def _has_magic(spec: str) -> bool:
    """Return whether a spec is a pattern; in the address of a web page "?" begins the query."""
    return glob.has_magic(spec.partition("?")[0] if _is_web(spec) else spec)


def _braces(spec: str) -> list[str]:
    try:
        import braceexpand
    except ImportError as error:
        raise MissingExtraError("braceexpand", "batch", "a range of shards in braces") from error
    return list(braceexpand.braceexpand(spec))


def _listed(spec: str) -> list[str]:
    with reading(spec) as file:
        lines = file.read().decode("utf-8-sig").splitlines()
    folder = spec.rpartition("/")[0] or "."
    names = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return [name if "://" in name or Path(name).is_absolute() else f"{folder}/{name}" for name in names]


def _url(fs: Any, name: str, spec: str) -> str:
    """Return a listed name as something that can be opened: with its protocol, where the input had one."""
    return str(fs.unstrip_protocol(name)) if "://" in spec else name


def _suffix(name: str) -> str:
    return PurePosixPath(name.split("?")[0]).suffix.lower()


def _hidden(name: str, root: str) -> bool:
    return any(part.startswith(".") for part in name[len(root.rstrip("/")) :].split("/"))
