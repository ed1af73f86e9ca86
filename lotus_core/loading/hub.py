"""Checkpoints from the Hub, on request only. What is on this machine is used without any request."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from ..errors import CheckpointError, DownloadError, UnknownModelError
from . import catalog
from .entry import CatalogEntry, LocalCheckpoint, RemoteFile
from .hub_pull import Pull
from .hub_retry import Progress, Retries
from .published import SHARED_VAE
from .store import (
    PROMPT_FOLDER_SUFFIX,
    TEXT_ENCODER_FILES,
    Places,
    find,
    find_part,
    find_text_encoder,
    flat_target,
)

Folder = str | PathLike[str]


def ensure(
    name: str | CatalogEntry,
    *,
    folder: Folder | None = None,
    vae_folder: Folder | None = None,
    search: Sequence[Folder] = (),
    with_vae: bool = True,
    revision: str | None = None,
    progress: Progress | None = None,
    retries: Retries | None = None,
) -> LocalCheckpoint:
    """Return where a checkpoint lies on this machine, fetching what is missing.

    Args:
        name: Catalogue name, file name, Hub id (also one outside the catalogue), or entry.
        folder: Flat folder for fetched weights; None for LOTUS_HOME, else the Hub's cache.
        vae_folder: Folder for a fetched VAE; None for ``folder``.
        search: Folders in which files are looked for first.
        with_vae: Whether the VAE is needed; False where the caller brings one.
        revision: Commit, tag or branch of the UNet's repository; None for any that is here, else the newest.
        progress: Told (bytes done, bytes in all); what it raises cancels, and what came so far is kept for later.
        retries: When to give up.

    Raises:
        UnknownModelError: Nothing has this name.
        OfflineError: It is not here, and there is no network, or HF_HUB_OFFLINE is set.
        AccessError: The repository or file does not exist, is gated or private.
        VerificationError: A file differs from what was recorded or announced.
        DownloadError: The server fails, refuses or stalls.
        StorageError: No space, or the folder may not be written.
    """
    entry = _entry(name)
    places = _places(folder, vae_folder, search)
    here = find(entry, places, revision=revision, with_vae=with_vae)
    if here is not None:
        return here
    _require_remote(entry)
    commit = Pull(entry, places, revision, progress, retries or Retries()).run(with_vae=with_vae)
    fetched = find(entry, places, revision=commit, with_vae=with_vae)
    if fetched is None:
        raise DownloadError(
            f"{entry.name} is gone again right after it was fetched",
            found="a part that is not under its final name",
            remedy="check what else clears the models folder, then try again",
        )
    return fetched


def ensure_shared_vae(
    *,
    folder: Folder | None = None,
    search: Sequence[Folder] = (),
    progress: Progress | None = None,
    retries: Retries | None = None,
) -> Path:
    """Return the VAE that goes with every UNet-only file, fetching it if it is not on this machine.

    Raises:
        DownloadError: As `ensure`.
        StorageError: As `ensure`.
    """
    entry = next(entry for entry in catalog.models() if entry.vae == SHARED_VAE)
    places = _places(folder, None, search)
    here = find_part(entry, "vae", places)
    if here is not None:
        return here
    target = None if places.target is None else flat_target(entry, "vae", places)
    pull = Pull(entry, places, None, progress, retries or Retries())
    return pull.fetch_all({SHARED_VAE: target})[SHARED_VAE]


def ensure_text_encoder(
    entry: CatalogEntry,
    *,
    folder: Folder | None = None,
    search: Sequence[Folder] = (),
    progress: Progress | None = None,
    retries: Retries | None = None,
) -> Path:
    """Return the folder of a checkpoint's text encoder, with its tokenizer beside it, fetching both if need be.

    They take 1.4 GB and serve for one embedding of 8 KB: ask for them only where that cannot be had otherwise. All
    Lotus checkpoints share the text encoder of Stable Diffusion 2, so that of another one does as well.

    Raises:
        UnknownModelError: The entry names no repository with a text encoder.
        DownloadError: As `ensure`.
        StorageError: As `ensure`.
    """
    repository = entry.text_encoder_repository
    if repository is None:
        raise UnknownModelError(entry.name, remedy="no repository holds its text encoder; pass prompt_embeds")
    places = _places(folder, None, search)
    here = find_text_encoder(repository, places)
    if here is not None:
        return here
    parts = [RemoteFile(repository, path, 0) for path in TEXT_ENCODER_FILES]
    pull = Pull(entry, places, None, progress, retries or Retries())
    if places.target is None:
        return pull.fetch_all(dict.fromkeys(parts))[parts[0]].parent
    root = places.target / f"{repository.replace('/', '--')}{PROMPT_FOLDER_SUFFIX}"
    return pull.fetch_all({part: root.joinpath(*part.path.split("/")) for part in parts})[parts[0]].parent


def _places(folder: Folder | None, vae_folder: Folder | None, search: Sequence[Folder]) -> Places:
    return Places(
        search=tuple(Path(path) for path in search),
        folder=None if folder is None else Path(folder).expanduser(),
        vae_folder=None if vae_folder is None else Path(vae_folder).expanduser(),
    )


def _entry(name: str | CatalogEntry) -> CatalogEntry:
    if isinstance(name, CatalogEntry):
        return name
    return catalog.lookup(name) or catalog.for_repository(name)


def _require_remote(entry: CatalogEntry) -> None:
    if entry.unet is None:
        raise CheckpointError(
            f"{entry.name} comes with this package, and its files are not there",
            remedy="install lotus-geometry again",
        )
