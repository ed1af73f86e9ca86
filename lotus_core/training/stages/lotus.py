"""Stage "lotus": trains a Lotus model."""

from __future__ import annotations

from pathlib import Path

from ..clock import Deadline
from ..config import LotusConfig
from ..lotus import LotusObjective
from ..networks import starting_parts
from ..sources import open_examples
from .fit import fit


def train_lotus(config: LotusConfig, folder: Path, deadline: Deadline) -> bool:
    """Train, and write the model with its averaged weights as a diffusers folder ``model``.

    Args:
        config: Settings.
        folder: Of the run; a state in it is resumed.
        deadline: When to stop.

    Returns:
        Whether the last step is done.

    Raises:
        LotusError: See `Loop.run`, `open_examples` and `starting_parts`.
    """

    def objective() -> LotusObjective:
        parts = starting_parts(config.start, config.mode, config.seed)
        return LotusObjective(config, open_examples(config.data, config.target), parts)

    return fit(config, objective, folder, folder / "model", deadline)
