"""Where checkpoints lie on this machine: given folders, LOTUS_HOME, the Hub's cache. No network, no torch.

A given folder is flat, with readable names::

    lotus-depth-g-v1-0-fp16.safetensors             a single file, as the community shares it
    vae-ft-mse-840000-ema-pruned.safetensors        the VAE that all single files share
    lotus-depth-d-v1-0.safetensors, .json           UNet of a repository, and its config
    lotus-depth-d-v1-0.vae.safetensors, .vae.json   the VAE of the same repository, and its config

but a file is also found in a sub-folder, as part of a diffusers folder, and behind a symlink.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from .bundled import BUNDLED, bundled_files
from .catalog import SHARED_VAE, folded, models, same_weights
from .entry import CatalogEntry, LocalCheckpoint, RemoteFile, Role
from .foreign import SAFE_SUFFIXES
from .lock import read_lock, verify

MAX_DEPTH: Final = 4
"""How many sub-folders deep a file is looked for."""


TEXT_ENCODER_FILES: Final = (
    "text_encoder/model.safetensors",
    "text_encoder/config.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/special_tokens_map.json",
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
)
"""What the empty prompt's embedding is computed from: 1.4 GB, fetched only where it can be had in no other way."""

PROMPT_FOLDER_SUFFIX: Final = ".prompt"


@dataclass(frozen=True)
class Places:
    """Where to look and where to put.

    Attributes:
        search: Folders to look in, in this order; LOTUS_HOME and the Hub's cache come after them.
        folder: Where fetched weights go; None for LOTUS_HOME, else the Hub's cache.
        vae_folder: Where a fetched VAE goes; None for `folder`.
    """

    search: tuple[Path, ...] = ()
    folder: Path | None = None
    vae_folder: Path | None = None

    @property
    def target(self) -> Path | None:
        """The flat folder that fetched weights go to, or None for the Hub's cache."""
        return self.folder or lotus_home()

    def every_folder(self) -> tuple[Path, ...]:
        """Return the folders to look in, each once."""
        given = [*self.search, self.vae_folder, self.target]
        return tuple(dict.fromkeys(folder.expanduser() for folder in given if folder is not None))


def lotus_home() -> Path | None:
    """Return the folder that the environment variable LOTUS_HOME names, or None."""
    home = os.environ.get("LOTUS_HOME", "").strip()
    return Path(home).expanduser() if home else None


def hub_cache() -> Path:
    """Return the Hub's cache folder, as HF_HOME and HF_HUB_CACHE set it."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def flat_target(entry: CatalogEntry, role: Role, places: Places) -> Path:
    """Return the final name of a file in a flat folder.

    Raises:
        ValueError: No folder is set, or the name would lead out of it.
    """
    folder = places.target
    if folder is None:
        raise ValueError("no flat folder is set")
    of_unet = role in ("unet", "unet config")
    name = entry.flat_name if of_unet else entry.flat_vae_name
    if role.endswith("config"):
        name = name.removesuffix(".safetensors") + ".json"
    return _inside(folder if of_unet else places.vae_folder or folder, name)


def _inside(folder: Path, name: str) -> Path:
    """Join a single file name to a folder; the name itself decides nothing else."""
    if not name or name in (".", "..") or any(mark in name for mark in "/\\:\0"):
        raise ValueError(f"{name!r} is not a plain file name")
    return folder / name


def find(
    entry: CatalogEntry,
    places: Places,
    *,
    revision: str | None = None,
    with_vae: bool = True,
    files: Sequence[Path] | None = None,
    same_weights_too: bool = True,
) -> LocalCheckpoint | None:
    """Return where a checkpoint lies on this machine, or None if a part of it is missing.

    Args:
        entry: The checkpoint.
        places: Where to look.
        revision: Commit that the files must be known to be of; None for any.
        with_vae: Whether the VAE must be there.
        files: What `weights_under` found in the folders, to ask for several checkpoints after one look.
        same_weights_too: Whether another file of the same weights satisfies a short name.

    Raises:
        VerificationError: A file is there, and is not what its record says.
    """
    if entry.layout == "bundled":
        return _bundled(entry) if entry.name in BUNDLED else None
    candidates = [entry]
    if same_weights_too and entry.name == entry.weights and revision is None:
        candidates += same_weights(entry)
    files = list(weights_under(places.every_folder())) if files is None else files
    for candidate in candidates:
        found = _find_one(candidate, files, revision, with_vae)
        if found is not None:
            return found
    return None


def _bundled(entry: CatalogEntry) -> LocalCheckpoint | None:
    files = bundled_files(entry.name)
    if files.vae is None:
        return None
    vae = files.vae / "diffusion_pytorch_model.safetensors"
    return LocalCheckpoint(
        entry, files.unet, vae, files.unet_config, files.vae / "config.json", files.prompt_embeds
    )


def weights_under(folders: Sequence[Path]) -> Iterator[Path]:
    """Yield the safetensors files in folders and their sub-folders, `MAX_DEPTH` deep, symlinks followed, each once."""
    seen: set[str] = set()
    for root in folders:
        for folder, subfolders, names in os.walk(root, followlinks=True):
            real = os.path.realpath(folder)
            depth = len(Path(folder).relative_to(root).parts)
            if real in seen or depth >= MAX_DEPTH:
                subfolders.clear()
            if real in seen:
                continue
            seen.add(real)
            subfolders.sort()
            paths = (Path(folder, name) for name in sorted(names) if name.lower().endswith(SAFE_SUFFIXES))
            yield from (path for path in paths if path.is_file())  # not a link to nowhere


def _find_one(
    entry: CatalogEntry, files: Sequence[Path], revision: str | None, with_vae: bool
) -> LocalCheckpoint | None:
    unet = _first(entry, "unet", files, revision)
    vae = _first(entry, "vae", files, revision) if with_vae else None
    if unet is None or (vae is None and with_vae):
        return None
    record = read_lock(unet)
    return LocalCheckpoint(
        entry=entry,
        unet=unet,
        vae=vae,
        unet_config=_config_of(unet),
        vae_config=None if vae is None else _config_of(vae),
        revision=None if record is None else record.commit,
    )


def find_part(entry: CatalogEntry, role: Role, places: Places, *, revision: str | None = None) -> Path | None:
    """Return where the UNet or VAE of an entry lies on this machine, or None.

    Raises:
        VerificationError: It is there, and is not what its record says.
    """
    return _first(entry, role, list(weights_under(places.every_folder())), revision)


def _first(entry: CatalogEntry, role: Role, files: Sequence[Path], revision: str | None) -> Path | None:
    """Return the first file that plays a part, is of the revision, and is what its record says."""
    if role == "vae" and entry.vae == SHARED_VAE:
        revision = None  # of another repository: the revision asked for is none of its own
    for path in files:
        if not _is_part(path, entry, role):
            continue
        record = read_lock(path)
        if revision is not None and (record is None or not record.commit.startswith(revision)):
            continue
        if record is not None:
            verify(path, record)
        return path
    return next(_cached(entry, role, revision), None)


def _is_part(file: Path, entry: CatalogEntry, role: Role) -> bool:
    """Return whether a file's name, or its place in a diffusers folder, says that it is this part of the entry."""
    stem = folded(file.stem)
    flat = entry.flat_name if role == "unet" else entry.flat_vae_name
    if stem == folded(flat.removesuffix(".safetensors")):
        return True
    in_folder = stem == "diffusion-pytorch-model" and file.parent.name == role
    names = (entry.weights, entry.name.replace("/", "--"))
    return entry.layout == "folder" and in_folder and folded(file.parent.parent.name) in map(folded, names)


def find_text_encoder(repository: str, places: Places) -> Path | None:
    """Return the folder of a complete text encoder of any Lotus checkpoint, or None.

    Args:
        repository: Hub id that is asked for; its own comes first where several are here.
        places: Where to look.
    """
    owners = dict.fromkeys((repository, *(entry.text_encoder_repository for entry in models())))
    ids = [owner for owner in owners if owner is not None]
    names = {folded(name) for owner in ids for name in (owner.split("/")[1], owner.replace("/", "--"))}
    flat = (path for path in weights_under(places.every_folder()) if path.parent.name == "text_encoder")
    known = (
        path for path in flat if folded(path.parents[1].name).removesuffix(PROMPT_FOLDER_SUFFIX) in names
    )
    cached = (path for owner in ids for path in cached_versions(RemoteFile(owner, TEXT_ENCODER_FILES[0], 0)))
    for path in (*known, *cached):
        if all((path.parents[1] / name).is_file() for name in TEXT_ENCODER_FILES):
            return path.parent
    return None


def _cached(entry: CatalogEntry, role: Role, revision: str | None) -> Iterator[Path]:
    remote = dict(entry.files()).get(role)
    if remote is not None:
        for path in (remote.path, *variants(remote.path)):
            yield from cached_versions(replace(remote, path=path), revision)


def variants(path: str) -> tuple[str, ...]:
    """Return other paths under which a repository may keep the same part: diffusers' half-precision variants."""
    stem = path.removesuffix(".safetensors")
    return (f"{stem}.fp16.safetensors", f"{stem}.bf16.safetensors") if stem.endswith("pytorch_model") else ()


def cached_versions(remote: RemoteFile, revision: str | None = None) -> Iterator[Path]:
    """Yield where a file lies in the Hub's cache.

    Args:
        remote: The file.
        revision: Commit, or its beginning, tag or branch, as the cache knew it last; None for every commit: that of
            the main branch first, then the newest.
    """
    repository = hub_cache() / f"models--{remote.repository.replace('/', '--')}"
    ref = repository / "refs" / (revision or "main")
    known = ref.read_text(encoding="utf-8").strip() if ref.is_file() else None
    commits = sorted((repository / "snapshots").glob("*/"), key=lambda path: -path.stat().st_mtime_ns)
    commits.sort(key=lambda path: path.name != known)
    for commit in commits:
        wanted = revision is None or commit.name == known or commit.name.startswith(revision)
        if wanted and (commit / remote.path).is_file():
            yield commit / remote.path


def _config_of(weights: Path) -> Path | None:
    for candidate in (weights.with_suffix(".json"), weights.with_name("config.json")):
        if candidate.is_file():
            return candidate
    return None
