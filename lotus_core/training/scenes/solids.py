"""Convex solids as affine images of four canonical bodies, and the ray's path through them.

Convention:
    World frame: +x right, +y forward, +z up, metres. A solid's local frame is scaled by its half sizes, so
    that every body fits the cube [-1, 1]^3: the cube itself, the unit ball, the upright cylinder
    x^2 + y^2 <= 1, and the ramp x + z <= 0 of the cube.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor

SolidKind = Literal["box", "ball", "cylinder", "ramp"]

KINDS: Final[tuple[SolidKind, ...]] = ("box", "ball", "cylinder", "ramp")


@dataclass(frozen=True)
class Solids:
    """N solids, sorted by kind.

    Attributes:
        kind: (N,) int64, index into `KINDS`, ascending.
        centre: (N, 3) float32, world, metres.
        rotation: (N, 3, 3) float32, world_from_local, orthonormal.
        half_size: (N, 3) float32, metres along the local axes, positive.
        material: (N,) int64, index into the scene's materials.
        velocity: (N, 3) float32, world, metres per second.
        spin: (N,) float32, radians per second about the world's +z through the centre.
    """

    kind: Tensor
    centre: Tensor
    rotation: Tensor
    half_size: Tensor
    material: Tensor
    velocity: Tensor
    spin: Tensor

    def __len__(self) -> int:
        return self.kind.shape[0]

    def ranges(self) -> list[tuple[SolidKind, slice]]:
        """Return which rows hold which kind, empty kinds left out."""
        counts = torch.bincount(self.kind, minlength=len(KINDS)).tolist()
        out: list[tuple[SolidKind, slice]] = []
        start = 0
        for name, count in zip(KINDS, counts, strict=True):
            if count:
                out.append((name, slice(start, start + count)))
            start += count
        return out

    def corners(self) -> Tensor:
        """Return the corners of the local cubes, (N, 8, 3) float32, world."""
        signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)  # (8, 3)
        local = signs * self.half_size[:, None]
        return self.centre[:, None] + local @ self.rotation.mT

    def local_from_world(self) -> Tensor:
        """Return the linear part that takes world directions to canonical ones, (N, 3, 3) float32."""
        return self.rotation.mT / self.half_size[:, :, None]


def path_inside(kind: SolidKind, origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Return where rays enter and leave a canonical body.

    Args:
        kind: Which body.
        origin: (..., 3) float, local frame.
        direction: (..., 3) float, local frame, any length.

    Returns:
        (t_in, t_out), each (...) float, in units of ``direction``; t_in > t_out where the ray misses.
    """
    # An axis along which the ray does not move divides by zero; a tiny step keeps the sign of both bounds.
    safe = torch.where(direction.abs() < 1e-12, torch.full_like(direction, 1e-12), direction)
    if kind == "ball":
        return _quadric((origin * direction).sum(-1), direction.square().sum(-1), origin.square().sum(-1))
    near, far = _slabs(origin, safe)
    if kind == "cylinder":
        o, d = origin[..., :2], direction[..., :2]
        t_in, t_out = _quadric((o * d).sum(-1), d.square().sum(-1).clamp_min(1e-20), o.square().sum(-1))
        return torch.maximum(t_in, near[..., 2]), torch.minimum(t_out, far[..., 2])
    t_in, t_out = near.amax(-1), far.amin(-1)
    if kind == "ramp":
        height = origin[..., 0] + origin[..., 2]
        slope = safe[..., 0] + safe[..., 2]
        crossing = -height / torch.where(slope.abs() < 1e-12, torch.full_like(slope, 1e-12), slope)
        t_in = torch.where(slope < 0, torch.maximum(t_in, crossing), t_in)
        t_out = torch.where(slope > 0, torch.minimum(t_out, crossing), t_out)
    return t_in, t_out


def local_normal(kind: SolidKind, point: Tensor) -> Tensor:
    """Return the outward gradient of the bounding face at points on a canonical body's surface.

    Args:
        kind: Which body.
        point: (M, 3) float, local frame, on the surface.

    Returns:
        (M, 3) float, local frame, not unit length.
    """
    if kind == "ball":
        return point
    excess = point.abs() - 1.0  # of the faces' constraints, the active one is nearest to 0
    if kind == "cylinder":
        radial = point[:, :2].norm(dim=-1) - 1.0
        side = torch.cat([point[:, :2], torch.zeros_like(point[:, :1])], dim=-1)
        cap = torch.zeros_like(point)
        cap[:, 2] = point[:, 2].sign()
        return torch.where((radial > excess[:, 2])[:, None], side, cap)
    axis = excess.argmax(-1, keepdim=True)
    face = torch.zeros_like(point).scatter_(-1, axis, point.gather(-1, axis).sign())
    if kind == "ramp":
        on_slope = (point[:, 0] + point[:, 2]) > excess.amax(-1)
        face = torch.where(on_slope[:, None], point.new_tensor([1.0, 0.0, 1.0]), face)
    return face


def _slabs(origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    inverse = direction.reciprocal()
    middle, reach = -origin * inverse, inverse.abs()
    return middle - reach, middle + reach


def _quadric(half_b: Tensor, a: Tensor, squared_distance: Tensor) -> tuple[Tensor, Tensor]:
    """Solve a t^2 + 2 half_b t + squared_distance - 1 <= 0."""
    discriminant = half_b.square() - a * (squared_distance - 1.0)
    root = discriminant.clamp_min(0.0).sqrt()
    missed = discriminant < 0
    t_in = torch.where(missed, torch.full_like(root, float("inf")), (-half_b - root) / a)
    return t_in, torch.where(missed, torch.full_like(root, float("-inf")), (-half_b + root) / a)
