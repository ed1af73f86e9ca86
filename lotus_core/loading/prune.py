"""What of the fetched files can go, and taking it away. Files that this library did not fetch are never touched."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import InputError
from ..io.atomic import storage_error
from .catalog import models
from .choices import choices
from .entry import CatalogEntry, RemoteFile
from .files import PROMPT_FILE
from .lock import lock_path, read_lock
from .store import PROMPT_FOLDER_SUFFIX, Places, cached_versions, flat_target, hub_cache

_PART: Final = re.compile(r".+\.[0-9a-f]{12}\.part")


@dataclass(frozen=True)
class Removal:
    """A file or folder that can go.

    Attributes:
        path: What is removed.
        bytes: Bytes that this frees.
        reason: Why it can go.
    """

    path: Path
    bytes: int
    reason: str


def leftovers(places: Places) -> tuple[Removal, ...]:
    """Return what nothing needs any more: parts of downloads, and text encoders whose one embedding is kept."""
    found = [_removal(path, "part of a download") for path in _parts(places)]
    for folder in places.every_folder():
        kept = (folder / PROMPT_FILE).is_file()
        encoders = folder.glob(f"*{PROMPT_FOLDER_SUFFIX}/") if kept else ()
        found += [
            _removal(path, f"text encoder; {PROMPT_FILE} is kept") for path in encoders if _is_fetched(path)
        ]
    return tuple(found)


def replaced(places: Places) -> tuple[CatalogEntry, ...]:
    """Return the checkpoints on this machine whose replacement is on it too."""
    here = {
        choice.entry.name
        for choice in choices(places.search, folder=places.folder)
        if choice.state == "on disk"
    }
    return tuple(entry for entry in models() if entry.name in here and entry.replaced_by in here)


def fetched_files(entry: CatalogEntry, places: Places) -> tuple[Removal, ...]:
    """Return the files that were fetched for one checkpoint; the shared VAE stays where another checkpoint needs it.

    Raises:
        InputError: Nothing of it was fetched by this library.
    """
    remaining = [
        choice.entry for choice in choices(places.search, folder=places.folder) if choice.local is not None
    ]
    needed = {file for other in remaining if other.name != entry.name for _, file in other.files()}
    paths: list[Path] = []
    for role, remote in entry.files():
        if remote in needed:
            continue
        if places.target is not None:
            target = flat_target(entry, role, places)
            paths += [
                path
                for path in (target, lock_path(target))
                if read_lock(target) is not None and path.exists()
            ]
        paths += _cached_files(remote)
    if not paths:
        raise InputError(
            f"nothing of {entry.name} was fetched to {places.target or hub_cache()}",
            remedy="files that you put there yourself are yours to delete; `lotus models where` shows them",
        )
    return tuple(_removal(path, entry.name) for path in paths)


def remove(removal: Removal) -> None:
    """Take a file or folder away; one that is gone already is no error.

    Raises:
        StorageError: It may not be removed.
    """
    try:
        if removal.path.is_dir() and not removal.path.is_symlink():
            shutil.rmtree(removal.path)
        else:
            removal.path.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(error, removal.path) from error


def _cached_files(remote: RemoteFile) -> Iterator[Path]:
    """Yield a file of the Hub's cache in every commit, and its blob after them."""
    links = list(cached_versions(remote))
    yield from links
    yield from dict.fromkeys(link.resolve() for link in links if link.is_symlink())


def _parts(places: Places) -> Iterator[Path]:
    folders: Sequence[Path] = places.every_folder()
    for folder in folders:
        yield from (path for path in sorted(folder.glob("*.part")) if _PART.fullmatch(path.name))
        yield from sorted(folder.glob(f"*{PROMPT_FOLDER_SUFFIX}/*/*.part"))
    yield from sorted(
        path for path in hub_cache().glob("models--*/blobs/*.part") if _PART.fullmatch(path.name)
    )


def _is_fetched(folder: Path) -> bool:
    return read_lock(folder / "text_encoder" / "model.safetensors") is not None


def _removal(path: Path, reason: str) -> Removal:
    if path.is_symlink():
        return Removal(path, 0, reason)
    files = path.rglob("*") if path.is_dir() else [path]
    sizes = (file.stat() for file in files if file.is_file())
    # A file with another name as well (a VAE linked for two checkpoints) frees nothing.
    return Removal(path, sum(status.st_size for status in sizes if status.st_nlink == 1), reason)
