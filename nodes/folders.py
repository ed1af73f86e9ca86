"""Where ComfyUI keeps models: what the loader offers, and which file a choice means."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import folder_paths

from ..lotus_core.loading import catalog
from ..lotus_core.loading.catalog import CatalogEntry

FOLDER = "lotus"
_EXTENSIONS = {".safetensors", ".sft"}
_OTHER_FOLDERS = ("diffusion_models", "unet", "diffusers")
DOWNLOAD_MARK = " [download]"


def register() -> None:
    """Make `models/lotus` known to ComfyUI, with its extensions, beside paths of extra_model_paths.yaml."""
    folder_paths.add_model_folder_path(FOLDER, str(Path(folder_paths.models_dir) / FOLDER))
    paths, _ = folder_paths.folder_names_and_paths[FOLDER]
    folder_paths.folder_names_and_paths[FOLDER] = (paths, _EXTENSIONS)


def search_folders() -> list[Path]:
    """Return the existing folders in which a checkpoint is looked for, `models/lotus` first."""
    names = (FOLDER, *_OTHER_FOLDERS, "vae")
    return [path for name in names for path in _paths(name) if path.is_dir()]


def download_folder() -> Path:
    """Return the folder that fetched checkpoints go to: the first of `models/lotus`."""
    return _paths(FOLDER)[0]


def choices() -> list[str]:
    """Return what the loader offers: bundled models, the catalogue (marked where a download is needed), files."""
    files = list(dict.fromkeys(_files()))
    known = {entry.name for name in files if (entry := catalog.lookup(name)) is not None}
    bundled = [entry.name for entry in catalog.models() if entry.layout == "bundled"]
    remote = [
        entry.name if entry.name in known else entry.name + DOWNLOAD_MARK
        for entry in catalog.models()
        if entry.layout != "bundled"
    ]
    own = [name for name in files if catalog.lookup(name) is None]
    return [*bundled, *remote, *own]


def resolve(choice: str) -> tuple[str | Path, CatalogEntry | None]:
    """Return what a choice of the loader means: a file or folder on disk, else a name for the catalogue.

    A name that came with a shared workflow and is not in the list counts too, as long as the catalogue or a
    folder knows it.

    Raises:
        UnknownModelError: Neither knows it; the error names the nearest.
    """
    name = choice.removesuffix(DOWNLOAD_MARK)
    for folder in (FOLDER, *_OTHER_FOLDERS):
        path = _find(folder, name)
        if path is not None:
            return path, catalog.lookup(name)
    return name, catalog.require(name)


def _files() -> Iterator[str]:
    yield from folder_paths.get_filename_list(FOLDER)
    for name in _lotus_folders():
        yield name
    for folder in ("diffusion_models", "unet"):
        for name in _list(folder):
            if "lotus" in name.lower() and Path(name).suffix in _EXTENSIONS:
                yield name


def _lotus_folders() -> Iterator[str]:
    for folder in (FOLDER, "diffusers"):
        for path in _paths(folder):
            for child in sorted(path.iterdir()) if path.is_dir() else []:
                named = folder == FOLDER or "lotus" in child.name.lower()
                if named and (child / "unet" / "config.json").is_file():
                    yield child.name


def _find(folder: str, name: str) -> Path | None:
    for path in _paths(folder):
        candidate = path / name
        inside = candidate.resolve().is_relative_to(path.resolve()) or candidate.is_symlink()
        if ".." not in Path(name).parts and not Path(name).is_absolute() and inside and candidate.exists():
            return candidate
    return None


def _paths(folder: str) -> list[Path]:
    if folder not in folder_paths.folder_names_and_paths:
        return []
    return [Path(path) for path in folder_paths.get_folder_paths(folder)]


def _list(folder: str) -> list[str]:
    return folder_paths.get_filename_list(folder) if folder in folder_paths.folder_names_and_paths else []
