"""What a training example is: one picture with its geometry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ..errors import ShapeError


@dataclass(frozen=True)
class Sample:
    """One picture with depth and normals, on the CPU.

    Attributes:
        image: (3, H, W) float32, sRGB in [-1, 1].
        depth: (H, W) float32, z-depth (not the distance along the ray) in metres, or up to one scale per picture;
            any value where neither `valid` nor `sky`; +infinity in the sky.
        normal: (3, H, W) float32 unit vectors in Lotus's own frame: +x left, +y up, +z toward the camera, so that
            ``normal * 0.5 + 0.5`` is Lotus's picture of it; zero where unknown and in the sky.
        valid: (H, W) bool, where depth and normal are both known.
        sky: (H, W) bool, where nothing is hit; never where `valid`.
        name: What a message calls it, such as its path in the data set.

    Raises:
        ShapeError: The parts are of different sizes.
    """

    image: Tensor
    depth: Tensor
    normal: Tensor
    valid: Tensor
    sky: Tensor
    name: str

    def __post_init__(self) -> None:
        height, width = self.image.shape[-2:]
        expected = {
            "image": (3, height, width),
            "depth": (height, width),
            "normal": (3, height, width),
            "valid": (height, width),
            "sky": (height, width),
        }
        for field, shape in expected.items():
            found = tuple(getattr(self, field).shape)
            if found != shape:
                raise ShapeError(
                    f"{field} of {self.name}",
                    found,
                    str(shape),
                    remedy="give all parts the size of the image",
                )


class Dataset(Protocol):
    """A data set that can be read in any order.

    `__getitem__` raises `lotus_core.errors.CorruptSampleError` for an example that cannot be read: training skips it,
    counts it and names it. It is called from several threads.
    """

    def __len__(self) -> int:
        """Return the number of examples."""
        ...

    def __getitem__(self, index: int) -> Sample:
        """Return one example."""
        ...
