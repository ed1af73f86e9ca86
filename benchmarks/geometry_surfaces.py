"""How well refined surfaces and cut occlusions match the rendered ones, and how long the stages take."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from lotus_core.conventions import DepthKind
from lotus_core.geometry.calibrate import calibrate
from lotus_core.geometry.edges import cut_grid
from lotus_core.geometry.mesh import grid_mesh
from lotus_core.geometry.points import unproject
from lotus_core.geometry.refine import refine
from lotus_core.io.meshes import write_glb
from lotus_core.training.scenes import Frame, sample_frame

from .geometry_noise import LEVELS, network_maps
from .geometry_scores import CutScore, SurfaceScore, mean, score_cuts, score_surface, true_occlusions


@dataclass(frozen=True)
class SurfaceRow:
    """One kind and one level over all scenes, with the true scale, shift and camera.

    Attributes:
        kind: Of the map.
        level: Of the noise.
        raw: Means of the scores before refinement.
        refined: Means after it.
        recall: Share of the clear occlusions that were cut after refinement.
        lost: Share of the good pixels that touch a cut.
    """

    kind: DepthKind
    level: str
    raw: SurfaceScore
    refined: SurfaceScore
    recall: float
    lost: float


def score_surfaces(frames: Sequence[Frame], kind: DepthKind, level: str) -> SurfaceRow:
    """Refine every frame's depth and cut its grid."""
    raw: list[SurfaceScore] = []
    better: list[SurfaceScore] = []
    cuts: list[CutScore] = []
    for seed, frame in enumerate(frames):
        maps = network_maps(frame, kind, LEVELS[level], seed)
        truth = true_occlusions(frame)
        intrinsics, normals = frame.camera.intrinsics[None], maps.normals[None]
        refined = refine(maps.oracle[None], normals, intrinsics, kind=kind)
        raw.append(score_surface(maps.oracle, frame, truth, maps.scored))
        better.append(score_surface(refined[0], frame, truth, maps.scored))
        cuts.append(score_cuts(cut_grid(refined, normals, intrinsics), truth, maps.scored))
    return SurfaceRow(
        kind=kind,
        level=level,
        raw=_means(raw),
        refined=_means(better),
        recall=sum(c.found for c in cuts) / max(sum(c.occlusions for c in cuts), 1),
        lost=sum(c.lost for c in cuts) / max(sum(c.good for c in cuts), 1),
    )


def time_stages(repeats: int, device: torch.device) -> dict[str, float]:
    """Return the median seconds of each stage on one 768 x 576 picture at the medium level."""
    frame = sample_frame(11, layout="showroom", height=576, width=768)
    maps = network_maps(frame, "disparity", LEVELS["medium"], 0)
    values, normals = maps.values[None].to(device), maps.normals[None].to(device)
    camera = calibrate(values, normals, kind="disparity")
    depth = camera.resolve_depth(values)
    refined = refine(depth, normals, camera.intrinsics)
    cuts = cut_grid(refined, normals, camera.intrinsics)
    points = unproject(refined, camera.intrinsics)[0]

    def mesh_and_file() -> None:
        mesh = grid_mesh(
            points,
            cut_right=cuts.right[0],
            cut_down=cuts.down[0],
            normals=normals[0],
            image=frame.rgb.to(device),
        )
        with tempfile.TemporaryDirectory() as folder:
            write_glb(Path(folder) / "scene.glb", mesh)

    return {
        "calibrate": _median_seconds(lambda: calibrate(values, normals, kind="disparity"), repeats, device),
        "refine": _median_seconds(lambda: refine(depth, normals, camera.intrinsics), repeats, device),
        "cut": _median_seconds(lambda: cut_grid(refined, normals, camera.intrinsics), repeats, device),
        "mesh + GLB": _median_seconds(mesh_and_file, repeats, device),
    }


def _median_seconds(call: Callable[[], object], repeats: int, device: torch.device) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[len(seconds) // 2]


def _means(scores: list[SurfaceScore]) -> SurfaceScore:
    return SurfaceScore(**{name: mean([vars(score)[name] for score in scores]) for name in vars(scores[0])})
