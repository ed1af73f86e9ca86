"""A checkpoint's files looked at in full: record, header, shapes, every number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..conventions import Part
from ..errors import LotusError
from . import lock
from .entry import LocalCheckpoint, RemoteFile
from .modules import build_unet, build_vae
from .networks import read_unet, read_vae
from .scan import scan_nonfinite


@dataclass(frozen=True)
class FileCheck:
    """What looking at one file found.

    Attributes:
        path: The file.
        part: What it is.
        bytes: Its size.
        recorded: Whether there was a record of size and hash to compare it with.
        problems: What is wrong, in words; empty for a file that is as it should be.
    """

    path: Path
    part: Part
    bytes: int
    recorded: bool
    problems: tuple[str, ...]


def check_file(
    path: Path,
    part: Part,
    *,
    config: Path | None = None,
    known: RemoteFile | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> FileCheck:
    """Compare a file with its record, its tensors with the network's, and look for NaN and infinity.

    Args:
        path: The file.
        part: What it must be.
        config: Its diffusers configuration, where there is one.
        known: What the catalogue knows of it, where there is no record.
        progress: Told (bytes done, bytes in all) while every number is looked at.
    """
    problems: list[str] = []
    recorded = False
    try:
        record = lock.read_lock(path)
        if record is not None:
            recorded = True
            lock.verify(path, record, content=True)
        elif known is not None and known.sha256 is not None and known.size == path.stat().st_size:
            recorded = True
            if lock.sha256_of(path) != known.sha256:
                problems.append(f"{path.name} is not the file of {known.repository}: its sha256 differs")
        if part == "unet":
            build_unet(read_unet(path, config))  # strict, mapped: no copy of the weights is made
        else:
            build_vae(read_vae(path, config))
        bad = scan_nonfinite(path, progress=progress)
        problems += [
            f"{tensor.key} holds {tensor.nan} NaN and {tensor.infinite} infinite values" for tensor in bad
        ]
    except LotusError as error:
        problems.append(str(error))
    return FileCheck(path, part, path.stat().st_size, recorded, tuple(problems))


def check_checkpoint(
    local: LocalCheckpoint, *, progress: Callable[[int, int], None] | None = None
) -> tuple[FileCheck, ...]:
    """Check the UNet and the VAE of a checkpoint on this machine.

    Args:
        local: Where its parts lie.
        progress: Told (bytes done, bytes in all) for each file.
    """
    unet = check_file(local.unet, "unet", config=local.unet_config, known=local.entry.unet, progress=progress)
    if local.vae is None:
        return (unet,)
    return unet, check_file(
        local.vae, "vae", config=local.vae_config, known=local.entry.vae, progress=progress
    )
