"""Rendered clips with exact depth, and what a network without memory would make of them.

A clip is a procedural scene seen by a still, a turning or an advancing camera, with one near ball that crosses the
picture and comes closer. `network_maps` adds what a network adds to every frame by itself: noise, blur, and a scale
and shift of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from lotus_core.conventions import DepthKind
from lotus_core.geometry.camera import Camera
from lotus_core.training.scenes import Scene, Solids, render, sample_view
from lotus_core.training.scenes.solids import KINDS

Motion = Literal["static", "pan", "dolly"]

MOTIONS: Final[tuple[Motion, ...]] = get_args(Motion)
LAYOUTS: Final = ("room", "tabletop", "clutter", "street")

_PAN_RAD: Final = math.radians(15.0)  # over the whole clip
_DOLLY_SHARE: Final = 0.15  # of the median depth, over the whole clip
_SCALE_SD: Final = 0.096  # of ln scale, per frame: the untreated pumping of the study
_SHIFT_SD: Final = 0.04  # per frame, as a share of the map's range


@dataclass(frozen=True)
class Clip:
    """A rendered clip.

    Attributes:
        rgb: (T, H, W, 3) float32 in [0, 1]; black where the clip was rendered without colour.
        depth_m: (T, H, W) float32 z-depth in metres, infinite in the sky.
        mover: (T, H, W) bool, the moving ball.
        name: Layout and motion.
    """

    rgb: Tensor
    depth_m: Tensor
    mover: Tensor
    name: str


@dataclass(frozen=True)
class NetworkMaps:
    """What a network would estimate, and the truth in the same unit.

    Attributes:
        values: (T, H, W) float32 in [0, 1], with noise, blur and a scale and shift per frame.
        truth: (T, H, W) float32, about [0.1, 0.9]: the clip's exact affine map, without any of these.
        valid: (T, H, W) bool, where `values` is not clipped and the truth is inside its range.
        scale: (T,) float32, the scale given to every frame.
        kind: "depth" or "disparity".
    """

    values: Tensor
    truth: Tensor
    valid: Tensor
    scale: Tensor
    kind: DepthKind


def render_clip(
    seed: int,
    layout: str,
    motion: Motion,
    *,
    frames: int = 72,
    height: int = 192,
    width: int = 256,
    colour: bool = True,
) -> Clip:
    """Return a clip of a procedural scene with one near mover."""
    scene, camera = sample_view(seed, layout=layout, height=height, width=width, fov_x_deg=(55.0, 65.0))
    still = render(scene, camera, colour=False)
    middle = float(still.depth[still.valid].median())
    scene, mover = _with_mover(scene, camera, middle, frames)
    rgb, depth, moving, gain = [], [], [], None
    for index in range(frames):
        share = index / max(frames - 1, 1)
        place = _moved(camera, motion, share, middle)
        frame = render(scene.at_time(float(index)), place, colour=colour, gain=gain)
        gain = frame.gain
        rgb.append(frame.rgb)
        depth.append(frame.depth)
        moving.append(frame.surface == mover)
    return Clip(torch.stack(rgb), torch.stack(depth), torch.stack(moving), f"{layout} {motion}")


def network_maps(
    clip: Clip, kind: DepthKind, *, seed: int = 0, noise: float = 0.02, drift: bool = True
) -> NetworkMaps:
    """Return the maps of a network that forgets every frame.

    Args:
        clip: The clip.
        kind: "depth" or "disparity".
        seed: Of the noise and the drift.
        noise: Standard deviation of the depth's noise, as a share of the depth.
        drift: Whether every frame gets a scale and a shift of its own.
    """
    generator = torch.Generator().manual_seed(seed)
    depth = clip.depth_m
    grain = _blur(torch.randn(depth.shape, generator=generator), 1.0)
    noisy = depth * (1.0 + noise * grain / grain.std())
    truth, low, span = _affine(depth, kind)
    values = ((noisy if kind == "depth" else 1.0 / noisy) - low) / span * 0.8 + 0.1
    values = _blur(values.clamp(-1.0, 2.0), 1.0)
    inside = (truth > 0.02) & (truth < 0.98)
    scale = torch.ones(len(depth))
    if drift:
        scale = torch.exp(_SCALE_SD * torch.randn(len(depth), generator=generator))
        shift = _SHIFT_SD * torch.randn(len(depth), generator=generator)
        centred = (values - 0.5) * scale[:, None, None]
        values = 0.5 + centred * 0.8 + shift[:, None, None]
    values = values.clamp(0.0, 1.0)
    return NetworkMaps(values, truth, inside & (values > 0.004) & (values < 0.996), scale, kind)


def _affine(depth: Tensor, kind: DepthKind) -> tuple[Tensor, Tensor, Tensor]:
    """Return the clip's map with its 2nd and 98th percentiles at 0.1 and 0.9, and the two numbers that made it."""
    values = depth if kind == "depth" else 1.0 / depth
    finite = values[torch.isfinite(depth)]
    low, high = torch.quantile(finite[:: max(1, finite.numel() // 2**20)], torch.tensor([0.02, 0.98]))
    span = (high - low).clamp_min(1e-9)
    return ((values - low) / span * 0.8 + 0.1).clamp(0.0, 1.0), low, span


def _blur(maps: Tensor, sigma: float) -> Tensor:
    reach = math.ceil(3 * sigma)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma).square())
    kernel = kernel / kernel.sum()
    padded = F.pad(maps[:, None], (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))[:, 0]


def _moved(camera: Camera, motion: Motion, share: float, middle: float) -> Camera:
    pose = camera.world_from_camera.clone()
    if motion == "pan":
        angle = torch.tensor(_PAN_RAD * (share - 0.5))
        turn = torch.eye(3)
        turn[0, 0] = turn[2, 2] = angle.cos()
        turn[0, 2], turn[2, 0] = angle.sin(), -angle.sin()
        pose[:3, :3] = pose[:3, :3] @ turn
    elif motion == "dolly":
        pose[:3, 3] += pose[:3, 2] * _DOLLY_SHARE * middle * share
    return Camera(camera.intrinsics, pose, camera.width, camera.height)


def _with_mover(scene: Scene, camera: Camera, middle: float, frames: int) -> tuple[Scene, int]:
    """Return the scene with a ball that crosses the near half of the view, and the ball's row."""
    start = torch.tensor([-0.30, 0.02, 0.55]) * middle
    end = torch.tensor([0.22, -0.03, 0.40]) * middle
    pose = camera.world_from_camera
    centre = pose[:3, :3] @ start + pose[:3, 3]
    velocity = pose[:3, :3] @ (end - start) / max(frames - 1, 1)  # per frame: frame numbers are the time
    still = scene.solids
    ball = Solids(
        kind=torch.tensor([KINDS.index("ball")]),
        centre=centre[None],
        rotation=torch.eye(3)[None],
        half_size=torch.full((1, 3), 0.11 * middle),
        material=still.material[:1],
        velocity=velocity[None],
        spin=torch.zeros(1),
    )
    fields = {
        name: torch.cat([getattr(still, name), getattr(ball, name)])
        for name in ("kind", "centre", "rotation", "half_size", "material", "velocity", "spin")
    }
    fields["velocity"][:-1] = 0.0  # the ball alone moves
    fields["spin"][:-1] = 0.0
    order = torch.argsort(fields["kind"], stable=True)  # rows are sorted by kind
    solids = Solids(**{name: value[order] for name, value in fields.items()})
    return replace(scene, solids=solids), int((order == len(still)).nonzero())
