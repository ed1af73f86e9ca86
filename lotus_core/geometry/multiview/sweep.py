"""Depths by stereo: where the pictures of neighbouring views agree, found by sweeping a small range of depths.

Depth maps that agree with each other can still be wrong together: on a smooth surface a common error of scale moves
the maps along themselves. Texture sees that motion. The maps say where to look and how the surface is turned; the
sweep compares small patches on that plane by normalised cross-correlation, which ignores exposure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..anchors import DepthAnchors
from ..camera import invert_rigid
from .views import Affine, Pairs, Views

SWEEP_SIDE = 384
"""Longest side of the grey pictures that are compared."""

BLOCK = 7
"""One patch is taken from each block of this many working cells squared, where the picture changes most."""

PATCH = 5
"""Samples along a patch's side."""

SPACING = 1.5
"""Distance between a patch's samples in pixels of the grey picture."""

LEAST_CONTRAST = 0.012
"""Standard deviation of grey within a patch, below which it is noise."""

LEAST_PEAK = 0.8
"""Correlation at the best depth, averaged over the better half of the neighbours, that is believed."""

PEAK_WIDTH = 0.04
"""Change of ln z within which the correlation falls from its peak."""

LEAST_DROP = 0.1
"""Fall of the correlation at that distance: less is an edge along the line of search."""

LEAST_LEAD = 0.05
"""Lead over the second best peak: less is a repeating pattern."""


UNSEEN = -1.0
"""Stands for the correlation of a patch that is flat or that too few neighbours see."""


@dataclass(frozen=True)
class Sweep:
    """What a search found.

    Attributes:
        depths: In pixels of the working grid; possibly none.
        tried: (N,) int64, patches with contrast that neighbours see, for each view.
    """

    depths: DepthAnchors
    tried: Tensor


def grey_pictures(images: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Return all pictures as grey of one size, (N, h, w) float32.

    Args:
        images: N pictures (H_i, W_i, 3) float, [0, 1].
        size: (h, w) of the views' working grid; the result has the same aspect.
    """
    scale = SWEEP_SIDE / max(size)
    target = (round(size[0] * scale), round(size[1] * scale))
    weights = torch.tensor([0.299, 0.587, 0.114])
    grey = [(image.cpu().float() @ weights)[None, None] for image in images]
    return torch.cat(
        [
            functional.interpolate(g, target, mode="bilinear", antialias=True, align_corners=False)[0]
            for g in grey
        ]
    )


def sweep_depths(
    views: Views, grey: Tensor, pairs: Pairs, affine: Affine, *, reach: float, steps: int, block: int = BLOCK
) -> Sweep:
    """Return depths at which neighbouring pictures agree.

    Args:
        views: The views.
        grey: (N, h2, w2) float, from `grey_pictures`.
        pairs: Which views are neighbours; their samples are not used.
        affine: Present scales and shifts.
        reach: Largest change of ln z that is tried.
        steps: Depths tried on either side.
        block: One patch is taken from each block of this many cells squared.

    Returns:
        What was found.
    """
    offsets = torch.linspace(-reach, reach, 2 * steps + 1)
    found = [(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 2), torch.zeros(0))]
    tried = torch.zeros(len(views.low), dtype=torch.int64)
    for index in range(len(views.low)):
        targets = pairs.target[pairs.source == index]
        if len(targets) == 0:
            continue
        cells = _textured_cells(views, grey, index, block)
        if len(cells) == 0:
            continue
        log_depth = _log_depth(views, affine, index, cells)
        score = _scores(views, grey, index, targets, cells, log_depth, offsets)
        best, sure = _peaks(score, reach / steps)
        tried[index] = (score.amax(dim=1) > UNSEEN).sum()
        depth = (log_depth + best).exp()[sure]
        pixels = torch.stack([cells[:, 1], cells[:, 0]], dim=-1)[sure].float() + 0.5
        found.append((torch.full((len(depth),), index), pixels, depth))
    return Sweep(DepthAnchors(*(torch.cat(part) for part in zip(*found, strict=True))), tried)


def _textured_cells(views: Views, grey: Tensor, index: int, block: int) -> Tensor:
    """(S, 2) int64 (row, column): the usable working cell of each block where the picture changes most."""
    height, width = views.usable.shape[1:]
    fine = grey[index]
    change = functional.pad((fine[:, 1:] - fine[:, :-1]).abs(), (0, 1))
    change += functional.pad((fine[1:] - fine[:-1]).abs(), (0, 0, 0, 1))
    change = functional.interpolate(change[None, None], (height, width), mode="area")[0, 0]
    change = torch.where(views.usable[index], change, torch.zeros_like(change))
    most, where = functional.max_pool2d(change[None, None], block, return_indices=True)
    where = where.flatten()[most.flatten() > 0]
    return torch.stack([where // width, where % width], dim=-1)


def _log_depth(views: Views, affine: Affine, index: int, cells: Tensor) -> Tensor:
    x = views.maps[index, cells[:, 0], cells[:, 1], 0]
    return affine.log_depth(views, torch.tensor([index]), x[None])[0].float()


def _scores(
    views: Views, grey: Tensor, index: int, targets: Tensor, cells: Tensor, log_depth: Tensor, offsets: Tensor
) -> Tensor:
    """(S, D) correlation with the better half of the neighbours at each depth; `UNSEEN` where fewer see the patch."""
    points, patch = _patches(views, grey[index], index, cells, log_depth)
    deviation = patch.std(dim=1, unbiased=False)
    own = (patch - patch.mean(dim=1, keepdim=True)) / deviation.clamp_min(1e-6)[:, None]
    world = views.world_from_camera[index]
    scores = []
    for target in targets.tolist():
        pose = invert_rigid(views.world_from_camera[target]) @ world
        turned = points @ pose[:3, :3].T  # (S, K, 3)
        moved = turned[:, None] * offsets.exp()[None, :, None, None] + pose[:3, 3]  # (S, D, K, 3)
        other, seen = _sample(grey[target], _fine_intrinsics(views, grey, target), moved)
        spread = other.std(dim=-1, unbiased=False)
        centred = (other - other.mean(dim=-1, keepdim=True)) / spread.clamp_min(LEAST_CONTRAST / 2)[..., None]
        correlation = (centred * own[:, None]).mean(dim=-1)
        scores.append(torch.where(seen, correlation, torch.full_like(correlation, UNSEEN)))
    ordered = torch.stack(scores).sort(dim=0, descending=True).values
    half = (len(targets) + 1) // 2
    flat = (deviation < LEAST_CONTRAST)[:, None]
    score = ordered[:half].mean(dim=0)
    return torch.where(flat | (ordered[half - 1] <= UNSEEN), UNSEEN, score)


def _patches(
    views: Views, fine: Tensor, index: int, cells: Tensor, log_depth: Tensor
) -> tuple[Tensor, Tensor]:
    """(S, K, 3) points of patches on the surface's tangent plane in the camera's frame, and their grey (S, K)."""
    height, width = views.usable.shape[1:]
    scale = torch.tensor([fine.shape[1] / width, fine.shape[0] / height])
    centre = (torch.stack([cells[:, 1], cells[:, 0]], dim=-1) + 0.5) * scale  # (S, 2) in fine pixels
    line = (torch.arange(PATCH) - PATCH // 2) * SPACING
    offset = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1).reshape(-1, 2)
    pixels = centre[:, None] + offset  # (S, K, 2)
    k = views.intrinsics[index]
    rays = (pixels / scale - k[:2, 2]) / torch.stack([k[0, 0], k[1, 1]])
    rays = torch.cat([rays, torch.ones_like(rays[..., :1])], dim=-1)
    normal = views.maps[index, cells[:, 0], cells[:, 1], 3:]
    middle = rays[:, PATCH * PATCH // 2]
    # Depth of the plane along each ray; a grazing plane is turned back before it runs away.
    tilt = (normal * middle).sum(-1, keepdim=True) / (normal[:, None] * rays).sum(-1).clamp_max(-0.05)
    points = rays * (log_depth.exp()[:, None] * tilt.clamp(0.7, 1.4))[..., None]
    grey, _ = _bilinear(fine, pixels)
    return points, grey


def _fine_intrinsics(views: Views, grey: Tensor, index: int) -> Tensor:
    scale = torch.tensor([grey.shape[2] / views.usable.shape[2], grey.shape[1] / views.usable.shape[1], 1.0])
    return views.intrinsics[index] * scale[:, None]


def _sample(fine: Tensor, intrinsics: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Grey at the projections of points (S, D, K, 3), and whether the whole patch is seen, (S, D)."""
    z = points[..., 2]
    safe = z.clamp_min(1e-6)[..., None]
    pixels = points[..., :2] / safe * torch.stack([intrinsics[0, 0], intrinsics[1, 1]]) + intrinsics[:2, 2]
    grey, inside = _bilinear(fine, pixels)
    return grey, (inside & (z > 1e-6)).all(dim=-1)


def _bilinear(fine: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
    height, width = fine.shape
    size = pixels.new_tensor([width, height])
    grid = (pixels / size * 2 - 1).reshape(1, 1, -1, 2)
    grey = functional.grid_sample(
        fine[None, None], grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return grey.reshape(pixels.shape[:-1]), ((pixels >= 0) & (pixels <= size)).all(dim=-1)


def _peaks(score: Tensor, step: float) -> tuple[Tensor, Tensor]:
    """Change of ln z at the best of (S, D) scores, to a fraction of a step, and whether it can be believed."""
    count = score.shape[1]
    wide = max(1, round(PEAK_WIDTH / step))
    peak, best = score.max(dim=1)
    inner = (best >= wide) & (best < count - wide)
    best = best.clamp(wide, count - 1 - wide)
    left, middle, right, far_left, far_right = (
        score.gather(1, (best + k)[:, None])[:, 0] for k in (-1, 0, 1, -wide, wide)
    )
    bend = (2 * middle - left - right).clamp_min(1e-6)
    fraction = ((right - left) / (2 * bend)).clamp(-0.5, 0.5)
    away = (torch.arange(count) - best[:, None]).abs() > wide
    second = torch.where(away, score, UNSEEN).max(dim=1).values
    drop = middle - torch.maximum(far_left, far_right)
    sure = inner & (peak > LEAST_PEAK) & (drop > LEAST_DROP) & (peak - second > LEAST_LEAD)
    return (best - count // 2 + fraction) * step, sure
