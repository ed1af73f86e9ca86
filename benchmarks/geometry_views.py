"""How well eight views with known cameras fuse: their depth, their common scale, and the mesh."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lotus_core.conventions import DepthKind
from lotus_core.geometry.anchors import DepthAnchors
from lotus_core.geometry.camera import Camera
from lotus_core.geometry.multiview import FusedViews, fuse_views
from lotus_core.geometry.multiview.tsdf import DepthView, integrate, surface_blocks
from lotus_core.geometry.points import project, transform_points, unproject
from lotus_core.training.scenes import Frame, Scene, render, sample_views
from lotus_core.training.scenes.tracing import Pairs, trace
from lotus_core.types import DepthPrediction, JointPrediction, ModelInfo, NormalPrediction

from . import report
from .geometry_noise import LEVELS, Maps, network_maps
from .geometry_scores import mean

VIEWS = 8
HEIGHT, WIDTH = 192, 256
PROBES = 4000
"""Vertices of a mesh whose distance from the true surface is measured."""


@dataclass(frozen=True)
class ViewScene:
    """A scene seen by several cameras.

    Attributes:
        scene: The world.
        frames: What each camera sees, with its picture.
    """

    scene: Scene
    frames: tuple[Frame, ...]

    @property
    def cameras(self) -> list[Camera]:
        """The cameras, in order."""
        return [frame.camera for frame in self.frames]


@dataclass(frozen=True)
class ViewRow:
    """One kind and one level over all scenes.

    Attributes:
        kind: Of the maps.
        level: Of their noise.
        anchored: Whether sparse points were given, as structure from motion finds them.
        abs_rel: Mean relative depth error of every unclipped pixel, without any scaling.
        worst: Its largest value among the scenes.
        abs_rel_scaled: The same after one scale for all views of a scene: what is left without anchors.
        abs_rel_fused: The same of the pixels that went into the mesh.
        fused: Share of the unclipped pixels that did.
        scale_spread: Standard deviation of the views' median depth ratios against the truth, worst scene.
        scale_error: How far their common scale is off, mean of the scenes.
        mesh_median: Median distance of the mesh's vertices from the true surface, in voxels; worst scene.
        mesh_95: Its 95th percentile, mean of the scenes.
        seconds: To fuse, mean.
    """

    kind: DepthKind
    level: str
    anchored: bool
    abs_rel: float
    worst: float
    abs_rel_scaled: float
    abs_rel_fused: float
    fused: float
    scale_spread: float
    scale_error: float
    mesh_median: float
    mesh_95: float
    seconds: float


def view_scenes(count: int, first_seed: int) -> list[ViewScene]:
    """Render showrooms from eight places each, half a right angle apart from first to last."""
    made = []
    for seed in range(first_seed, first_seed + count):
        scene, cameras = sample_views(seed, VIEWS, layout="showroom", height=HEIGHT, width=WIDTH)
        made.append(ViewScene(scene, tuple(render(scene, camera) for camera in cameras)))
    return made


def score_views(
    scenes: Sequence[ViewScene], kind: DepthKind, level: str, *, anchored: bool = False
) -> ViewRow:
    """Fuse every scene from maps of one kind and quality."""
    rows = []
    for number, views in enumerate(scenes):
        maps = [network_maps(f, kind, LEVELS[level], VIEWS * number + i) for i, f in enumerate(views.frames)]
        start = time.perf_counter()
        anchors = sparse_anchors(views, number) if anchored else None
        fused = fuse_views(
            [prediction(m) for m in maps],
            views.cameras,
            anchors,
            images=[frame.rgb for frame in views.frames],
            masks=[frame.valid for frame in views.frames],
        )
        rows.append((*_depth_errors(fused, views, maps), time.perf_counter() - start))
        rows[-1] += mesh_errors(fused, views)
    every, scaled, part, share, spread, scale, seconds, median, high = zip(*rows, strict=True)
    return ViewRow(
        kind=kind,
        level=level,
        anchored=anchored,
        abs_rel=mean(list(every)),
        worst=max(every),
        abs_rel_scaled=mean(list(scaled)),
        abs_rel_fused=mean(list(part)),
        fused=mean(list(share)),
        scale_spread=max(spread),
        scale_error=mean([abs(s) for s in scale]),
        mesh_median=max(median),
        mesh_95=mean(list(high)),
        seconds=mean(list(seconds)),
    )


def prediction(maps: Maps) -> JointPrediction:
    """Return one view's maps as the models would give them."""
    info = ModelInfo("simulated", "d", maps.kind, 768, "", "", 0, 1024)
    return JointPrediction(
        DepthPrediction(maps.values[None], maps.kind, None, info),
        NormalPrediction(maps.normals[None], None, info),
    )


def sparse_anchors(views: ViewScene, seed: int, count: int = 60, noise: float = 0.01) -> DepthAnchors:
    """Return the depths of a few pixels of each view, with an error, as structure from motion finds them."""
    generator = torch.Generator().manual_seed(seed)
    index, pixels, depths = [], [], []
    for view, frame in enumerate(views.frames):
        row, column = frame.valid.nonzero(as_tuple=True)
        chosen = torch.randperm(len(row), generator=generator)[:count]
        row, column = row[chosen], column[chosen]
        error = 1 + noise * torch.randn(len(row), generator=generator)
        index.append(torch.full((len(row),), view))
        pixels.append(torch.stack([column, row], dim=-1) + 0.5)
        depths.append(frame.depth[row, column] * error)
    return DepthAnchors(torch.cat(index), torch.cat(pixels), torch.cat(depths))


def _depth_errors(
    fused: FusedViews, views: ViewScene, maps: Sequence[Maps]
) -> tuple[float, float, float, float, float, float]:
    """AbsRel of unclipped pixels, after one scale, and of the fused ones; their share; spread and error of scale."""
    logs, kept, medians = [], [], []
    for depth, used, frame, one in zip(fused.depths, fused.supported, views.frames, maps, strict=True):
        logs.append((depth / frame.depth)[one.scored].log())
        kept.append(used[one.scored])
        medians.append(logs[-1].median())
    ratio, fused_pixels, centre = torch.cat(logs), torch.cat(kept), torch.stack(medians)
    return (
        float((ratio.exp() - 1).abs().mean()),
        float(((ratio - ratio.median()).exp() - 1).abs().mean()),
        float((ratio.exp() - 1)[fused_pixels].abs().mean()),
        float(fused_pixels.float().mean()),
        float(centre.std(unbiased=False)),
        float(centre.mean()),
    )


def mesh_errors(fused: FusedViews, views: ViewScene) -> tuple[float, float]:
    """Return the median and the 95th percentile of the vertices' distances from the true surface, in voxels."""
    vertices = fused.mesh.vertices
    chosen = torch.randperm(len(vertices), generator=torch.Generator().manual_seed(0))[:PROBES]
    distance = surface_distance(views, vertices[chosen]) / fused.voxel
    middle, high = torch.quantile(distance, torch.tensor([0.5, 0.95])).tolist()
    return middle, high


def surface_distance(views: ViewScene, points: Tensor) -> Tensor:
    """Return how far points (P, 3) lie from the tangent plane of the true surface before or behind them, (P,).

    Each camera that has a point in its picture sends a ray through it; the nearest surface of any counts.
    """
    best = torch.full((len(points),), float("inf"))
    for camera in views.cameras:
        local = transform_points(points, camera.camera_from_world)
        pixels, depth = project(local[None], camera.intrinsics[None])
        size = pixels.new_tensor([camera.width, camera.height])
        seen = ((pixels[0] >= 0) & (pixels[0] < size)).all(-1) & (depth[0] > 0)
        origin = camera.world_from_camera[:3, 3]
        solids = len(views.scene.solids)
        rays = torch.arange(len(points)).repeat(solids)
        every = Pairs(rays, torch.arange(solids).repeat_interleave(len(points)))
        hits = trace(views.scene, origin, points - origin, every)
        away = ((points - hits.point) * hits.normal).sum(-1).abs()
        best = torch.where(seen & hits.distance.isfinite(), torch.minimum(best, away), best)
    return best


def grid_memory_mib(views: ViewScene, across: int) -> float:
    """Return by how much this process grows at most while distances fill the blocks of a grid, in MiB.

    Args:
        views: A scene; its exact depth maps are taken.
        across: Voxels along the scene's longest side.
    """
    measured = [
        DepthView(frame.depth, frame.valid.float(), torch.ones_like(frame.depth), frame.rgb, frame.camera)
        for frame in views.frames[:3]
    ]
    points = torch.cat(
        [transform_points(_points(frame), frame.camera.world_from_camera) for frame in views.frames[:3]]
    )
    voxel = float((points.amax(0) - points.amin(0)).max()) / across
    before, most = report.status_mib("VmRSS"), 0.0
    blocks = surface_blocks(measured, points.mean(0), voxel)
    for _ in integrate(measured, blocks, points.mean(0), voxel):
        most = max(most, report.status_mib("VmRSS"))
    return most - before


def _points(frame: Frame) -> Tensor:
    return unproject(frame.depth[None], frame.camera.intrinsics[None])[0][frame.valid]
