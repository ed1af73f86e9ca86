"""What the two stages that train have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..clock import Deadline
from ..config import LotusConfig, VaeConfig
from ..loop import Loop, Plan, make_accelerator
from ..objective import Objective


def fit(
    config: VaeConfig | LotusConfig,
    make_objective: Callable[[], Objective[Any]],
    folder: Path,
    export_folder: Path,
    deadline: Deadline,
) -> bool:
    """Train an objective, and export it with its averaged weights.

    Args:
        config: Settings.
        make_objective: Opens the data and builds the networks, once the processes know each other.
        folder: Of the run; a state in it is resumed.
        export_folder: Where the objective exports to.
        deadline: When to stop.

    Returns:
        Whether the last step is done.

    Raises:
        LotusError: See `Loop.run`.
    """
    accelerator = make_accelerator(config.accelerator)
    # what may change on the way: how long, how fast, on which machine
    identity = config.model_dump(
        mode="json", exclude={"run": True, "accelerator": True, "schedule": {"steps", "decay_steps"}}
    )
    plan = Plan(config.optimizer, config.schedule, config.accelerator, config.run, identity)
    objective = make_objective()
    loop = Loop(objective, plan, folder, accelerator)
    loop.resume()
    done = loop.run(deadline)
    if accelerator.is_main_process:
        with loop.averaged():
            objective.export(export_folder)
    return done
