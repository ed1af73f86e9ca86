"""What a benchmark gives: pictures with their truth, and the rules by which a data set is scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

Purpose = Literal["depth", "normal"]


@dataclass(frozen=True)
class DepthSample:
    """One picture with its true depth.

    Attributes:
        name: What it is called in its data set.
        rgb: (H, W, 3) float32 in [0, 1].
        depth: (H, W) float32 z-depth in metres, positive where valid.
        valid: (H, W) bool, pixels that count.
    """

    name: str
    rgb: Tensor
    depth: Tensor
    valid: Tensor


@dataclass(frozen=True)
class NormalSample:
    """One picture with its true normals.

    Attributes:
        name: What it is called in its data set.
        rgb: (H, W, 3) float32 in [0, 1].
        normals: (H, W, 3) float32 in the OpenCV camera frame, about unit length where valid.
        valid: (H, W) bool, pixels that count.
    """

    name: str
    rgb: Tensor
    normals: Tensor
    valid: Tensor


@dataclass(frozen=True)
class Rules:
    """How a data set is scored.

    Attributes:
        dataset: The data set's name.
        published_images: Number of pictures behind published figures, or None where there are none.
        resolution: Longest side at which a model works; 0: the picture's own size.
        nearest_m: Depths that count, metres: nearer ones are masked in the truth and clipped in the prediction.
        farthest_m: Likewise, farther ones; may be infinite.
        fit_max_side: Longest side of the maps that scale and shift are fitted on, or None for all pixels.
    """

    dataset: str
    published_images: int | None = None
    resolution: int = 0
    nearest_m: float = 1e-3
    farthest_m: float = float("inf")
    fit_max_side: int | None = None

    def in_range(self, depth: Tensor) -> Tensor:
        """Return where a true depth counts, bool; NaN and infinity never do."""
        return (depth > self.nearest_m) & (depth < self.farthest_m) & depth.isfinite()


Sample_co = TypeVar("Sample_co", DepthSample, NormalSample, covariant=True)


class Benchmark(Protocol[Sample_co]):
    """A data set that can be scored on.

    Attributes:
        rules: How.
    """

    @property
    def rules(self) -> Rules:
        """How it is scored."""
        ...

    def names(self) -> list[str]:
        """Return the names of all pictures, in order."""
        ...

    def load(self, name: str) -> Sample_co:
        """Return one picture and its truth.

        Raises:
            CorruptSampleError: A file of it is missing or damaged.
        """
        ...
