"""What several views say together about each pixel's depth.

Once scales and shifts are known, neighbouring views measure most surfaces several times with independent errors.
Every neighbour gives an estimate for a pixel: its own surface, met along the pixel's ray. The estimate that most
views support, averaged over its supporters, replaces the pixel's depth; a pixel that no neighbour supports is told
apart: it is seen once, or it flies between two surfaces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..camera import Camera, invert_rigid, pixel_rays

TOLERANCE = 0.04
"""Difference of ln z within which two views mean the same surface."""

ROUNDS = 2
"""Estimates start from the pixel's own depth; from the second round on from the last result."""

LEAST_INCIDENCE = 0.25
"""A neighbour that looks along the surface moves its estimate by more than this share allows: it is held."""

EDGE = 0.1
"""Difference of ln z between a neighbour's pixels across which it is not interpolated."""


@dataclass(frozen=True)
class Consensus:
    """Depth of one view after its neighbours were heard.

    Attributes:
        depth: (H, W) float32 z-depth.
        supporters: (H, W) uint8, how many neighbours see the same surface there.
    """

    depth: Tensor
    supporters: Tensor


def reach_consensus(
    index: int,
    depths: Sequence[Tensor],
    valid: Sequence[Tensor],
    cameras: Sequence[Camera],
    near: Sequence[int],
) -> Consensus:
    """Return one view's depth as it and its neighbours see it.

    Args:
        index: The view.
        depths: N z-depth maps (H_i, W_i) float32, in the unit of the poses.
        valid: N masks (H_i, W_i) bool.
        cameras: N cameras, of the maps' sizes.
        near: Indices of the neighbours.

    Returns:
        The consensus; where the view itself is not valid its depth is kept and nobody supports it.
    """
    own = depths[index].log()
    usable = valid[index] & torch.isfinite(own)
    start = torch.where(usable, own, torch.zeros_like(own))
    device = own.device
    rays = pixel_rays(cameras[index].intrinsics.to(device)[None], *own.shape)[0]
    current = start
    count = torch.zeros_like(own)
    for _ in range(ROUNDS):
        estimates, seen = [start], [usable]
        for other in near:
            estimate, meets = _estimate(
                current, rays, cameras[index], depths[other], valid[other], cameras[other]
            )
            estimates.append(estimate)
            seen.append(meets & usable)
        current, count = _most_supported(torch.stack(estimates), torch.stack(seen))
    depth = torch.where(usable, current.exp(), depths[index])
    return Consensus(depth, (count - 1).clamp_min(0).to(torch.uint8))


def _estimate(
    log_depth: Tensor, rays: Tensor, camera: Camera, other_depth: Tensor, other_valid: Tensor, other: Camera
) -> tuple[Tensor, Tensor]:
    """Where a pixel's ray meets the other view's surface, to first order from the present depth.

    Returns:
        (H, W) ln z along the ray, and whether it meets a surface there.
    """
    device = log_depth.device
    pose = (
        (invert_rigid(other.world_from_camera.double()) @ camera.world_from_camera.double())
        .float()
        .to(device)
    )
    along = (rays * log_depth.exp()[..., None]) @ pose[:3, :3].T
    point = along + pose[:3, 3]
    front = point[..., 2] > 1e-6
    z = torch.where(front, point[..., 2], torch.ones_like(log_depth))
    k = other.intrinsics.float().to(device)
    focal = torch.stack([k[0, 0], k[1, 1]])
    pixels = point[..., :2] / z[..., None] * focal + k[:2, 2]
    stretch = along[..., 2] / z
    motion = focal * (along[..., :2] - point[..., :2] * stretch[..., None]) / z[..., None]
    surface, slope, met = _look_up(other_depth, other_valid, pixels)
    residual = surface - z.log()
    incidence = stretch - (slope * motion).sum(dim=-1)
    held = torch.where(incidence.abs() < LEAST_INCIDENCE, incidence.sign() * LEAST_INCIDENCE, incidence)
    step = residual / torch.where(held == 0, torch.full_like(held, LEAST_INCIDENCE), held)
    return log_depth + step, front & met & (step.abs() < 2 * TOLERANCE)


def _look_up(depth: Tensor, valid: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Depth at positions (H, W, 2): ln z, its slope per pixel, and where both are known.

    ln z comes from interpolated 1 / z, which is exact on planes, from four pixels of one surface.
    """
    height, width = depth.shape
    position = pixels - 0.5
    x, y = position.floor().unbind(-1)
    fx, fy = (position - position.floor()).unbind(-1)
    column, row = x.clamp(0, width - 2).long(), y.clamp(0, height - 2).long()
    known = (x >= 0) & (y >= 0) & (x < width - 1) & (y < height - 1)
    flat = row * width + column
    inverse, mask = depth.reciprocal().flatten(), valid.flatten()
    a, b, c, d = (inverse[flat + offset] for offset in (0, 1, width, width + 1))
    for offset in (0, 1, width, width + 1):
        known = known & mask[flat + offset]
    corners = torch.stack([a, b, c, d])
    whole = corners.amax(0) < corners.amin(0).clamp_min(0) * (1 + EDGE)
    value = (a * (1 - fx) + b * fx) * (1 - fy) + (c * (1 - fx) + d * fx) * fy
    safe = torch.where(known & whole, value, torch.ones_like(value))
    slope_x = -((b - a) * (1 - fy) + (d - c) * fy) / safe
    slope_y = -((c - a) * (1 - fx) + (d - b) * fx) / safe
    return -safe.log(), torch.stack([slope_x, slope_y], dim=-1), known & whole


def _most_supported(estimates: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of the largest group of (K, H, W) estimates that lie together, and its size.

    The first estimate is the pixel's own, and wins a draw.
    """
    count = len(estimates)
    best = torch.zeros_like(estimates[0])
    result = estimates[0]
    for k in range(count):
        near = ((estimates - estimates[k]).abs() < TOLERANCE) & seen & seen[k]
        size = near.sum(dim=0).float()
        better = size > best
        mean = torch.where(near, estimates, 0.0).sum(dim=0) / size.clamp_min(1)
        result = torch.where(better, mean, result)
        best = torch.where(better, size, best)
    return result, best


def disagreement(
    depths: Sequence[Tensor],
    valid: Sequence[Tensor],
    cameras: Sequence[Camera],
    near: Sequence[Sequence[int]],
) -> float:
    """Return the median difference of ln z between views, over what each view and its first neighbour both see.

    Args:
        depths: N z-depth maps (H_i, W_i) float32, in the unit of the poses.
        valid: N masks (H_i, W_i) bool.
        cameras: N cameras, of the maps' sizes.
        near: N lists of neighbours, best first.

    Returns:
        The median, or infinity where no two views meet.
    """
    differences = []
    for index, row in enumerate(near):
        own = torch.where(valid[index], depths[index], torch.ones_like(depths[index])).log()
        rays = pixel_rays(cameras[index].intrinsics.to(own)[None], *own.shape)[0]
        other = row[0]
        estimate, meets = _estimate(own, rays, cameras[index], depths[other], valid[other], cameras[other])
        differences.append((estimate - own)[meets & valid[index]].abs().cpu())
    every = torch.cat(differences)
    return float(every.median()) if every.numel() else float("inf")


def neighbours(cameras: Sequence[Camera], most: int = 6) -> list[list[int]]:
    """Return for each view the views that stand nearest among those that look roughly the same way, best first.

    Views within 75 degrees count; a missing one is replaced by the nearest of the others, so that a view has
    at least one neighbour.

    Args:
        cameras: N of them.
        most: Neighbours of a view.

    Returns:
        N lists of indices.
    """
    centres = torch.stack([c.world_from_camera[:3, 3] for c in cameras]).double()
    axes = functional.normalize(torch.stack([c.world_from_camera[:3, 2] for c in cameras]).double(), dim=-1)
    apart = torch.cdist(centres, centres)
    alike = axes @ axes.T
    # Half a turn away costs as much as ten times the usual distance.
    cost = apart / apart[apart > 0].median().clamp_min(1e-12) + 10 * (1 - alike) / 2
    cost = cost + torch.where(alike < 0.26, 100.0, 0.0)
    cost.fill_diagonal_(float("inf"))
    order = cost.argsort(dim=1)[:, : min(most, len(cameras) - 1)]
    result = []
    for index, row in enumerate(order.tolist()):
        facing = [j for j in row if float(alike[index, j]) >= 0.26]
        result.append(facing or row[:1])
    return result
