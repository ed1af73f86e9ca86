"""What a network would make of a rendered frame: clipped, blurred, noisy, and known only up to scale and shift.

The levels are those of the study that found the method: noise of the depth as a share of it (standard deviation, a
field that is smooth over 1/16 of the width, plus a seventh of it for each pixel alone), noise of the normals (root
mean square angle of a field as smooth, and of each pixel alone), Gaussian blur of the map and the normals, and
clipping of the map to its 2 % and 98 % quantiles before the blur.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from lotus_core.conventions import DepthKind
from lotus_core.training.scenes import Frame

SMOOTH_SHARE: Final = 1.0 / 16.0
GRAIN: Final = 0.14


@dataclass(frozen=True)
class Level:
    """How bad the maps are.

    Attributes:
        depth: Standard deviation of the depth's error as a share of it.
        smooth_deg: Root mean square angle of the smooth error of the normals, degrees.
        grain_deg: The same of each pixel alone.
        blur: Standard deviation of the blur in pixels of a picture 256 wide.
        clip: Share of the map that is clipped at either end.
    """

    depth: float
    smooth_deg: float
    grain_deg: float
    blur: float
    clip: float


LEVELS: Final = {
    "clean": Level(0.0, 0.0, 0.0, 0.0, 0.0),
    "mild": Level(0.01, 4.0, 2.0, 1.5, 0.02),
    "medium": Level(0.02, 6.0, 3.0, 2.5, 0.02),
    "hard": Level(0.05, 12.0, 5.0, 4.0, 0.02),
}


@dataclass(frozen=True)
class Maps:
    """A network's maps of one frame, and what only the benchmark knows.

    Attributes:
        values: (H, W) float32 in [0, 1], depth or disparity.
        normals: (H, W, 3) float32 unit vectors, OpenCV camera frame.
        kind: Of the values.
        oracle: (H, W) float32, z-depth in metres from the values by their true scale and shift.
        scored: (H, W) bool, pixels on surfaces that are not clipped: the others hold no depth.
    """

    values: Tensor
    normals: Tensor
    kind: DepthKind
    oracle: Tensor
    scored: Tensor


def network_maps(frame: Frame, kind: DepthKind, level: Level, seed: int) -> Maps:
    """Return what a network of a quality would estimate of a frame."""
    generator = torch.Generator().manual_seed(seed)
    height, width = frame.depth.shape
    far = 2.0 * frame.depth[frame.valid].max()
    depth = torch.where(frame.valid, frame.depth, far)
    exact = depth if kind == "depth" else 1.0 / depth
    blur, smooth = level.blur * width / 256, width * SMOOTH_SHARE
    ends = torch.quantile(exact[frame.valid], torch.tensor([level.clip, 1.0 - level.clip]))
    low, high = float(ends[0]), float(ends[1])
    inside = exact.clamp(low, high) if level.clip else exact
    blurred = gaussian_blur(inside[None], blur)[0]
    grain = torch.randn(height, width, generator=generator) * GRAIN
    error = 1.0 + level.depth * (_field(1, height, width, smooth, generator)[0] + grain)
    noisy = blurred * error if kind == "depth" else blurred / error
    values = ((noisy - low) / (high - low)).clamp(0.0, 1.0)
    resolved = values * (high - low) + low
    return Maps(
        values=values,
        normals=_noisy_normals(frame, level, blur, smooth, generator),
        kind=kind,
        oracle=resolved if kind == "depth" else 1.0 / resolved,
        scored=frame.valid & (values > 0) & (values < 1) if level.clip else frame.valid,
    )


def gaussian_blur(planes: Tensor, sigma: float) -> Tensor:
    """Return (C, H, W) planes blurred by a Gaussian, the border pixels repeated."""
    if sigma <= 0:
        return planes
    radius = int(3 * sigma + 0.5)
    steps = torch.arange(-radius, radius + 1.0)
    kernel = torch.exp(-steps.square() / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    padded = functional.pad(planes[:, None], (radius, radius, radius, radius), mode="replicate")
    rows = functional.conv2d(padded, kernel.view(1, 1, 1, -1))
    return functional.conv2d(rows, kernel.view(1, 1, -1, 1))[:, 0]


def _field(count: int, height: int, width: int, sigma: float, generator: torch.Generator) -> Tensor:
    """Return smooth noise with a standard deviation of 1, (count, H, W)."""
    noise = gaussian_blur(torch.randn(count, height, width, generator=generator), sigma)
    return noise / noise.std((1, 2), keepdim=True)


def _noisy_normals(
    frame: Frame, level: Level, blur: float, smooth: float, generator: torch.Generator
) -> Tensor:
    height, width = frame.depth.shape
    toward = torch.tensor([0.0, 0.0, -1.0])
    exact = torch.where(frame.valid[..., None], frame.normals, toward)
    blurred = functional.normalize(gaussian_blur(exact.movedim(-1, 0), blur), dim=0)
    # An angle's square is shared by the two axes of the tangent plane.
    error = _field(3, height, width, smooth, generator) * (math.radians(level.smooth_deg) / math.sqrt(2.0))
    error += torch.randn(3, height, width, generator=generator) * (
        math.radians(level.grain_deg) / math.sqrt(2.0)
    )
    return functional.normalize(blurred + error, dim=0).movedim(0, -1)
