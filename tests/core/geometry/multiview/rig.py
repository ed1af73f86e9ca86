"""A textured room with a ball, seen from places whose depth and normals follow from algebra.

Convention:
    World: x right, y down, z into the room, metres. The room is a box and the ball hangs in its middle, so a ray
    from inside meets the nearest of six planes, or the ball before them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from lotus_core.conventions import DepthKind
from lotus_core.geometry.camera import Camera, intrinsics_from_fov, pixel_rays
from lotus_core.types import DepthPrediction, JointPrediction, ModelInfo, NormalPrediction

LOWER, UPPER = (-2.5, -1.3, -2.0), (2.2, 1.5, 6.0)
BALL, RADIUS = (0.3, 0.5, 3.0), 0.7
TARGET = (0.1, 0.3, 3.2)
HEIGHT, WIDTH = 48, 64


@dataclass(frozen=True)
class View:
    """What one camera sees: (H, W) z-depth, (H, W, 3) normals in its frame, (H, W, 3) picture."""

    camera: Camera
    depth: Tensor
    normals: Tensor
    picture: Tensor


def look_from(
    x: float,
    y: float,
    z: float,
    *,
    at: Sequence[float] = TARGET,
    fov: float = 60.0,
    height: int = HEIGHT,
    width: int = WIDTH,
) -> Camera:
    """Return a camera with +y down that looks at a point."""
    eye = torch.tensor([x, y, z])
    forward = functional.normalize(torch.tensor(at) - eye, dim=0)
    right = functional.normalize(torch.linalg.cross(torch.tensor([0.0, 1.0, 0.0]), forward), dim=0)
    pose = torch.eye(4)
    pose[:3, :3] = torch.stack([right, torch.linalg.cross(forward, right), forward], dim=1)
    pose[:3, 3] = eye
    return Camera(intrinsics_from_fov(fov, height, width)[0], pose, width, height)


def arc(count: int, *, spread_deg: float = 50.0, height: int = HEIGHT, width: int = WIDTH) -> list[Camera]:
    """Return cameras on an arc of radius 3 around the target."""
    cameras = []
    for step in torch.linspace(-0.5, 0.5, count).tolist():
        angle = math.radians(spread_deg) * step
        x, z = TARGET[0] + 3 * math.sin(angle), TARGET[2] - 3 * math.cos(angle)
        cameras.append(look_from(x, -0.2 + 0.3 * step, z, height=height, width=width))
    return cameras


def see(camera: Camera) -> View:
    """Return what a camera inside the room sees."""
    rays = pixel_rays(camera.intrinsics[None], camera.height, camera.width)[0].double()
    pose = camera.world_from_camera.double()
    eye, way = pose[:3, 3], rays @ pose[:3, :3].T
    bound = torch.where(way > 0, torch.tensor(UPPER).double(), torch.tensor(LOWER).double())
    reach, axis = ((bound - eye) / torch.where(way == 0, 1e-12, way)).min(dim=-1)
    normal = -functional.one_hot(axis, 3) * way.sign()
    offset = eye - torch.tensor(BALL).double()  # |offset + t way| = RADIUS
    a, b, c = way.square().sum(-1), way @ offset, offset @ offset - RADIUS**2
    root = b.square() - a * c
    hit = (-b - root.clamp_min(0).sqrt()) / a
    on_ball = (root > 0) & (hit > 0) & (hit < reach)
    depth = torch.where(on_ball, hit, reach)
    points = eye + way * depth[..., None]
    normal = torch.where(on_ball[..., None], (points - torch.tensor(BALL).double()) / RADIUS, normal)
    return View(camera, depth.float(), (normal @ pose[:3, :3]).float(), paint(points.float()))


def paint(points: Tensor) -> Tensor:
    """Return the colours of world points (..., 3): soft blotches about 30 cm wide, everywhere different."""
    generator = torch.Generator().manual_seed(5)
    waves = torch.randn(24, 3, generator=generator) * 9.0
    phase = torch.rand(24, generator=generator) * 2 * math.pi
    tint = torch.rand(24, 3, generator=generator)
    light = (points @ waves.T + phase).sin() @ tint / 24
    return (0.5 + 1.2 * light).clamp(0, 1)


def surface_distance(points: Tensor) -> Tensor:
    """Return how far world points (P, 3) lie from the nearest wall or the ball."""
    low, high = torch.tensor(LOWER), torch.tensor(UPPER)
    walls = torch.minimum((points - low).abs(), (points - high).abs()).amin(dim=-1)
    return torch.minimum(walls, ((points - torch.tensor(BALL)).norm(dim=-1) - RADIUS).abs())


def predict(view: View, kind: DepthKind = "depth") -> JointPrediction:
    """Return a perfect network's maps: affine-invariant, scaled to [0, 1] for each picture alone."""
    exact = view.depth if kind == "depth" else 1 / view.depth
    values = (exact - exact.min()) / (exact.max() - exact.min())
    info = ModelInfo("exact", "d", kind, 768, "here", "here", 1, 1)
    return JointPrediction(
        DepthPrediction(values[None], kind, None, info), NormalPrediction(view.normals[None], None, info)
    )


def truth(view: View, kind: DepthKind) -> tuple[float, float]:
    """Return the scale and shift that a perfect alignment finds for `predict`'s map.

    z = scale (v + shift) for depth, so scale is the range and shift = min / range; likewise 1 / z.
    """
    exact = view.depth if kind == "depth" else 1 / view.depth
    low, span = float(exact.min()), float(exact.max() - exact.min())
    return (span if kind == "depth" else 1 / span), low / span


def turned(camera: Camera, degrees: float) -> Camera:
    """Return a camera with a wrong pose: turned about its own y axis."""
    angle = math.radians(degrees)
    pose = camera.world_from_camera.clone()
    turn = [[math.cos(angle), 0, math.sin(angle)], [0, 1, 0], [-math.sin(angle), 0, math.cos(angle)]]
    pose[:3, :3] = pose[:3, :3] @ torch.tensor(turn)
    return Camera(camera.intrinsics, pose, camera.width, camera.height)
