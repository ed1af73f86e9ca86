"""Stage "scenes": renders a set of scenes to disk."""

from __future__ import annotations

import logging
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from ..clock import Deadline
from ..config import ScenesConfig
from ..scene_set import SceneShard, plan_shards, write_shard

_log = logging.getLogger("lotus_geometry")


def render_scenes(config: ScenesConfig, folder: Path, deadline: Deadline) -> bool:
    """Render what is missing of a set.

    Args:
        config: Which scenes.
        folder: Of the set; shards that are there are kept.
        deadline: When to stop.

    Returns:
        Whether the set is complete.

    Raises:
        StorageError: The disk refuses a shard.
    """
    shards = plan_shards(config.first_seed, config.count, config.per_shard, config.sizes, config.supersample)
    missing = [shard for shard in shards if not (folder / shard.file_name).is_file()]
    _log.info("%d of %d shards are to be rendered into %s", len(missing), len(shards), folder)
    if config.processes == 1:
        return all(_render(folder, shard, deadline) for shard in missing)
    context = multiprocessing.get_context("spawn")  # a fork of a process that holds torch's threads can hang
    with ProcessPoolExecutor(config.processes, mp_context=context) as pool:
        return all(pool.map(_render, [folder] * len(missing), missing, [deadline] * len(missing)))


def _render(folder: Path, shard: SceneShard, deadline: Deadline) -> bool:
    torch.set_num_threads(1)
    done = write_shard(folder, shard, deadline.passed)
    if done:
        _log.info("%s", shard.file_name)
    return done
