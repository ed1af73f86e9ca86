"""Stage "vae": trains a small VAE."""

from __future__ import annotations

from pathlib import Path

from ..clock import Deadline
from ..config import VaeConfig
from ..loop import Loop, Plan, make_accelerator
from ..sources import open_pictures
from ..vae import VaeObjective


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
    accelerator = make_accelerator(config.accelerator)
    objective = VaeObjective(config, open_pictures(config.data))
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
            objective.export(folder)
    return done
