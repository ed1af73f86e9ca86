"""Truncated signed distances of fused depth maps, block by block, so that memory stays bounded.

Convention:
    Space is cut into cubes of `BLOCK` voxels a side in world axes. A voxel stores how far it lies in front of the
    surface (positive) or behind it (negative), in voxels, between -1 and +1 truncation, averaged over the views that
    see it. Sample (i, j, k) of a block lies at ``origin + (block * BLOCK + (i, j, k)) * voxel``; a block's samples
    include the first ones of the next block, so that surfaces of neighbours meet exactly.

Source: Curless and Levoy, "A volumetric method for building complex models from range images" (1996).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ...errors import GeometryError
from ..camera import Camera, pixel_rays
from ..points import transform_points

BLOCK = 32
"""Voxels along a block's side: one block's samples take 144 kB a view."""

TRUNCATION = 4.0
"""Distance in voxels beyond which a voxel only counts as free space, or not at all behind the surface."""

FADE = 0.1
"""Distance behind the surface, in truncations, from which a view counts less and less: it may be another's free
space. Up to there errors of the depth average out."""

MAX_BLOCKS = 400_000
"""More surface than this many blocks of 32 voxels is a voxel size chosen wrongly."""

EDGE = 0.1
"""Share by which depths of neighbouring pixels may differ and still be interpolated."""


@dataclass(frozen=True)
class DepthView:
    """One view to be fused.

    Attributes:
        depth: (H, W) float32 z-depth, in the unit of the pose.
        weight: (H, W) float32, 0 where it is not believed.
        cosine: (H, W) float32 in [0, 1], between the ray and the surface's normal: it turns distances along the
            ray into distances from the surface.
        image: (H, W, 3) float32 in [0, 1], or None.
        camera: Of the same size.
    """

    depth: Tensor
    weight: Tensor
    cosine: Tensor
    image: Tensor | None
    camera: Camera


@dataclass(frozen=True)
class BlockField:
    """Signed distances of one block.

    Attributes:
        block: Index of the block along the world's axes.
        distance: (B + 1, B + 1, B + 1) float32, in truncations; positive in front of the surface.
        weight: (B + 1, B + 1, B + 1) float32, 0 where no view measured.
        colour: (B + 1, B + 1, B + 1, 3) float32, or None.
    """

    block: tuple[int, int, int]
    distance: Tensor
    weight: Tensor
    colour: Tensor | None


def surface_blocks(views: Sequence[DepthView], origin: Tensor, voxel: float) -> Tensor:
    """Return the blocks within a truncation of any measured point, (M, 3) int64 on the CPU, sorted.

    Raises:
        GeometryError: There are none, or more than `MAX_BLOCKS`.
    """
    reach = TRUNCATION * voxel
    found = [torch.zeros(0, 3, dtype=torch.int64)]
    for view in views:
        points = _world_points(view)
        # Cells two reaches wide, grown by one reach on every side, are narrower than a block: their corners tell
        # all blocks that they touch.
        cells = _distinct(torch.floor((points - origin.to(points)) / (2 * reach)).long()).double()
        for corner in torch.cartesian_prod(*[torch.tensor([-0.5, 1.5], dtype=torch.float64)] * 3):
            found.append(_distinct(torch.floor((cells + corner) * (2 * TRUNCATION / BLOCK)).long()))
    blocks = _distinct(torch.cat(found))
    if len(blocks) == 0:
        raise GeometryError(
            "no view measures any surface",
            found=f"{len(views)} views",
            remedy="check the poses: no view supports another",
        )
    if len(blocks) > MAX_BLOCKS:
        raise GeometryError(
            "the voxels are too small for this scene",
            found=f"{len(blocks)} blocks of {BLOCK} voxels a side at {voxel:.3g} a voxel",
            remedy=f"choose voxels of at least {voxel * (len(blocks) / MAX_BLOCKS) ** 0.5:.3g}",
        )
    return blocks


def integrate(
    views: Sequence[DepthView],
    blocks: Tensor,
    origin: Tensor,
    voxel: float,
    *,
    device: torch.device | None = None,
) -> Iterator[BlockField]:
    """Yield the fused distances of one block after another.

    Args:
        views: What was measured.
        blocks: (M, 3) int64, from `surface_blocks`.
        origin: (3,) float, world, of block (0, 0, 0).
        voxel: Side of a voxel.
        device: Where to compute; None: where the depths are.
    """
    target = views[0].depth.device if device is None else device
    line = torch.arange(BLOCK + 1, device=target)
    grid = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), dim=-1).reshape(-1, 3)
    prepared = [_prepare(view, target) for view in views]
    start = origin.to(device=target, dtype=torch.float32)
    for block in blocks.tolist():
        # Whole numbers first: neighbours compute their common samples from the same numbers.
        index = grid + torch.tensor(block, device=target) * BLOCK
        points = start + index.float() * voxel
        distance, weight, colour = _fuse(prepared, points, voxel)
        shape = (BLOCK + 1,) * 3
        yield BlockField(
            block=(block[0], block[1], block[2]),
            distance=distance.reshape(shape),
            weight=weight.reshape(shape),
            colour=None if colour is None else colour.reshape(*shape, 3),
        )


@dataclass(frozen=True)
class _Prepared:
    """A view as one stack of channels: 1 / depth, weight, cosine, and the picture."""

    stack: Tensor
    depth: Tensor
    rotation: Tensor
    centre: Tensor
    intrinsics: Tensor


def _prepare(view: DepthView, device: torch.device) -> _Prepared:
    believed = (view.weight > 0) & torch.isfinite(view.depth) & (view.depth > 0)
    inverse = torch.where(believed, view.depth, torch.ones_like(view.depth)).reciprocal()
    channels = [inverse[None], (view.weight * believed)[None], view.cosine[None]]
    if view.image is not None:
        channels.append(view.image.permute(2, 0, 1))
    pose = view.camera.world_from_camera.float().to(device)
    return _Prepared(
        stack=torch.cat([channel.float().to(device) for channel in channels])[None],
        depth=torch.where(believed, view.depth, torch.zeros_like(view.depth)).to(device),
        rotation=pose[:3, :3],
        centre=pose[:3, 3],
        intrinsics=view.camera.intrinsics.float().to(device),
    )


def _fuse(views: Sequence[_Prepared], points: Tensor, voxel: float) -> tuple[Tensor, Tensor, Tensor | None]:
    """Weighted mean of the distances that the views measure at points (P, 3)."""
    total, weight = torch.zeros_like(points[:, 0]), torch.zeros_like(points[:, 0])
    colour = torch.zeros_like(points) if any(view.stack.shape[1] > 3 for view in views) else None
    colour_weight = torch.zeros_like(weight)
    for view in views:
        local = (points - view.centre) @ view.rotation
        z = local[:, 2]
        front = z > 1e-6
        if not bool(front.any()):
            continue
        k = view.intrinsics
        pixels = local[:, :2] / torch.where(front, z, torch.ones_like(z))[:, None]
        pixels = pixels * torch.stack([k[0, 0], k[1, 1]]) + k[:2, 2]
        height, width = view.depth.shape
        inside = front & (pixels >= 0).all(-1) & (pixels[:, 0] < width) & (pixels[:, 1] < height)
        if not bool(inside.any()):
            continue
        values, known = _interpolate(view, pixels, inside)
        surface = 1.0 / values[0]
        ahead = (surface - z) * values[2] / (TRUNCATION * voxel)
        # Behind the surface a view knows less and less; where it grazes it measures worse.
        use = known & (ahead > -1)
        fade = ((1 + ahead) / (1 - FADE)).clamp(0, 1).square()
        w = torch.where(use, values[1] * values[2] * fade, torch.zeros_like(z))
        total += w * ahead.clamp(-1, 1)
        weight += w
        if colour is not None and values.shape[0] > 3:
            near = torch.where(ahead.abs() < 1, w, torch.zeros_like(w))
            colour += near[:, None] * values[3:6].T
            colour_weight += near
    if colour is not None:
        colour = colour / colour_weight.clamp_min(1e-12)[:, None]
    return total / weight.clamp_min(1e-12), weight, colour


def _interpolate(view: _Prepared, pixels: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """Channels (C, P) at pixels (P, 2), bilinear among four pixels of one surface, and where there are such."""
    height, width = view.depth.shape
    size = pixels.new_tensor([width, height])
    smooth = functional.grid_sample(
        view.stack,
        (pixels / size * 2 - 1).clamp(-2, 2)[None, None],
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )[0, :, 0]
    x = (pixels[:, 0] - 0.5).floor().long().clamp(0, width - 2)
    y = (pixels[:, 1] - 0.5).floor().long().clamp(0, height - 2)
    corners = torch.stack([view.depth[y + dy, x + dx] for dy in (0, 1) for dx in (0, 1)])
    one_surface = corners.amax(0) < corners.amin(0) * (1 + EDGE)  # false where a corner is not believed
    return smooth, inside & one_surface


def _distinct(rows: Tensor) -> Tensor:
    """The different rows of (P, 3) whole numbers, sorted, on the CPU."""
    if len(rows) == 0:
        return rows.cpu()
    rows = rows.cpu()
    low = rows.amin(dim=0)
    size = (rows.amax(dim=0) - low + 1).tolist()
    key = ((rows[:, 0] - low[0]) * size[1] + (rows[:, 1] - low[1])) * size[2] + (rows[:, 2] - low[2])
    key = key.unique()
    z = key % size[2]
    y = key // size[2] % size[1]
    return torch.stack([key // (size[1] * size[2]), y, z], dim=-1) + low


def _world_points(view: DepthView) -> Tensor:
    """(P, 3) world points of the believed pixels."""
    rays = pixel_rays(view.camera.intrinsics.float().to(view.depth.device)[None], *view.depth.shape)[0]
    believed = (view.weight > 0) & torch.isfinite(view.depth) & (view.depth > 0)
    points = (rays * view.depth[..., None])[believed]
    return transform_points(points, view.camera.world_from_camera.float().to(points.device))
