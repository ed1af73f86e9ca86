"""What the catalogue says about one checkpoint, and what of it lies on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..conventions import DEFAULT_RESOLUTION, Mode, OutputKind

Precision = Literal["fp32", "fp16"]

Layout = Literal["folder", "file", "bundled"]
"""folder: a diffusers repository. file: a UNet alone, with a shared VAE. bundled: part of this package."""

Role = Literal["unet", "vae", "unet config", "vae config"]


@dataclass(frozen=True)
class RemoteFile:
    """One file of a Hub repository.

    Attributes:
        repository: Hub id of the repository, ``owner/name``.
        path: The file's path inside the repository, with forward slashes.
        about_bytes: Expected size in bytes, from the number of weights and their precision.
        size: Exact size in bytes where it is known beforehand, else None.
        sha256: Hash of the content where it is known beforehand, else None: it is then pinned on first use.
        revision: Commit in which the size and the hash were seen, else None (the newest).
    """

    repository: str
    path: str
    about_bytes: int
    size: int | None = None
    sha256: str | None = None
    revision: str | None = None

    @property
    def filename(self) -> str:
        """Last part of the path."""
        return self.path.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class CatalogEntry:
    """One checkpoint that this library knows how to get.

    Attributes:
        name: What a user types: unique in the catalogue.
        weights: Name shared by entries that hold the same weights in another file or precision.
        output: What it estimates; None only for a repository that the catalogue does not know.
        mode: "g" or "d"; None only for a repository that the catalogue does not know.
        layout: How it is stored.
        unet: The UNet's file; None for a bundled one.
        vae: The VAE's file: of the same repository, or shared by all single files; None for a bundled one.
        configs: Configuration files, in the order UNet, VAE; empty where the weights' shapes say it all.
        text_encoder_repository: Where the text encoder can be had, if the empty prompt's embedding must be computed.
        precision: How the UNet is stored.
        licence: Licence under which the weights are offered.
        default_resolution: Longest side in pixels at which it works best.
        replaced_by: Name of the better checkpoint for the same purpose, or None.
        aliases: Other names that mean this entry: file names, Hub ids.
    """

    name: str
    weights: str
    output: OutputKind | None
    mode: Mode | None
    layout: Layout
    unet: RemoteFile | None
    vae: RemoteFile | None
    configs: tuple[RemoteFile, ...] = ()
    text_encoder_repository: str | None = None
    precision: Precision = "fp32"
    licence: str = "Apache-2.0"
    default_resolution: int = DEFAULT_RESOLUTION
    replaced_by: str | None = None
    aliases: tuple[str, ...] = ()

    @property
    def repository(self) -> str | None:
        """Hub id of the UNet's repository, ``owner/name``; None for a bundled checkpoint."""
        return None if self.unet is None else self.unet.repository

    @property
    def flat_name(self) -> str:
        """File name of the UNet in a flat folder: the one the community shares it under, else made from its name."""
        if self.layout == "file" and self.unet is not None:
            return self.unet.filename
        return self.name.replace("/", "--") + ".safetensors"

    @property
    def flat_vae_name(self) -> str:
        """File name of the VAE in a flat folder: the shared one's own, else made from the UNet's."""
        if self.layout == "file" and self.vae is not None:
            return self.vae.filename
        return self.flat_name.removesuffix(".safetensors") + ".vae.safetensors"

    @property
    def about_bytes(self) -> int:
        """Expected number of bytes of everything that is fetched for it; 0 for a bundled checkpoint."""
        return sum(file.about_bytes for _, file in self.files())

    def files(self) -> Iterator[tuple[Role, RemoteFile]]:
        """Yield every file that is fetched, weights first, with the part it plays."""
        if self.unet is not None:
            yield "unet", self.unet
        if self.vae is not None:
            yield "vae", self.vae
        roles: tuple[Role, Role] = ("unet config", "vae config")
        yield from zip(roles, self.configs, strict=False)


@dataclass(frozen=True)
class LocalCheckpoint:
    """Where the parts of a checkpoint lie on this machine.

    Attributes:
        entry: What the catalogue says about it.
        unet: The UNet's safetensors file.
        vae: The VAE's safetensors file; None only where the caller said that it is not needed.
        unet_config: diffusers configuration of the UNet, where there is one.
        vae_config: diffusers configuration of the VAE, where there is one.
        prompt_embeds: The stored empty-prompt embedding, where there is one.
        revision: Commit of the repository that the UNet came from, where it is known.
    """

    entry: CatalogEntry
    unet: Path
    vae: Path | None
    unet_config: Path | None = None
    vae_config: Path | None = None
    prompt_embeds: Path | None = None
    revision: str | None = None
