"""Runs the stage of a config."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import OptionError
from .clock import Deadline
from .config import AnyConfig, BundleConfig, LatentsConfig, ScenesConfig, VaeConfig


def train(
    config: AnyConfig,
    folder: Path,
    *,
    resume: bool = False,
    minutes: float | None = None,
) -> bool:
    """Run one stage of training.

    Args:
        config: What to do; its type is the stage.
        folder: Where results, states and logs go.
        resume: Go on from what the folder holds.
        minutes: Stop cleanly after so many, to be resumed.

    Returns:
        Whether the stage is complete.

    Raises:
        OptionError: The folder holds a run, and `resume` is not given.
        LotusError: See the stages.
    """
    # of several processes the first one looks: the others may come when it has already begun to write
    is_first = os.environ.get("RANK", "0") == "0"
    if is_first and not resume and folder.is_dir() and any(folder.iterdir()):
        raise OptionError("--output", str(folder), "a new or empty folder, unless --resume is given")
    folder.mkdir(parents=True, exist_ok=True)
    deadline = Deadline.after_minutes(minutes)
    if isinstance(config, ScenesConfig):
        from .stages.scenes import render_scenes

        return render_scenes(config, folder, deadline)
    if isinstance(config, VaeConfig):
        from .stages.vae import train_vae

        return train_vae(config, folder, deadline)
    if isinstance(config, LatentsConfig):
        from .stages.latents import encode_latents

        return encode_latents(config, folder, deadline)
    if isinstance(config, BundleConfig):
        from .stages.bundle import write_bundle

        write_bundle(config, folder)
        return True
    from .stages.lotus import train_lotus

    return train_lotus(config, folder, deadline)
