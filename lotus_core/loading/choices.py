"""What can be chosen: every checkpoint of the catalogue, with what of it is on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from ..errors import VerificationError
from .catalog import models
from .entry import CatalogEntry, LocalCheckpoint, RemoteFile
from .files import PROMPT_FILE
from .published import SHARED_VAE
from .store import PROMPT_FOLDER_SUFFIX, Places, find, weights_under

State = Literal["bundled", "on disk", "download", "altered"]
"""altered: a file is there, and is not what its record says."""

HUB_PAGES = "https://huggingface.co"
"""Where the public pages of the checkpoints are: for links that other programs follow, never for a request of ours."""


@dataclass(frozen=True)
class Choice:
    """One checkpoint to choose.

    Attributes:
        entry: What the catalogue says.
        state: Whether it is on this machine.
        local: Where its parts lie, if all are here.
        bytes: Bytes on this machine, or expected to be fetched.
    """

    entry: CatalogEntry
    state: State
    local: LocalCheckpoint | None
    bytes: int

    @property
    def label(self) -> str:
        """The name, with the size of the download where there is one: ``lotus-depth-g-v1-0 [download 2.1 GB]``."""
        return (
            f"{self.entry.name} [download {self.bytes / 1e9:.1f} GB]"
            if self.state == "download"
            else self.entry.name
        )


def choices(folders: Sequence[Path] = (), *, folder: Path | None = None) -> tuple[Choice, ...]:
    """Return every checkpoint of the catalogue, in its order; looks at folders only, and never at the network.

    Args:
        folders: Folders to look in, before LOTUS_HOME and the Hub's cache.
        folder: Folder that fetched files go to.
    """
    places = Places(search=tuple(folders), folder=folder)
    files = list(weights_under(places.every_folder()))
    return tuple(_choice(entry, places, files) for entry in models())


def _choice(entry: CatalogEntry, places: Places, files: Sequence[Path]) -> Choice:
    try:
        local = find(entry, places, files=files, same_weights_too=False)
    except VerificationError:
        return Choice(entry, "altered", None, entry.about_bytes)
    if local is None:
        return Choice(entry, "download", None, entry.about_bytes)
    paths = (local.unet, local.vae, local.unet_config, local.vae_config, local.prompt_embeds)
    size = sum(path.stat().st_size for path in paths if path is not None)
    return Choice(entry, "bundled" if entry.layout == "bundled" else "on disk", local, size)


def is_auxiliary(file: Path | str) -> bool:
    """Return whether a file in a models folder serves other checkpoints and is none to choose.

    These are fetched VAEs, text encoders and kept embeddings: a loader's list leaves them out.
    """
    path = Path(file)
    name = path.name.lower()
    in_encoder = any(folder.lower().endswith(PROMPT_FOLDER_SUFFIX) for folder in path.parts[:-1])
    return in_encoder or name.endswith(".vae.safetensors") or name in (SHARED_VAE.filename, PROMPT_FILE)


def name_of(label: str) -> str:
    """Return the name in a label; a name stays as it is."""
    return label.split(" [download", 1)[0]


def properties_models(
    entry: CatalogEntry, *, unet_folder: str = "lotus", vae_folder: str = "vae"
) -> list[dict[str, str]]:
    """Return what a workflow's loader node says in ``properties.models``, so that a frontend offers missing files.

    Args:
        entry: The checkpoint.
        unet_folder: Name of the model folder for UNets.
        vae_folder: Name of the model folder for VAEs.

    Returns:
        For each weights file its name on disk, its address, and its model folder; nothing for a bundled checkpoint.
    """
    if entry.unet is None or entry.vae is None:
        return []
    return [
        {"name": entry.flat_name, "url": _page(entry.unet), "directory": unet_folder},
        {"name": entry.flat_vae_name, "url": _page(entry.vae), "directory": vae_folder},
    ]


def _page(file: RemoteFile) -> str:
    return f"{HUB_PAGES}/{file.repository}/resolve/{file.revision or 'main'}/{quote(file.path)}"
