"""Paints points as a camera sees them, and sets pictures beside each other."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from lotus_core.geometry.camera import Camera
from lotus_core.geometry.joint import JointGeometry
from lotus_core.geometry.points import project, transform_points

GAP = 4
PICTURE_WIDTH = 320


def beside(camera: Camera, distance: float, turn_deg: float = 30.0) -> Tensor:
    """Return the pose of a camera that stands beside another one and looks at what is a distance in front of it.

    Args:
        camera: The other camera.
        distance: From it to what both look at, in the unit of its pose.
        turn_deg: Angle between the two, seen from there.

    Returns:
        (4, 4) float32, world_from_camera.
    """
    angle = math.radians(turn_deg)
    cos, sin = math.cos(angle), math.sin(angle)
    # It turns about the target and a third of its angle downwards, then steps back a little.
    pose = torch.eye(4)
    pose[:3, :3] = torch.tensor([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    down = math.radians(turn_deg / 3)
    tilt = torch.tensor(
        [[1, 0, 0], [0, math.cos(down), -math.sin(down)], [0, math.sin(down), math.cos(down)]]
    )
    pose[:3, :3] = pose[:3, :3] @ tilt.T
    pose[:3, 3] = torch.tensor([0.0, 0.0, distance]) - 1.2 * distance * pose[:3, 2]
    return camera.world_from_camera.float() @ pose


def side_view(geometry: JointGeometry, rgb: Tensor, keep: Tensor) -> Tensor:
    """Return the points of one picture that are kept, (H, W) bool, as a camera beside it sees them."""
    height, width = rgb.shape[:2]
    here = Camera(geometry.intrinsics[0], torch.eye(4), width, height)
    distance = float(geometry.points[0][keep][:, 2].median())
    eye = Camera(here.intrinsics, beside(here, distance), width, height)
    return paint_points(eye, geometry.points[0][keep], rgb[keep])


def paint_points(eye: Camera, points: Tensor, colours: Tensor) -> Tensor:
    """Return what a camera sees of (N, 3) world points, painted as 2 x 2 pixel squares: (H, W, 3) in [0, 1]."""
    height, width = eye.height, eye.width
    inside = transform_points(points.float(), eye.camera_from_world.float())
    pixels, depth = (part[0] for part in project(inside[None], eye.intrinsics.float()[None]))
    order = depth.argsort(descending=True)
    order = order[(depth[order] > 0.01) & pixels[order].isfinite().all(-1)]  # the nearest last
    picture = torch.ones(height, width, 3)
    nearest = torch.zeros(height * width, dtype=torch.int64)
    for dx in (0, 1):
        for dy in (0, 1):
            column, row_ = (pixels[order, axis].floor().long() + step for axis, step in ((0, dx), (1, dy)))
            seen = (column >= 0) & (column < width) & (row_ >= 0) & (row_ < height)
            rank = torch.arange(1, len(order) + 1)[seen]
            nearest.scatter_reduce_(0, (row_ * width + column)[seen], rank, "amax")
    painted = (nearest > 0).view(height, width)
    picture[painted] = colours.float()[order][nearest.view(height, width)[painted] - 1]
    return picture


def row(pictures: list[Tensor]) -> Tensor:
    """Set pictures beside each other, scaled to one width, with gaps."""
    parts = []
    for picture in pictures:
        height = round(PICTURE_WIDTH * picture.shape[0] / picture.shape[1])
        scaled = torch.nn.functional.interpolate(
            picture.movedim(-1, 0)[None], (height, PICTURE_WIDTH), mode="bilinear", antialias=True
        )[0].movedim(0, -1)
        parts.append(torch.nn.functional.pad(scaled.clamp(0, 1), (0, 0, GAP, GAP, GAP, GAP), value=1.0))
    return torch.cat(parts, dim=1)


def save_sheet(path: Path, sheet: Tensor) -> None:
    """Write a picture, (H, W, 3) in [0, 1], as JPEG, and say what was written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((sheet * 255).round().byte().numpy()).save(path, quality=85)
    print(f"{path}: {sheet.shape[1]} x {sheet.shape[0]}, {path.stat().st_size // 1000} kB")
