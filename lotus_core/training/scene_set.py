"""A set of rendered scenes on disk: written once, in shards of one picture size, and read in any order."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import CorruptFileError, CorruptSampleError, StorageError
from ..io.atomic import write_bytes
from .sample import Sample
from .scenes import Frame, sample_frame
from .shards import shards_by_size

_NAME = re.compile(r"scenes-\d+-(?P<height>\d+)x(?P<width>\d+)\.safetensors")
_NORMAL_STEPS = 127.0


@dataclass(frozen=True)
class SceneShard:
    """A run of consecutive seeds rendered at one size.

    Attributes:
        index: Its place in the set.
        height: Pixels down.
        width: Pixels across.
        first_seed: Of its first scene.
        count: Scenes in it.
        supersample: Rays along each side of a pixel.
    """

    index: int
    height: int
    width: int
    first_seed: int
    count: int
    supersample: int

    @property
    def file_name(self) -> str:
        """Name of its file, such as ``scenes-00003-128x192.safetensors``."""
        return f"scenes-{self.index:05d}-{self.height}x{self.width}.safetensors"


def plan_shards(
    first_seed: int,
    count: int,
    per_shard: int,
    sizes: Sequence[tuple[int, int]],
    supersample: Sequence[int] = (1,),
) -> tuple[SceneShard, ...]:
    """Return the shards of a set: sizes and sampling take turns, the last shard holds what is left."""
    return tuple(
        SceneShard(
            index,
            *sizes[index % len(sizes)],
            first_seed + start,
            min(per_shard, count - start),
            supersample[index % len(supersample)],
        )
        for index, start in enumerate(range(0, count, per_shard))
    )


def write_shard(folder: Path, shard: SceneShard, stop: Callable[[], bool] = lambda: False) -> bool:
    """Render the scenes of a shard to its file, whole or not at all.

    Args:
        folder: Of the set.
        shard: Which scenes.
        stop: Asked before each scene; True gives the shard up.

    Returns:
        Whether the shard is written.

    Raises:
        StorageError: The disk refuses the file.
    """
    frames: list[Frame] = []
    for seed in range(shard.first_seed, shard.first_seed + shard.count):
        if stop():
            return False
        frames.append(
            sample_frame(seed, height=shard.height, width=shard.width, supersample=shard.supersample)
        )
    write_bytes(folder / shard.file_name, save(packed(frames), {"first_seed": str(shard.first_seed)}))
    return True


def packed(frames: list[Frame]) -> dict[str, Tensor]:
    """Return frames as they are kept on disk.

    Returns:
        rgb (N, 3, H, W) uint8; depth (N, H, W) float16 in metres, infinite in the sky, exact to 0.05 %; normal
        (N, 3, H, W) int8, 127 times the unit vector in Lotus's frame, exact to 0.4 degrees.
    """
    rgb = torch.stack([frame.rgb for frame in frames]).movedim(-1, 1)
    normal = torch.stack([-frame.normals for frame in frames]).movedim(
        -1, 1
    )  # OpenCV to Lotus: all three flip
    return {
        "rgb": (rgb * 255).round().to(torch.uint8).contiguous(),
        "depth": torch.stack([frame.depth for frame in frames]).half(),
        "normal": (normal * _NORMAL_STEPS).round().to(torch.int8).contiguous(),
    }


class SceneSet:
    """The shards of a set that have one picture size, as a `Dataset`.

    Args:
        files: Shards, all of the same size.
    """

    def __init__(self, files: tuple[Path, ...]) -> None:
        self._files = files
        self._counts = [_count(file) for file in files]
        self._open: dict[int, Any] = {}

    def __len__(self) -> int:
        return sum(self._counts)

    def __getitem__(self, index: int) -> Sample:
        """Return one scene.

        Raises:
            CorruptSampleError: Its shard is damaged.
        """
        shard, row = self._locate(index)
        name = f"{self._files[shard].name}[{row}]"
        try:
            if shard not in self._open:
                # one handle a shard, kept: the file is mapped, and a scene is a slice of it
                self._open[shard] = safe_open(self._files[shard], framework="pt")
            rgb, depth, normal = (self._open[shard].get_slice(key)[row] for key in ("rgb", "depth", "normal"))
        except (SafetensorError, OSError) as error:
            raise CorruptSampleError(
                f"the scene {name} cannot be read",
                path=self._files[shard],
                found=str(error),
                remedy="render its shard again",
            ) from error
        depth = depth.float()
        sky = depth.isinf()
        return Sample(
            image=rgb.float() / 127.5 - 1,
            depth=depth,
            normal=torch.nn.functional.normalize(normal.float(), dim=0),
            valid=~sky,
            sky=sky,
            name=name,
        )

    def _locate(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        shard = 0
        while index >= self._counts[shard]:
            index -= self._counts[shard]
            shard += 1
        return shard, index


def open_scene_sets(folder: Path) -> tuple[SceneSet, ...]:
    """Return the sets of a folder, one for each picture size, in the order of sizes.

    Raises:
        StorageError: The folder holds no shard.
    """
    groups = shards_by_size(folder, _NAME)
    if not groups:
        raise StorageError(
            f"{folder} holds no rendered scenes",
            found="no file scenes-*.safetensors",
            remedy="render them first with a config whose stage is scenes",
        )
    return tuple(SceneSet(files) for files in groups)


def _count(file: Path) -> int:
    try:
        with safe_open(file, framework="pt") as shard:
            return int(shard.get_slice("depth").get_shape()[0])
    except (SafetensorError, OSError) as error:
        raise CorruptFileError(
            f"the shard {file.name} cannot be read",
            path=file,
            found=str(error),
            remedy="delete it and render it again",
        ) from error
