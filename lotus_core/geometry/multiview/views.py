"""Several views at one working size, and what one view's pixels look like in another.

Convention:
    All N views share one grid of h x w cells, whatever the shapes of their pictures: intrinsics take up the
    difference, also with unequal focal lengths. A view's depth is ``ln z = m + (ln(x + e^b) - ln(x_mid + e^b))``
    for kind "depth" and ``ln z = m - (...)`` for "disparity", where x >= 0 is the map above its robust minimum and
    x_mid its median: two unknowns a view, m the logarithm of the depth at the middle value, b that of the shift.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ...conventions import DepthKind
from ..camera import invert_rigid, pixel_grid, resize_intrinsics
from .inputs import ViewInputs

WORKING_SIDE = 192
"""Longest side of the common grid: finer ones change the fitted scales by less than their noise."""

CLIPPED = 0.004
"""Share of a map's range next to either end where its values are not believed: they may be clipped."""

SMOOTH = 0.02
"""Second difference, as a share of the map's range, above which a cell is on an edge."""


@dataclass(frozen=True)
class Views:
    """N views at the working size.

    Attributes:
        maps: (N, h, w, 6) float32: x, its slopes along the grid's x and y per cell, and the unit normal.
        usable: (N, h, w) bool, cells that are valid, not clipped and not on an edge.
        intrinsics: (N, 3, 3) float32, in cells.
        world_from_camera: (N, 4, 4) float32.
        low: (N,) float32, the maps' robust minimum in their own unit.
        span: (N,) float32, the maps' robust range.
        middle: (N,) float32, x_mid.
        kind: Of the maps.
    """

    maps: Tensor
    usable: Tensor
    intrinsics: Tensor
    world_from_camera: Tensor
    low: Tensor
    span: Tensor
    middle: Tensor
    kind: DepthKind

    @property
    def sign(self) -> float:
        """+1 for depth, -1 for disparity."""
        return 1.0 if self.kind == "depth" else -1.0


@dataclass(frozen=True)
class Affine:
    """The two unknowns of each view.

    Attributes:
        log_middle: (N,) float, m.
        log_shift: (N,) float, b.
    """

    log_middle: Tensor
    log_shift: Tensor

    def log_depth(self, views: Views, index: Tensor, x: Tensor) -> Tensor:
        """Return ln z of map values x (P, S) of the views ``index`` (P,), float64."""
        shift = self.log_shift[index].exp()[:, None]
        middle = views.middle[index].to(shift)[:, None]
        ratio = (x.to(shift).clamp_min(0) + shift).log() - (middle + shift).log()
        return self.log_middle[index][:, None] + views.sign * ratio

    def shift_slope(self, views: Views, index: Tensor, x: Tensor) -> Tensor:
        """Return the derivative of ln z by b, for x (P, S) of the views ``index`` (P,)."""
        shift = self.log_shift[index].exp()[:, None]
        middle = views.middle[index].to(shift)[:, None]
        return views.sign * (shift / (x.to(shift).clamp_min(0) + shift) - shift / (middle + shift))


def gather_views(inputs: ViewInputs) -> Views:
    """Bring views of any sizes to one grid."""
    cameras, kind = inputs.cameras, inputs.kind
    aspect = sorted(camera.width / camera.height for camera in cameras)[len(cameras) // 2]
    longest = min(WORKING_SIDE, max(max(camera.width, camera.height) for camera in cameras))
    size = (
        (max(8, round(longest / aspect)), longest)
        if aspect >= 1
        else (longest, max(8, round(longest * aspect)))
    )
    rows = [
        _at_working_size(d, n, v, size)
        for d, n, v in zip(inputs.values, inputs.normals, inputs.valid, strict=True)
    ]
    maps, usable, low, span, middle = (torch.stack(part) for part in zip(*rows, strict=True))
    device = maps.device
    intrinsics = [resize_intrinsics(c.intrinsics.float(), (c.height, c.width), size) for c in cameras]
    return Views(
        maps=maps,
        usable=usable,
        intrinsics=torch.stack(intrinsics).to(device),
        world_from_camera=torch.stack([c.world_from_camera.float() for c in cameras]).to(device),
        low=low,
        span=span,
        middle=middle,
        kind=kind,
    )


def _at_working_size(
    values: Tensor, normals: Tensor, valid: Tensor, size: tuple[int, int]
) -> tuple[Tensor, ...]:
    """One view's maps, usable cells, minimum, range and middle value."""
    finite = valid & torch.isfinite(values) & torch.isfinite(normals).all(dim=-1)
    stack = torch.cat([values[None], normals.movedim(-1, 0)]).float()
    stack = torch.where(finite, stack, torch.zeros_like(stack))[None]
    whole = functional.interpolate(finite[None, None].float(), size, mode="area")[0, 0] > 0.999
    stack = functional.interpolate(stack, size, mode="area")[0] if tuple(values.shape) != size else stack[0]
    inside = stack[0][whole].sort().values
    if inside.numel() < 2:
        inside = stack.new_zeros(2)
    cut = int(0.002 * (inside.numel() - 1))
    low, high = inside[cut], inside[inside.numel() - 1 - cut]
    span = (high - low).clamp_min(1e-9)
    x = stack[0] - low
    dx = functional.pad((x[:, 2:] - x[:, :-2]) / 2, (1, 1))
    dy = functional.pad((x[2:] - x[:-2]) / 2, (0, 0, 1, 1))
    bend_x = functional.pad((x[:, 2:] + x[:, :-2] - 2 * x[:, 1:-1]).abs(), (1, 1), value=float("inf"))
    bend_y = functional.pad((x[2:] + x[:-2] - 2 * x[1:-1]).abs(), (0, 0, 1, 1), value=float("inf"))
    unclipped = (x > CLIPPED * span) & (x < (1 - CLIPPED) * span)
    usable = whole & unclipped & (torch.maximum(bend_x, bend_y) < SMOOTH * span)
    normal = functional.normalize(stack[1:], dim=0)
    middle = (x[usable] if bool(usable.any()) else x.flatten()).median()
    return torch.cat([x[None], dx[None], dy[None], normal]).movedim(0, -1), usable, low, span, middle


@dataclass(frozen=True)
class Pairs:
    """Samples of P pairs of views: pixels of a source view, to be found again in a target view.

    Attributes:
        source: (P,) int64.
        target: (P,) int64.
        x: (P, S) float32, map value in the source.
        rays: (P, S, 3) float64, the pixel's ray in the source camera, z = 1.
        normal: (P, S, 3) float32, in the source camera.
        usable: (P, S) bool.
    """

    source: Tensor
    target: Tensor
    x: Tensor
    rays: Tensor
    normal: Tensor
    usable: Tensor

    def of(self, which: Tensor) -> Pairs:
        """Return some of the pairs, by (Q,) index or mask."""
        return Pairs(**{name: value[which] for name, value in vars(self).items()})


def sample_pairs(views: Views, source: Tensor, target: Tensor, samples: int) -> Pairs:
    """Return evenly spread cells of each source view.

    Args:
        views: The views.
        source: (P,) int64.
        target: (P,) int64.
        samples: About how many cells a pair.
    """
    count, height, width = views.usable.shape
    step = max(1, round((height * width / samples) ** 0.5))
    cells = pixel_grid(height, width, device=views.maps.device)[step // 2 :: step, step // 2 :: step]
    cells = cells.reshape(-1, 2).double()
    maps = views.maps[:, step // 2 :: step, step // 2 :: step].reshape(count, -1, 6)
    usable = views.usable[:, step // 2 :: step, step // 2 :: step].reshape(count, -1)
    k = views.intrinsics.double()
    focal = torch.stack([k[:, 0, 0], k[:, 1, 1]], dim=-1)[:, None]
    xy = (cells - k[:, None, :2, 2]) / focal
    rays = torch.cat([xy, torch.ones_like(xy[..., :1])], dim=-1)
    return Pairs(source, target, maps[source][..., 0], rays[source], maps[source][..., 3:], usable[source])


@dataclass(frozen=True)
class Landing:
    """Where samples land in the target view, and what it says there.

    Attributes:
        log_depth: (P, S) float64, ln of the sample's depth in the target camera.
        cells: (P, S, 2) float64, (x, y) in the target's grid.
        motion: (P, S, 2) float64, derivative of ``cells`` by the logarithm of the sample's own depth.
        stretch: (P, S) float64, derivative of ``log_depth`` by the same.
        maps: (P, S, 6) float32, the target's maps there.
        cosine: (P, S) float64, between both views' normals.
        visible: (P, S) bool: usable, in front of the camera, inside, and among usable cells.
        usable: (P, S) bool: visible, and facing roughly the same way.
    """

    log_depth: Tensor
    cells: Tensor
    motion: Tensor
    stretch: Tensor
    maps: Tensor
    cosine: Tensor
    visible: Tensor
    usable: Tensor


SAME_WAY = 0.7
"""Least cosine between both views' normals of what may be the same surface."""


def land(views: Views, pairs: Pairs, log_depth: Tensor) -> Landing:
    """Carry samples with a given ln z (P, S) into their target views."""
    pose = (
        invert_rigid(views.world_from_camera[pairs.target].double())
        @ views.world_from_camera[pairs.source].double()
    )
    along = (pairs.rays * log_depth.exp()[..., None]) @ pose[:, :3, :3].mT  # how the point moves with ln z
    point = along + pose[:, None, :3, 3]
    front = point[..., 2] > 1e-6
    z = torch.where(front, point[..., 2], torch.ones_like(point[..., 2]))
    k = views.intrinsics[pairs.target].double()
    focal = torch.stack([k[:, 0, 0], k[:, 1, 1]], dim=-1)[:, None]
    cells = point[..., :2] / z[..., None] * focal + k[:, None, :2, 2]
    stretch = along[..., 2] / z
    motion = focal * (along[..., :2] - point[..., :2] * stretch[..., None]) / z[..., None]
    maps, inside = look_up(views, pairs.target, cells)
    turned = pairs.normal.double() @ pose[:, :3, :3].mT
    cosine = (turned * maps[..., 3:]).sum(dim=-1)
    visible = front & inside & pairs.usable
    return Landing(z.log(), cells, motion, stretch, maps, cosine, visible, visible & (cosine > SAME_WAY))


def look_up(views: Views, index: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """Interpolate the maps of the views ``index`` (P,) bilinearly at cells (P, S, 2).

    Returns:
        maps: (P, S, 6) float32.
        inside: (P, S) bool, where all four neighbours exist and are usable.
    """
    height, width, channels = views.maps.shape[1:]
    position = cells - 0.5
    corner = position.floor()
    x, y = corner.unbind(-1)
    inside = (x >= 0) & (y >= 0) & (x < width - 1) & (y < height - 1)
    fx, fy = (position - corner).float().unbind(-1)
    base = (
        index[:, None] * (height * width)
        + y.clamp(0, height - 2).long() * width
        + x.clamp(0, width - 2).long()
    )
    flat, usable = views.maps.reshape(-1, channels), views.usable.reshape(-1)
    maps = torch.zeros(*base.shape, channels, device=flat.device)
    for offset, weight in (
        (0, (1 - fx) * (1 - fy)),
        (1, fx * (1 - fy)),
        (width, (1 - fx) * fy),
        (width + 1, fx * fy),
    ):
        maps += flat[base + offset] * weight[..., None]
        inside &= usable[base + offset]
    return maps, inside
