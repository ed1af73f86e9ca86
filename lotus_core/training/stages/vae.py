"""Stage "vae": trains a small VAE."""

from __future__ import annotations

from pathlib import Path

from ..clock import Deadline
from ..config import VaeConfig
from ..sources import open_pictures
from ..vae import VaeObjective
from .fit import fit


def train_vae(config: VaeConfig, folder: Path, deadline: Deadline) -> bool:
    """Train, and write the VAE with its averaged weights as a diffusers folder ``vae``.

    Args:
        config: Settings.
        folder: Of the run; a state in it is resumed.
        deadline: When to stop.

    Returns:
        Whether the last step is done.

    Raises:
        LotusError: See `Loop.run` and `open_pictures`.
    """
    return fit(config, lambda: VaeObjective(config, open_pictures(config.data)), folder, folder, deadline)
