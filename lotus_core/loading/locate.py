"""From what a caller typed to the files of a checkpoint and what the catalogue says about it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..conventions import DEFAULT_RESOLUTION, Mode, OutputKind
from ..errors import UnknownModelError
from . import catalog
from .bundled import BUNDLED, BUNDLED_RESOLUTION, bundled_files
from .entry import CatalogEntry
from .files import CheckpointFiles, checkpoint_files
from .foreign import PICKLE_SUFFIXES, SAFE_SUFFIXES

Folder = str | os.PathLike[str]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Places:
    """Where checkpoints are looked for and put.

    Attributes:
        search: Folders looked into first, before LOTUS_HOME and the Hub's cache.
        download: Where fetched files go; None for LOTUS_HOME, else the Hub's cache.
        progress: Called with (bytes done, bytes in all) while files are fetched.
    """

    search: Sequence[Folder] = ()
    download: Folder | None = None
    progress: Progress | None = None


@dataclass(frozen=True)
class Located:
    """A checkpoint's files and what is known of them before they are opened.

    Attributes:
        files: Where they lie.
        entry: What the catalogue says about it, or None.
        output: What it is known to estimate, or None.
        mode: "g" or "d" where that is known, or None.
        default_resolution: Longest side in pixels at which it works best.
    """

    files: CheckpointFiles
    entry: CatalogEntry | None = None
    output: OutputKind | None = None
    mode: Mode | None = None
    default_resolution: int = DEFAULT_RESOLUTION


def locate(source: Folder, places: Places, *, revision: str | None = None, with_vae: bool = True) -> Located:
    """Return the files of a checkpoint, fetched from the Hub where they are not on disk.

    A name of the catalogue means the catalogue's checkpoint; anything that exists as a path, written with a
    folder or an extension, means that path; ``owner/name`` that is no path means the Hub.

    Args:
        source: Name, path or Hub id.
        places: Where to look and put.
        revision: Commit, tag or branch of a Hub repository.
        with_vae: Whether the catalogue's VAE is needed.

    Raises:
        UnknownModelError: Nothing has this name; the error lists the closest ones.
        CheckpointError: The folder cannot be used.
        DownloadError: The checkpoint is not on disk and could not be fetched.
    """
    name = os.fspath(source)
    if name in BUNDLED:
        return Located(
            bundled_files(name), output=BUNDLED[name], mode="d", default_resolution=BUNDLED_RESOLUTION
        )
    path = Path(name).expanduser()
    if path.exists() and (isinstance(source, os.PathLike) or _looks_like_path(name)):
        return _on_disk(path)
    entry = None if isinstance(source, os.PathLike) else _entry(name)
    if entry is not None:
        return _described(_from_hub(entry, places, revision, with_vae), entry)
    if path.exists():
        return _on_disk(path)
    remedy = _missing(path) if isinstance(source, os.PathLike) or _looks_like_path(name) else None
    raise UnknownModelError(name, catalog.nearest(path.name), remedy=remedy)


def _looks_like_path(name: str) -> bool:
    suffix = Path(name).suffix.lower()
    return "/" in name or os.sep in name or suffix in SAFE_SUFFIXES or suffix in PICKLE_SUFFIXES


def _entry(name: str) -> CatalogEntry | None:
    known = catalog.lookup(name)
    if known is None and catalog.is_repository_id(name):
        return catalog.for_repository(name)
    return known


def _missing(path: Path) -> str:
    near = ", ".join(catalog.nearest(path.name))
    return "there is no such file or folder; check the path" + (f", or choose {near}" if near else "")


def _on_disk(path: Path) -> Located:
    files = checkpoint_files(path)
    for name in files.said_by:
        entry = catalog.lookup(name)
        if entry is not None:
            return _described(files, entry)
    return Located(files)


def _described(files: CheckpointFiles, entry: CatalogEntry) -> Located:
    return Located(files, entry, entry.output, entry.mode, entry.default_resolution)


def _from_hub(entry: CatalogEntry, places: Places, revision: str | None, with_vae: bool) -> CheckpointFiles:
    from .hub import ensure

    local = ensure(
        entry,
        folder=places.download,
        search=places.search,
        with_vae=with_vae,
        revision=revision,
        progress=places.progress,
    )
    files = checkpoint_files(local.unet)
    return replace(
        files,
        name=entry.name,
        said_by=(entry.name,),
        vae=local.vae,
        prompt_embeds=local.prompt_embeds or files.prompt_embeds,
        text_encoder=_if_whole(files.text_encoder),
    )


def _if_whole(text_encoder: Path | None) -> Path | None:
    """Return a text encoder's folder if all of it is there: the Hub's cache holds what was fetched so far."""
    if text_encoder is None or not (text_encoder / "model.safetensors").is_file():
        return None
    return text_encoder if (text_encoder.parent / "tokenizer" / "vocab.json").is_file() else None
