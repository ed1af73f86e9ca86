"""Where ComfyUI keeps models: what the loader offers, and which file a choice means."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import folder_paths

from ..lotus_core.loading import catalog
from ..lotus_core.loading.catalog import CatalogEntry
from ..lotus_core.loading.choices import Choice, is_auxiliary, name_of
from ..lotus_core.loading.choices import choices as catalogue_choices

FOLDER = "lotus"
_EXTENSIONS = {".safetensors", ".sft"}
_OTHER_FOLDERS = ("diffusion_models", "unet", "diffusers")


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


def vae_folder() -> Path:
    """Return the folder that a fetched VAE goes to: the first of `models/vae`."""
    return _paths("vae")[0]


def choices() -> list[str]:
    """Return what the loader offers: the catalogue (marked where a download is needed), bundled models first, files."""
    files = (name for name in dict.fromkeys(_files()) if not is_auxiliary(name))
    own = [name for name in files if catalog.lookup(name) is None]
    return [*(choice.label for choice in _catalogue()), *own]


def resolve(choice: str) -> tuple[str | Path, CatalogEntry | None]:
    """Return what a choice of the loader means: a file or folder on disk, else a name for the catalogue.

    A name that came with a shared workflow and is not in the list counts too, as long as the catalogue or a
    folder knows it.

    Raises:
        UnknownModelError: Neither knows it; the error names the nearest.
    """
    name = name_of(choice)
    for folder in (FOLDER, *_OTHER_FOLDERS):
        path = _find(folder, name)
        if path is not None:
            return path, catalog.lookup(name)
    return name, catalog.require(name)


def weights_of(choice: str) -> list[Path]:
    """Return the weights files that a choice means and that are on disk now; none of a bundled model's."""
    source, entry = resolve(choice)
    if isinstance(source, Path):
        return sorted(source.rglob("*.safetensors")) if source.is_dir() else [source]
    local = next((known.local for known in _catalogue() if known.entry == entry and known.entry.unet), None)
    return [] if local is None else [path for path in (local.unet, local.vae) if path is not None]


def look_again() -> None:
    """Forget what was seen on disk: a file has come."""
    _looked.at = float("-inf")


def _catalogue() -> tuple[Choice, ...]:
    """The catalogue against what is on disk, looked at again after a moment: ComfyUI asks many times in a row."""
    now = time.monotonic()
    if now - _looked.at > _SECONDS_BETWEEN_LOOKS or _looked.folders != search_folders():
        _looked.folders = search_folders()
        _looked.choices = catalogue_choices(_looked.folders, folder=download_folder())
        _looked.at = now
    return _looked.choices


@dataclass
class _Looked:
    at: float = float("-inf")
    folders: list[Path] = field(default_factory=list)
    choices: tuple[Choice, ...] = ()


_looked = _Looked()
_SECONDS_BETWEEN_LOOKS = 2.0


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
