"""From what a caller typed to the files of a checkpoint and what the catalogue says about it."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ..conventions import DEFAULT_RESOLUTION, Mode, OutputKind
from ..errors import UnknownModelError
from . import catalog
from .bundled import BUNDLED, BUNDLED_RESOLUTION, bundled_files, bundled_mode
from .entry import CatalogEntry
from .files import CheckpointFiles, checkpoint_files
from .foreign import PICKLE_SUFFIXES, SAFE_SUFFIXES
from .store import Places, weights_under

Folder = str | os.PathLike[str]
Progress = Callable[[int, int], None]

_EXPLICIT: Final = ("./", "../", ".\\", "..\\", "~")


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


def locate(
    source: Folder,
    places: Places,
    *,
    revision: str | None = None,
    with_vae: bool = True,
    progress: Progress | None = None,
) -> Located:
    """Return the files of a checkpoint, fetched from the Hub where they are not on disk.

    A name of the catalogue means the catalogue's checkpoint; anything that exists as a path, written with a
    folder or an extension, means that path; the name of a file or diffusers folder in one of the searched folders
    means that one; ``owner/name`` that is none of these means the Hub.

    Args:
        source: Name, path or Hub id.
        places: Where to look and put.
        revision: Commit, tag or branch of a Hub repository.
        with_vae: Whether the catalogue's VAE is needed.
        progress: Called with (bytes done, bytes in all) while files are fetched.

    Raises:
        UnknownModelError: Nothing has this name; the error lists the closest ones.
        CheckpointError: The folder cannot be used.
        DownloadError: The checkpoint is not on disk and could not be fetched.
    """
    name = os.fspath(source)
    if name in BUNDLED:
        return Located(
            bundled_files(name),
            output=BUNDLED[name],
            mode=bundled_mode(name),
            default_resolution=BUNDLED_RESOLUTION,
        )
    path = Path(name).expanduser()
    explicit = isinstance(source, os.PathLike) or path.is_absolute() or name.startswith(_EXPLICIT)
    if path.exists() and (explicit or _looks_like_path(name)):
        return _on_disk(path)
    if not explicit:
        entry = catalog.lookup(name)
        found = None if entry is not None else _in_folders(name, places)
        if found is not None:
            return _on_disk(found)
        if entry is None and catalog.is_repository_id(name):
            entry = catalog.for_repository(name)
        if entry is not None:
            return _described(_from_hub(entry, places, revision, with_vae, progress), entry)
        if path.exists():
            return _on_disk(path)
    raise _unknown(name, places, as_path=explicit or _looks_like_path(name))


def _looks_like_path(name: str) -> bool:
    suffix = Path(name).suffix.lower()
    return "/" in name or os.sep in name or suffix in SAFE_SUFFIXES or suffix in PICKLE_SUFFIXES


def _in_folders(name: str, places: Places) -> Path | None:
    """Return the file or diffusers folder of a name in the searched folders, whatever sub-folder it lies in."""
    wanted = catalog.folded(name)
    for title, path in _titles(places):
        if wanted in (catalog.folded(title), catalog.folded(Path(title).stem)):
            return path
    return None


def _titles(places: Places) -> Iterator[tuple[str, Path]]:
    """Yield what each checkpoint in the searched folders is called, and its path."""
    for file in weights_under(places.every_folder()):
        if file.parent.name == "unet":
            yield file.parent.parent.name, file.parent.parent
        else:
            yield file.name, file


def _unknown(name: str, places: Places, *, as_path: bool) -> UnknownModelError:
    title = Path(name).name
    own = difflib.get_close_matches(title, dict.fromkeys(title for title, _ in _titles(places)), n=2)
    nearest = tuple(dict.fromkeys([*own, *catalog.nearest(title)]))
    if not as_path:
        return UnknownModelError(name, nearest)
    near = f", or choose {', '.join(nearest)}" if nearest else ""
    remedy = f"there is no such file or folder; check the path{near}"
    return UnknownModelError(name, nearest, remedy=remedy)


def _on_disk(path: Path) -> Located:
    files = checkpoint_files(path)
    for name in files.said_by:
        entry = catalog.lookup(name)
        if entry is not None:
            return _described(files, entry)
    return Located(files)


def _described(files: CheckpointFiles, entry: CatalogEntry) -> Located:
    return Located(files, entry, entry.output, entry.mode, entry.default_resolution)


def _from_hub(
    entry: CatalogEntry,
    places: Places,
    revision: str | None,
    with_vae: bool,
    progress: Progress | None,
) -> CheckpointFiles:
    from .hub import ensure

    local = ensure(
        entry,
        folder=places.folder,
        vae_folder=places.vae_folder,
        search=places.search,
        with_vae=with_vae,
        revision=revision,
        progress=progress,
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
