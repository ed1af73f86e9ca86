"""The small checkpoints that come with the package: to try everything offline, and to test."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Final

from ..conventions import Mode, OutputKind
from .files import PROMPT_FILE, WEIGHTS_STEM, CheckpointFiles

BUNDLED: Final = MappingProxyType[str, OutputKind](
    {"lotus-tiny-depth-d": "disparity", "lotus-tiny-normal-d": "normal", "lotus-tiny-depth-g": "disparity"}
)
"""Names of the bundled checkpoints and what each estimates."""

BUNDLED_RESOLUTION: Final = 192
"""Longest side in pixels. They were trained with sides of 96 to 192."""

_HOME = Path(__file__).resolve().parent.parent / "data" / "lotus-tiny"


def bundled_mode(name: str) -> Mode:
    """Return whether a bundled checkpoint is discriminative, "d", or generative, "g": the end of its name."""
    return "g" if name.endswith("-g") else "d"


def bundled_files(name: str) -> CheckpointFiles:
    """Return the files of a bundled checkpoint: its own UNet, the VAE and the context that both share.

    Raises:
        KeyError: Not one of `BUNDLED`.
    """
    if name not in BUNDLED:
        raise KeyError(name)
    return CheckpointFiles(
        name=name,
        said_by=(name,),
        unet=_HOME / name / "unet" / f"{WEIGHTS_STEM}.safetensors",
        vae=_HOME / "vae",
        prompt_embeds=_HOME / PROMPT_FILE,
        prompt_folder=_HOME,
        unet_config=_HOME / name / "unet" / "config.json",
    )
