"""The constants and conventions of Lotus, each in its one home.

Convention:
    The camera frame of this library is OpenCV's: +x right, +y down, +z forward (into the scene). A surface
    that faces the camera has ``n_z < 0``; a wall seen head-on is ``(0, 0, -1)``. Pixel centres lie at +0.5.
    Lotus paints a normal as ``rgb = n * 0.5 + 0.5`` with R = left, G = up, B = toward the camera, so that
    head-on wall is ``(0.5, 0.5, 1.0)``.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Final, Literal

Mode = Literal["g", "d"]
"""Generative (image latents and noise go in) or discriminative (image latents alone)."""

OutputKind = Literal["depth", "disparity", "normal"]
"""What a checkpoint estimates. depth: affine-invariant, high = far. disparity: affine-invariant, high = near."""

DepthKind = Literal["depth", "disparity"]

Task = Literal["annotation", "reconstruction"]
"""Position of the task switcher: the map, or (the detail preserver) the image back."""

Part = Literal["unet", "vae"]

TIMESTEP: Final = 999
"""The one timestep. Source: Lotus (arXiv 2409.18124), section 4.2: single-step, t = T."""

LATENT_CHANNELS: Final = 4
LATENT_STRIDE: Final = 8
"""Pixels per latent cell along one side (AutoencoderKL of Stable Diffusion 2)."""

SD_VAE_SCALE: Final = 0.18215
"""Latent scaling factor of Stable Diffusion 1 and 2, where a file states none."""

DEFAULT_RESOLUTION: Final = 768
"""Longest side, in pixels, at which published checkpoints work best."""

MIN_SIDE: Final = 16
MAX_RESOLUTION: Final = 8192

_TASK_ANGLES: Final = {"annotation": (1.0, 0.0), "reconstruction": (0.0, 1.0)}


def task_embedding(task: Task) -> tuple[float, float, float, float]:
    """Return the class label of the task switcher, ``[sin a, sin b, cos a, cos b]``.

    ``(a, b)`` is (1, 0) for the annotation and (0, 1) for the reconstruction: for "annotation" the
    label is ``(0.84147, 0.0, 0.54030, 1.0)``.

    Source: Lotus, section 4.4 (detail preserver).
    """
    a, b = _TASK_ANGLES[task]
    return math.sin(a), math.sin(b), math.cos(a), math.cos(b)


class NormalConvention(str, Enum):
    """How a normal map is painted, ``rgb = s * n * 0.5 + 0.5``: what a high red, green and blue mean."""

    LOTUS = "lotus"
    """R left, G up, B toward the camera. Also DSINE and ControlNet 1.1 normalbae."""
    OPENGL = "opengl"
    """R right, G up, B toward: Blender, Unity, glTF, Marigold."""
    DIRECTX = "directx"
    """R right, G down, B toward: Unreal."""
    OPENCV = "opencv"
    """R right, G down, B away: the raw vectors of this library."""

    @property
    def signs_from_opencv(self) -> tuple[float, float, float]:
        """Signs that take an OpenCV vector to this convention's (R, G, B) directions."""
        return _NORMAL_SIGNS[self]


_NORMAL_SIGNS: Final = {
    NormalConvention.LOTUS: (-1.0, -1.0, -1.0),
    NormalConvention.OPENGL: (1.0, -1.0, -1.0),
    NormalConvention.DIRECTX: (1.0, 1.0, -1.0),
    NormalConvention.OPENCV: (1.0, 1.0, 1.0),
}
