"""Trains and scores the runs of an experiment, one after the other; what is done is kept."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lotus_core.io.atomic import write_bytes
from lotus_core.training.clock import Deadline
from lotus_core.training.config import LotusConfig, read_config
from lotus_core.training.lotus import LotusObjective
from lotus_core.training.networks import starting_parts
from lotus_core.training.run import train
from lotus_core.training.sources import open_examples

from .score import score
from .subsets import latents_of_first_scenes
from .variants import SEEDS, Experiment, Variant

BASE = Path(__file__).parent / "base.yaml"


def run_experiment(
    experiment: Experiment, output: Path, changes: Mapping[str, Any], minutes: float | None
) -> bool:
    """Run what is missing of an experiment.

    Args:
        experiment: Which.
        output: Folder of all experiments; a run lies in NAME/VARIANT/SEED with its result.json.
        changes: Settings in place of the base's, for all variants.
        minutes: Stop cleanly after so many; None for never.

    Returns:
        Whether every run is done.
    """
    deadline = Deadline.after_minutes(minutes)
    for variant in experiment.variants:
        for seed in SEEDS:
            folder = output / experiment.name / variant.name.replace(", ", "-").replace(" ", "-") / str(seed)
            if (folder / "result.json").is_file():
                continue
            if not _run(variant, seed, folder, changes, deadline, "reconstruction_db" in experiment.columns):
                return False
    return True


def _run(
    variant: Variant,
    seed: int,
    folder: Path,
    changes: Mapping[str, Any],
    deadline: Deadline,
    reconstruct: bool,
) -> bool:
    settings = {**changes, **variant.changes, "seed": seed}
    scenes = None
    if variant.scenes is not None:
        subset = folder.parent / "latents"
        scenes = latents_of_first_scenes(Path(changes["data.0.folder"]), variant.scenes, subset)
        settings["data.0.folder"] = str(subset)
    config = read_config(BASE, settings)
    assert isinstance(config, LotusConfig), "the base config's stage is lotus"
    left = None if deadline.at is None else (deadline.at - time.time()) / 60
    if not train(config, folder, resume=True, minutes=left):
        return False
    start = config.start.model_copy(
        update={"checkpoint": str(folder / "model"), "channels": None, "attention": None}
    )
    trained = starting_parts(start, config.mode, seed)
    objective = LotusObjective(config, open_examples(config.data, config.target), trained)
    result = {"variant": variant.name, "seed": seed, "scenes": scenes}
    result |= asdict(score(objective, reconstruct=reconstruct))
    write_bytes(folder / "result.json", (json.dumps(result, indent=1) + "\n").encode())
    return True
