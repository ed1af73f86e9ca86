"""Scenes of the procedural renderer as a benchmark: exact truth, any number of pictures, no download."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import OptionError
from ..training.scenes import Frame, sample_frame
from .samples import DepthSample, NormalSample, Rules

FARTHEST_M = 80.0
"""Metres; farther surfaces are left out, as in the training of the published checkpoints (Virtual KITTI 2)."""


@dataclass(frozen=True)
class SceneRange:
    """Which scenes: one for each seed of a range.

    Attributes:
        first_seed: First seed.
        count: Number of scenes.
        height: Pixels down.
        width: Pixels across.
        layout: Name of a layout, or None for a mixture of all.
        supersample: Rays squared in each pixel of the picture.

    Raises:
        OptionError: A negative seed, no scenes, or a side under 16 pixels.
    """

    first_seed: int
    count: int
    height: int = 128
    width: int = 128
    layout: str | None = None
    supersample: int = 1

    def __post_init__(self) -> None:
        if self.first_seed < 0:
            raise OptionError("--seeds-from", self.first_seed, "an integer of at least 0")
        if self.count < 1:
            raise OptionError("--count", self.count, "an integer of at least 1")
        if min(self.height, self.width) < 16:
            raise OptionError("--size", f"{self.width}x{self.height}", "at least 16 pixels on each side")

    @property
    def rules(self) -> Rules:
        """How it is scored."""
        return Rules("scenes", nearest_m=1e-3, farthest_m=FARTHEST_M)

    def names(self) -> list[str]:
        """Return the seeds, as text."""
        return [str(seed) for seed in range(self.first_seed, self.first_seed + self.count)]

    def frame(self, name: str, *, colour: bool = True) -> Frame:
        """Return the rendered scene of a seed; without its colour it is quicker."""
        return sample_frame(
            int(name),
            layout=self.layout,
            height=self.height,
            width=self.width,
            colour=colour,
            supersample=self.supersample,
        )


@dataclass(frozen=True)
class RenderedScenes:
    """What depth and normals of rendered scenes have in common.

    Attributes:
        scenes: Which.
    """

    scenes: SceneRange

    @property
    def rules(self) -> Rules:
        """How they are scored."""
        return self.scenes.rules

    def names(self) -> list[str]:
        """Return the seeds, as text."""
        return self.scenes.names()


class SceneDepth(RenderedScenes):
    """Depth of rendered scenes."""

    def load(self, name: str, *, colour: bool = True) -> DepthSample:
        """Return the scene of a seed; what is farther than `FARTHEST_M` does not count."""
        frame = self.scenes.frame(name, colour=colour)
        valid = frame.valid & self.rules.in_range(frame.depth)
        return DepthSample(name, frame.rgb, frame.depth, valid)


class SceneNormals(RenderedScenes):
    """Normals of rendered scenes."""

    def load(self, name: str, *, colour: bool = True) -> NormalSample:
        """Return the scene of a seed; every surface counts, the sky does not."""
        frame = self.scenes.frame(name, colour=colour)
        return NormalSample(name, frame.rgb, frame.normals, frame.valid)
