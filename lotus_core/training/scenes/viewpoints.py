"""Random cameras of a scene: single ones, several around one target, and moving ones."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from ...geometry.camera import Camera, intrinsics_from_fov
from .builder import Vector, Viewpoints
from .render import render
from .scene import Scene

FOV_X_DEG = (35.0, 90.0)
"""Range of horizontal fields of view, from a short telephoto to a wide angle."""

UP = np.array([0.0, 0.0, 1.0])


def look_at(eye: Vector, target: Vector, roll_deg: float = 0.0) -> Tensor:
    """Return world_from_camera of a camera that looks at a point, (4, 4) float32.

    The camera's +y points down in the world (+z up) unless it is rolled: clockwise in the picture's sense
    for positive degrees.
    """
    forward = np.asarray(target, float) - np.asarray(eye, float)
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, UP)
    if np.linalg.norm(right) < 1e-6:  # straight up or down: any direction can be right
        right = np.array([1.0, 0.0, 0.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    cos, sin = math.cos(math.radians(roll_deg)), math.sin(math.radians(roll_deg))
    pose = np.eye(4)
    pose[:3, :3] = np.stack([cos * right + sin * down, cos * down - sin * right, forward], axis=1)
    pose[:3, 3] = eye
    return torch.from_numpy(pose).float()


def make_camera(pose: Tensor, fov_x_deg: float, height: int, width: int) -> Camera:
    """Return a camera with a pose, a horizontal field of view in degrees and a size in pixels."""
    return Camera(intrinsics_from_fov(fov_x_deg, height, width)[0], pose, width, height)


def sample_camera(
    scene: Scene,
    views: Viewpoints,
    rng: Generator,
    height: int,
    width: int,
    fov_x_deg: tuple[float, float] = FOV_X_DEG,
) -> Camera:
    """Return a random camera that stands free and sees something.

    The best of up to six drawn cameras is taken: each is tried in a thumbnail, until one has nothing nearer
    than the viewpoints' limit and sky on less than 60 % of it.
    """
    best, best_score = None, -math.inf
    for _ in range(6):
        eye = rng.uniform(*views.eye)
        target = rng.uniform(*views.target)
        pose = look_at(eye, target, float(rng.normal(0, views.roll_deg)))
        fov = float(rng.uniform(*fov_x_deg))
        score = _view_score(scene, views, make_camera(pose, fov, 18, 24))
        if score > best_score:
            best, best_score = (pose, fov), score
        if score >= 1.0:
            break
    assert best is not None
    return make_camera(*best, height, width)


def orbit(
    scene: Scene,
    views: Viewpoints,
    rng: Generator,
    count: int,
    height: int,
    width: int,
    *,
    arc_deg: float = 50.0,
) -> list[Camera]:
    """Return cameras spread along an arc around what the first one looks at, all with one field of view.

    Args:
        scene: The world.
        views: Where its cameras may stand.
        rng: Source of randomness.
        count: Number of cameras.
        height: Pixels down.
        width: Pixels across.
        arc_deg: Angle between the first and the last camera, seen from the target.
    """
    first = sample_camera(scene, views, rng, height, width)
    frame = render(scene, make_camera(first.world_from_camera, first.fov_x_deg, 18, 24), colour=False)
    reach = float(frame.depth[frame.valid].median()) if bool(frame.valid.any()) else 3.0
    pose = first.world_from_camera.double().numpy()
    eye, target = pose[:3, 3], pose[:3, 3] + pose[:3, 2] * reach
    lift = float(rng.uniform(-0.1, 0.1)) * reach
    cameras = []
    for step in np.linspace(0.0, 1.0, max(count, 1)):
        angle = math.radians(arc_deg) * (step - 0.5)
        cos, sin = math.cos(angle), math.sin(angle)
        offset = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]]) @ (eye - target)
        moved = target + offset + UP * lift * math.sin(math.pi * step)
        moved = _keep_inside(scene, moved)
        cameras.append(make_camera(look_at(moved.tolist(), target.tolist()), first.fov_x_deg, height, width))
    return cameras


def dolly(camera: Camera, rng: Generator, frames: int, frames_per_second: float) -> list[Camera]:
    """Return the cameras of a clip: forward, sideways and turning slowly from a first one."""
    velocity = rng.normal(0, [0.25, 0.08, 0.5]).tolist()  # metres per second, camera frame
    yaw_rate, pitch_rate = rng.normal(0, [0.12, 0.04]).tolist()  # radians per second
    cameras = []
    for index in range(frames):
        t = index / frames_per_second
        pose = camera.world_from_camera.clone()
        turn = _turn(yaw_rate * t, pitch_rate * t)
        pose[:3, 3] += pose[:3, :3] @ torch.tensor(velocity, dtype=pose.dtype) * t
        pose[:3, :3] = pose[:3, :3] @ turn
        cameras.append(Camera(camera.intrinsics, pose, camera.width, camera.height))
    return cameras


def _view_score(scene: Scene, views: Viewpoints, thumbnail: Camera) -> float:
    frame = render(scene, thumbnail, colour=False)
    seen = frame.depth[frame.valid]
    if seen.numel() == 0:
        return -1.0
    free = min(float(seen.min()) / views.nearest, 1.0)
    share = min(seen.numel() / frame.depth.numel() / 0.4, 1.0)
    surfaces = min(len(frame.surface.unique()) / 5, 1.0)
    return min(free, share, surfaces)


def _keep_inside(scene: Scene, eye: np.ndarray) -> np.ndarray:
    if scene.room is None:
        return np.maximum(eye, [-math.inf, -math.inf, 0.1])
    return np.clip(eye, scene.room.lower.numpy() + 0.1, scene.room.upper.numpy() - 0.1)


def _turn(yaw: float, pitch: float) -> Tensor:
    """Rotation about the camera's own +y (to the right) and +x (upwards)."""
    a, b = torch.tensor(yaw), torch.tensor(pitch)
    zero, one = torch.tensor(0.0), torch.tensor(1.0)
    rows: Sequence[Tensor] = (a.cos(), zero, a.sin(), zero, one, zero, -a.sin(), zero, a.cos())
    about_y = torch.stack(list(rows)).view(3, 3)
    rows = (one, zero, zero, zero, b.cos(), -b.sin(), zero, b.sin(), b.cos())
    return about_y @ torch.stack(list(rows)).view(3, 3)
