"""Stage "lotus": trains a Lotus model."""

from __future__ import annotations

from pathlib import Path

from ..clock import Deadline
from ..config import LotusConfig
from ..loop import Loop, Plan, make_accelerator
from ..lotus import LotusObjective
from ..networks import starting_parts
from ..sources import open_examples


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
    accelerator = make_accelerator(config.accelerator)
    parts = starting_parts(config.start, config.mode, config.seed)
    objective = LotusObjective(config, open_examples(config.data, config.target), parts)
    # what may change on the way: how long, how fast, on which machine
    identity = config.model_dump(
        mode="json", exclude={"run": True, "accelerator": True, "schedule": {"steps", "decay_steps"}}
    )
    plan = Plan(config.optimizer, config.schedule, config.accelerator, config.run, identity)
    loop = Loop(objective, plan, folder, accelerator)
    loop.resume()
    done = loop.run(deadline)
    if accelerator.is_main_process:
        with loop.averaged():
            objective.export(folder / "model")
    return done
