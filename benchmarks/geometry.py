"""Cameras, surfaces and occlusions from simulated network maps of rendered scenes, against their bars."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, get_args

import torch

from lotus_core.conventions import DepthKind
from lotus_core.training.scenes import Frame, sample_frame

from . import report
from .geometry_cameras import HEIGHT, WIDTH, CameraRow, FlatRow, score_cameras, score_flat_scenes
from .geometry_noise import LEVELS
from .geometry_surfaces import SurfaceRow, score_surfaces, time_stages
from .geometry_views import VIEWS, ViewRow, grid_memory_mib, score_views, view_scenes

KINDS: tuple[DepthKind, ...] = get_args(DepthKind)
VARIED = ("room", "tabletop", "clutter", "street")


@dataclass(frozen=True)
class Bar:
    """One number that has to reach its bar.

    Attributes:
        name: What is measured.
        value: Measured.
        bar: Limit.
        at_most: Whether the value has to stay below the bar, or above it.
    """

    name: str
    value: float
    bar: float
    at_most: bool = True

    @property
    def met(self) -> bool:
        """Whether the bar is reached."""
        return self.value <= self.bar if self.at_most else self.value >= self.bar

    def cells(self) -> list[str]:
        """Return the row of a table."""
        sign = "<=" if self.at_most else ">="
        return [self.name, f"{self.value:.4g}", f"{sign} {self.bar:g}", "yes" if self.met else "NO"]


def main(argv: list[str]) -> int:
    """Run the benchmark; returns 1 if a bar is missed."""
    parser = report.parser("geometry", __doc__ or "")
    parser.add_argument("--scenes", type=int, default=120, help="showroom scenes that the bars are judged on")
    parser.add_argument(
        "--varied", type=int, default=60, help="rooms, tables, heaps and streets, without bars"
    )
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--views", type=int, default=4, help="scenes of eight views; 0 leaves them out")
    parser.add_argument("--repeats", type=int, default=7, help="of the timings; 0 leaves them out")
    parser.add_argument("--device", default="cpu", help="of the timings")
    options = parser.parse_args(argv)
    results: dict[str, Any] = {"machine": report.start(options), "scenes": options.scenes}
    frames = _frames(options.scenes, options.first_seed, ("showroom",))
    cameras = [score_cameras(frames, kind, level) for kind in KINDS for level in LEVELS]
    surfaces = [score_surfaces(frames, kind, level) for kind in KINDS for level in LEVELS]
    flat = score_flat_scenes()
    seconds = time_stages(options.repeats, torch.device(options.device)) if options.repeats else {}
    bars = camera_bars(cameras) + flat_bars(flat) + surface_bars(surfaces) + time_bars(seconds)
    _print_cameras(f"Cameras: {options.scenes} showrooms, {WIDTH} x {HEIGHT}", cameras)
    _print_flat(flat)
    _print_surfaces("Surfaces, true scale, shift and camera", surfaces)
    if options.varied:
        varied = _frames(options.varied, options.first_seed, VARIED)
        varied_cameras = [
            score_cameras(varied, kind, level) for kind in KINDS for level in ("clean", "medium")
        ]
        varied_surfaces = [
            score_surfaces(varied, kind, level) for kind in KINDS for level in ("clean", "medium")
        ]
        _print_cameras(f"Cameras: {options.varied} rooms, tables, heaps and streets", varied_cameras)
        _print_surfaces("Surfaces of these", varied_surfaces)
        results["varied"] = [asdict(row) for row in (*varied_cameras, *varied_surfaces)]
    if options.views:
        seen = _score_views(options.views, options.first_seed)
        bars += view_bars(seen["rows"], seen["grid_mib"])
        results["views"] = {"grid_mib": seen["grid_mib"], "rows": [asdict(row) for row in seen["rows"]]}
    report.table("Bars", ["what", "measured", "bar", "met"], [bar.cells() for bar in bars])
    results |= {
        "cameras": [asdict(row) for row in cameras],
        "flat": [asdict(row) for row in flat],
        "surfaces": [asdict(row) for row in surfaces],
        "seconds": seconds,
        "bars": [{**asdict(bar), "met": bar.met} for bar in bars],
    }
    report.finish(options, results)
    return int(not all(bar.met for bar in bars))


def camera_bars(rows: list[CameraRow]) -> list[Bar]:
    """Return the bars of `calibrate`."""
    limits = {
        ("clean", "depth"): (0.5, 0.003, None),
        ("clean", "disparity"): (0.5, 0.003, None),
        ("medium", "depth"): (9.5, 0.045, 0.042),
        ("medium", "disparity"): (9.5, 0.075, 0.052),
        ("hard", "depth"): (None, 0.095, None),
        ("hard", "disparity"): (None, 0.13, None),
    }
    bars = []
    for row in rows:
        fov, error, given = limits.get((row.level, row.kind), (None, None, None))
        named = (("FOV error, degrees", row.fov_mean, fov), ("AbsRel", row.abs_rel, error))
        for what, value, limit in (*named, ("AbsRel, FOV given", row.abs_rel_given, given)):
            if limit is not None:
                bars.append(Bar(f"calibrate, {row.level}, {row.kind}: {what}", value, limit))
    return bars


def flat_bars(rows: list[FlatRow]) -> list[Bar]:
    """Return the bars of the ill-posed scenes."""
    bars = []
    for row in rows:
        bars.append(Bar(f"{row.name}, {row.kind}: least sd of ln f", row.least_sd, 0.3, at_most=False))
        bars.append(Bar(f"{row.name}, {row.kind}: FOV from the prior, degrees", row.fov_offset, 5.0))
    return bars


def surface_bars(rows: list[SurfaceRow]) -> list[Bar]:
    """Return the bars of `refine` and `cut_grid`."""
    bars = []
    for row in rows:
        name = f"{row.level}, {row.kind}"
        if row.level == "clean":
            bars.append(Bar(f"refine, {name}: AbsRel", row.refined.abs_rel, 0.0015))
        if row.level == "medium":
            bars.append(Bar(f"refine, {name}: AbsRel / raw", row.refined.abs_rel / row.raw.abs_rel, 1.0))
            bars.append(Bar(f"refine, {name}: normals, degrees", row.refined.normal_deg, 6.5))
            bars.append(Bar(f"refine, {name}: edge band / raw", row.refined.band / row.raw.band, 0.85))
            bars.append(Bar(f"refine, {name}: flying pixels", row.refined.flying, 0.08))
            bars.append(Bar(f"cull, {name}: recall", row.recall, 0.94, at_most=False))
            bars.append(Bar(f"cull, {name}: good pixels lost", row.lost, 0.002))
    return bars


def time_bars(seconds: dict[str, float]) -> list[Bar]:
    """Return the bars of the stages' times on the CPU."""
    limits = {"calibrate": 0.15, "refine": 1.5, "mesh + GLB": 1.0}
    return [
        Bar(f"{name}, 768 x 576: seconds", seconds[name], limits[name]) for name in limits if name in seconds
    ]


def view_bars(rows: list[ViewRow], grid_mib: float) -> list[Bar]:
    """Return the bars of `fuse_views`: with sparse points as they come, without them after one common scale."""
    limits = {"clean": (0.001, 0.001), "medium": (0.03, 0.045)}
    bars = []
    for row in rows:
        how = "sparse points" if row.anchored else "pictures alone, one scale"
        name = f"{VIEWS} views, {row.level}, {row.kind}, {how}"
        error = row.abs_rel if row.anchored else row.abs_rel_scaled
        bars.append(Bar(f"{name}: AbsRel", error, limits[row.level][row.kind == "disparity"]))
        bars.append(Bar(f"{name}: scale spread", row.scale_spread, 0.01))
        if row.level == "clean":
            bars.append(Bar(f"{name}: mesh, median, voxels", row.mesh_median, 0.5))
        if row.level == "clean" and row.anchored:
            bars.append(Bar(f"{name}: mesh, 95 %, voxels", row.mesh_95, 0.5))
    return [*bars, Bar("voxel grid, 512 across: MiB at once", grid_mib, 256)]


def _score_views(scenes: int, first_seed: int) -> dict[str, Any]:
    """Render, fuse and print; the rows, and the memory of a fine grid."""
    seen = view_scenes(scenes, first_seed)
    grid_mib = grid_memory_mib(seen[0], 512)
    rows = []
    for anchored, level, kind in product((False, True), ("clean", "medium"), KINDS):
        rows.append(score_views(seen, kind, level, anchored=anchored))
        print(f"fused {level} {kind}, {rows[-1].seconds:.0f} s a scene", flush=True)
    columns = [
        "kind",
        "level",
        "points",
        "AbsRel",
        "worst",
        "one scale",
        "fused",
        "share",
        "spread",
        "scale off",
    ]
    cells = [
        [r.kind, r.level, "yes" if r.anchored else "no"]
        + [f"{v:.4f}" for v in (r.abs_rel, r.worst, r.abs_rel_scaled, r.abs_rel_fused)]
        + [f"{r.fused:.2f}", f"{r.scale_spread:.4f}", f"{r.scale_error:.4f}"]
        + [f"{r.mesh_median:.2f}", f"{r.mesh_95:.2f}", f"{r.seconds:.1f}"]
        for r in rows
    ]
    report.table(f"{VIEWS} views of {scenes} showrooms", [*columns, "mesh median", "95 %", "seconds"], cells)
    return {"rows": rows, "grid_mib": grid_mib}


def _frames(count: int, first_seed: int, layouts: tuple[str, ...]) -> list[Frame]:
    start = time.perf_counter()
    frames = [
        sample_frame(
            first_seed + i, layout=layouts[i % len(layouts)], height=HEIGHT, width=WIDTH, colour=False
        )
        for i in range(count)
    ]
    print(
        f"rendered {count} scenes of {', '.join(layouts)} in {time.perf_counter() - start:.1f} s", flush=True
    )
    return frames


def _print_cameras(title: str, rows: list[CameraRow]) -> None:
    columns = ["kind", "level", "FOV mean", "median", "AbsRel", "FOV given", "oracle", "with clipped"]
    cells = [
        [r.kind, r.level, f"{r.fov_mean:.2f}", f"{r.fov_median:.2f}"]
        + [f"{v:.4f}" for v in (r.abs_rel, r.abs_rel_given, r.abs_rel_oracle, r.abs_rel_all)]
        + [f"{r.from_normals:.2f}", f"{r.z_rms:.2f}", f"{r.worst_confident:.1f}"]
        for r in rows
    ]
    report.table(title, [*columns, "from normals", "z rms", "worst at sd < .1"], cells)


def _print_flat(rows: list[FlatRow]) -> None:
    cells = [[r.name, r.kind, f"{r.least_sd:.2f}", f"{r.fov_offset:.2f}"] for r in rows]
    report.table("Ill-posed scenes", ["scene", "kind", "least sd of ln f", "FOV from prior"], cells)


def _print_surfaces(title: str, rows: list[SurfaceRow]) -> None:
    def pair(before: float, after: float, form: str) -> str:
        return f"{before:{form}} -> {after:{form}}"

    cells = []
    for r in rows:
        before, after = r.raw, r.refined
        cells.append(
            [
                r.kind,
                r.level,
                pair(before.abs_rel, after.abs_rel, ".4f"),
                pair(before.band, after.band, ".4f"),
            ]
        )
        cells[-1] += [
            pair(before.flying, after.flying, ".3f"),
            pair(before.normal_deg, after.normal_deg, ".1f"),
        ]
        cells[-1] += [f"{100 * r.recall:.1f} %", f"{100 * r.lost:.2f} %"]
    columns = [
        "kind",
        "level",
        "AbsRel",
        "edge band",
        "flying",
        "normals, degrees",
        "cut recall",
        "good lost",
    ]
    report.table(title, columns, cells)
