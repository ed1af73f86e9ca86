"""Opens the data sets that a config names."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from .annotation import Target
from .config import DiskData, LatentData, SceneData
from .feed import Indexed
from .latents import LatentExample, LatentSet, open_latent_sets
from .sample import Sample
from .scene_set import SceneSet, open_scene_sets

ItemT = TypeVar("ItemT")


@dataclass(frozen=True)
class Sources(Generic[ItemT]):
    """Data sets, each of one picture size, and how often they are drawn.

    Attributes:
        datasets: The sets.
        shares: Relative frequency of each.
    """

    datasets: tuple[Indexed[ItemT], ...]
    shares: tuple[float, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of examples of each."""
        return tuple(len(dataset) for dataset in self.datasets)


def open_pictures(data: Iterable[SceneData | DiskData]) -> Sources[Sample]:
    """Return the data sets of a config as pictures.

    A set of scenes is split by picture size, and each part drawn as often as its number of scenes says.

    Raises:
        StorageError: A folder does not hold its data set.
    """
    datasets: list[Indexed[Sample]] = []
    shares: list[float] = []
    for entry in data:
        folder = Path(entry.folder).expanduser()
        if entry.kind == "scenes":
            parts = open_scene_sets(folder)
            datasets += parts
            shares += _split(entry.share, parts)
        else:
            readers = importlib.import_module(".data", __package__)
            datasets.append(readers.open_dataset(entry.kind, folder, split=entry.split, size=entry.size))
            shares.append(entry.share)
    return Sources(tuple(datasets), tuple(shares))


def open_examples(
    data: Sequence[SceneData | DiskData | LatentData], target: Target
) -> Sources[Sample | LatentExample]:
    """Return the data sets of a config, those of latents as latents.

    Raises:
        StorageError: A folder does not hold its data set.
    """
    datasets: list[Indexed[Sample | LatentExample]] = []
    shares: list[float] = []
    for entry in data:
        if entry.kind == "latents":
            parts = open_latent_sets(Path(entry.folder).expanduser(), target)
            datasets += parts
            shares += _split(entry.share, parts)
        else:
            pictures = open_pictures([entry])
            datasets += pictures.datasets
            shares += pictures.shares
    return Sources(tuple(datasets), tuple(shares))


def _split(share: float, parts: Sequence[SceneSet | LatentSet]) -> list[float]:
    return [share * len(part) / sum(map(len, parts)) for part in parts]
