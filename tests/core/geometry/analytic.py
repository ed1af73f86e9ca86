"""Scenes whose depth and normals follow from algebra alone."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lotus_core.conventions import DepthKind
from lotus_core.geometry.camera import intrinsics_from_fov, pixel_rays

ROOM = (
    ((0.0, -1.0, 0.0), 1.5),  # floor, 1.5 below the camera
    ((0.0, 1.0, 0.0), 1.2),  # ceiling
    ((1.0, 0.0, 0.0), 2.0),  # left wall
    ((-1.0, 0.0, 0.0), 1.6),  # right wall
    ((0.0, 0.0, -1.0), 5.0),  # far wall
)
"""Inward normals and distances of a room's planes in a level camera frame."""


def room(
    fov_x_deg: float, height: int = 96, width: int = 128, turn_deg: float = 25.0
) -> tuple[Tensor, Tensor]:
    """Return (H, W) z-depth and (H, W, 3) normals of a room seen by a camera turned to its side.

    A plane with inward normal n at distance h from the camera is n . P = -h, so along the ray r the depth is
    -h / (n . r); of all planes in front the nearest is seen.
    """
    angle = torch.deg2rad(torch.tensor(turn_deg))
    turn = torch.tensor([[angle.cos(), 0.0, -angle.sin()], [0.0, 1.0, 0.0], [angle.sin(), 0.0, angle.cos()]])
    rays = pixel_rays(intrinsics_from_fov(fov_x_deg, height, width), height, width)[0]
    normals = torch.tensor([normal for normal, _ in ROOM]) @ turn.T
    distances = torch.tensor([distance for _, distance in ROOM])
    against = rays @ normals.T  # (H, W, planes)
    depth = torch.where(against < 0, -distances / against.clamp_max(-1e-9), float("inf"))
    nearest, which = depth.min(-1)
    return nearest, normals[which]


def plane(
    fov_x_deg: float,
    normal: tuple[float, float, float],
    height: int = 96,
    width: int = 128,
    distance: float = 3.0,
) -> tuple[Tensor, Tensor]:
    """Return (H, W) z-depth and (H, W, 3) normals of one plane."""
    rays = pixel_rays(intrinsics_from_fov(fov_x_deg, height, width), height, width)[0]
    unit = functional.normalize(torch.tensor(normal), dim=0)
    return -distance / (rays @ unit), unit.expand(height, width, 3)


def network_map(depth: Tensor, kind: DepthKind) -> tuple[Tensor, float]:
    """Return the map scaled to [0, 1], and the shift that a perfect calibration finds, low / span."""
    exact = depth if kind == "depth" else 1.0 / depth
    low, span = exact.min(), exact.max() - exact.min()
    return (exact - low) / span, float(low / span)


def median_scaled_error(depth: Tensor, truth: Tensor) -> float:
    """Return the mean relative error after median scaling."""
    return float(((depth * (truth.median() / depth.median()) - truth).abs() / truth).mean())


def angle_deg(first: Tensor, second: Tensor) -> Tensor:
    """Return the angles between unit vectors in degrees."""
    return torch.rad2deg(2 * ((first - second).norm(dim=-1) / 2).clamp(0, 1).asin())
