"""Which way is up in the world of a set of poses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..camera import Camera
from ..mesh import Mesh


def opencv_from_world(cameras: Sequence[Camera]) -> Tensor:
    """Return the quarter turns that bring a world nearest to OpenCV's axes, (3, 3) float32, determinant 1.

    The world's axis that the cameras' down points along most becomes +y, that which they look along most among
    the others +z. A world with z up, seen along +y, becomes ``(x, -z, y)``; COLMAP's own worlds often stay as they
    are.

    Args:
        cameras: At least one.
    """
    rotations = torch.stack([camera.world_from_camera[:3, :3].cpu().double() for camera in cameras])
    down, forward = rotations[:, :, 1].mean(dim=0), rotations[:, :, 2].mean(dim=0)
    y = _nearest_axis(down, torch.zeros(3, dtype=torch.float64))
    z = _nearest_axis(forward, y)
    return torch.stack([torch.linalg.cross(y, z), y, z]).float()


def turn_mesh(mesh: Mesh, target_from_source: Tensor) -> Mesh:
    """Return a mesh whose vertices and normals are turned by a (3, 3) rotation."""
    turn = target_from_source.to(mesh.vertices)
    normals = None if mesh.normals is None else mesh.normals @ turn.T
    return replace(mesh, vertices=mesh.vertices @ turn.T, normals=normals)


def _nearest_axis(direction: Tensor, taken: Tensor) -> Tensor:
    """Signed unit axis nearest to a direction, other than one that is taken."""
    free = torch.where(taken != 0, 0.0, direction)
    index = int((free.abs() - (taken != 0).double()).argmax())
    axis = torch.zeros(3, dtype=torch.float64)
    axis[index] = 1.0 if float(direction[index]) >= 0 else -1.0
    return axis
