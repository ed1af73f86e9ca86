"""Stage "latents": encodes a data set once."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...errors import CorruptSampleError
from ..annotation import annotation, flipped, known
from ..appearance import vary_appearance
from ..clock import Deadline
from ..config import LatentsConfig
from ..feed import Indexed, readable
from ..latents import encode_pictures, known_cells, write_latents
from ..networks import load_vae
from ..order import draws
from ..sample import Sample
from ..sources import open_pictures

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

_log = logging.getLogger("lotus_geometry")
_BATCH = 16


@dataclass(frozen=True)
class LatentShard:
    """A run of consecutive examples of one data set, seen one way.

    Attributes:
        dataset: Number of the data set.
        start: Its first example.
        stop: After its last example.
        view: 0 as it is, 1 mirrored, 2 as it is, ...; from 1 on under random appearance.
        file_name: Of its file.
    """

    dataset: int
    start: int
    stop: int
    view: int
    file_name: str


def plan_latents(config: LatentsConfig, datasets: Sequence[Indexed[Sample]]) -> tuple[LatentShard, ...]:
    """Return the shards of a set, one view after the other."""
    shards: list[LatentShard] = []
    for view in range(config.views):
        for number, dataset in enumerate(datasets):
            height, width = readable(dataset, 0, []).depth.shape
            for start in range(0, len(dataset), config.per_shard):
                stop = min(start + config.per_shard, len(dataset))
                name = f"latents-{height}x{width}-{number:02d}-{view}-{start:06d}-{stop:06d}.safetensors"
                shards.append(LatentShard(number, start, stop, view, name))
    return tuple(shards)


def encode_latents(config: LatentsConfig, folder: Path, deadline: Deadline) -> bool:
    """Encode what is missing of a set.

    Args:
        config: Which examples, seen how often.
        folder: Of the set; shards that are there are kept.
        deadline: When to stop.

    Returns:
        Whether the set is complete.

    Raises:
        StorageError: The disk refuses a shard.
    """
    shards = plan_latents(config, open_pictures(config.data).datasets)
    missing = [shard for shard in shards if not (folder / shard.file_name).is_file()]
    _log.info("%d of %d shards are to be encoded into %s", len(missing), len(shards), folder)
    parts = [missing[number :: config.processes] for number in range(config.processes)]
    if config.processes == 1:
        return _encode_part(config, folder, parts[0], deadline)
    context = multiprocessing.get_context("spawn")  # a fork of a process that holds torch's threads can hang
    with ProcessPoolExecutor(config.processes, mp_context=context) as pool:
        count = len(parts)
        return all(pool.map(_encode_part, [config] * count, [folder] * count, parts, [deadline] * count))


def _encode_part(
    config: LatentsConfig, folder: Path, shards: Sequence[LatentShard], deadline: Deadline
) -> bool:
    if config.processes > 1:
        torch.set_num_threads(1)
    datasets = open_pictures(config.data).datasets
    vae = load_vae(Path(config.vae))
    torch.nn.Module.to(vae, "cuda" if torch.cuda.is_available() else "cpu")
    for shard in shards:
        tensors: dict[str, list[Tensor]] = {}
        names: list[str] = []
        for start in range(shard.start, shard.stop, _BATCH):
            if deadline.passed():
                return False
            indices = range(start, min(start + _BATCH, shard.stop))
            samples = _read(datasets[shard.dataset], indices)
            if not samples:
                continue
            for key, tensor in _encoded(config, vae, samples, shard, start).items():
                tensors.setdefault(key, []).append(tensor.cpu())
            names += [sample.name for sample in samples]
        if names:
            write_latents(
                folder / shard.file_name, {key: torch.cat(parts) for key, parts in tensors.items()}, names
            )
        _log.info("%s", shard.file_name)
    return True


def _read(dataset: Indexed[Sample], indices: range) -> list[Sample]:
    samples: list[Sample] = []
    for index in indices:
        try:
            samples.append(dataset[index])
        except CorruptSampleError as error:
            _log.warning("skipped: %s", error)
    return samples


def _encoded(
    config: LatentsConfig, vae: AutoencoderKL, samples: list[Sample], shard: LatentShard, start: int
) -> dict[str, Tensor]:
    if shard.view % 2:
        samples = [flipped(sample) for sample in samples]
    images = [sample.image for sample in samples]
    if shard.view:
        purpose = 1000 + shard.view * 100 + shard.dataset
        looks = draws(config.seed, start, purpose)
        images = [vary_appearance(image, config.appearance, looks) for image in images]
    pictures = {
        "image": images,
        "depth": [annotation(sample, "depth", config.depth_map) for sample in samples],
        "normal": [annotation(sample, "normal") for sample in samples],
    }
    masks = {
        "known_depth": [known(sample, "depth") for sample in samples],
        "known_normal": [known(sample, "normal") for sample in samples],
    }
    encoded = {key: encode_pictures(vae, torch.stack(value)) for key, value in pictures.items()}
    cells = {key: known_cells(torch.stack(value)[:, None])[:, 0] for key, value in masks.items()}
    return {**encoded, **cells}
