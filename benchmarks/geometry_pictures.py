"""Draws the pictures of docs/geometry.md: every stage on a photograph, and the fusion of rendered views."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

import lotus_core as lc
from lotus_core.geometry.calibrate import calibrate
from lotus_core.geometry.camera import Camera, intrinsics_from_fov
from lotus_core.geometry.joint import JointGeometry, resolve_geometry
from lotus_core.geometry.multiview import FusedViews, fuse_views
from lotus_core.geometry.normals import facing_normals, log_depth_slopes
from lotus_core.geometry.points import transform_points
from lotus_core.geometry.snap import snap_mixed_pixels
from lotus_core.io.images import read_image
from lotus_core.io.transforms_json import read_transforms
from lotus_core.rendering.depth import colorize_depth
from lotus_core.rendering.normal import normal_rgb
from lotus_core.types import DepthPrediction, JointPrediction, NormalPrediction

from .geometry_drawing import beside, paint_points, row, save_sheet, side_view
from .geometry_scores import central_normals

MODELS = ("lotus-tiny-depth-d", "lotus-tiny-normal-d")
NAIVE_SHIFT = 0.01
"""What the shift is taken for where nobody looks for it: the map as if it were all of the disparity."""


def main(argv: list[str]) -> int:
    """Draw the pictures into docs/images."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks geometry_pictures", description=__doc__)
    parser.add_argument("--photo", type=Path, default=Path("assets/photos/lobby.jpg"))
    parser.add_argument("--failing", type=Path, default=Path("assets/photos/coffee.jpg"))
    parser.add_argument("--views", type=Path, default=Path("assets/views"))
    parser.add_argument("--resolution", type=int, default=192)
    parser.add_argument("--folder", type=Path, default=Path("docs/images"))
    options = parser.parse_args(argv)
    torch.set_grad_enabled(False)
    models = [lc.load_model(name) for name in MODELS]
    inference = lc.InferenceOptions(resolution=options.resolution)
    photo = read_image(options.photo).pixels
    both = lc.predict_joint(models[0], models[1], photo, inference, resolve=False)
    _say(options.photo.name, both)
    for name, pictures in stages(photo[0], both.depth, both.normals).items():
        save_sheet(options.folder / f"geometry-{name}.jpg", row(pictures))
    failing = read_image(options.failing).pixels
    wrong = lc.predict_joint(models[0], models[1], failing, inference, resolve=False)
    _say(options.failing.name, wrong)
    save_sheet(options.folder / "geometry-fails.jpg", row(failure(failing[0], wrong)))
    save_sheet(options.folder / "geometry-fusion.jpg", row(fusion(options.views, models, inference)))
    return 0


def stages(rgb: Tensor, depth: DepthPrediction, normals: NormalPrediction) -> dict[str, list[Tensor]]:
    """Return the pictures of every stage of one photograph, rows of (H, W, 3) in [0, 1]."""
    raw = resolve_geometry(depth, normals, refine=False)
    made = resolve_geometry(depth, normals)
    edges = rgb * 0.6
    edges[made.edges[0]] = torch.tensor([1.0, 0.1, 0.1])
    mixed = rgb * 0.6
    mixed[snapped(raw, depth)] = torch.tensor([1.0, 0.8, 0.1])
    given = normal_rgb(normals.vectors)[0]
    return {
        "maps": [rgb, colorize_depth(depth.values, depth.kind)[0], given],
        "camera": [_surface_normals(*naive(depth)), _surface_normals(raw.depth, raw.intrinsics), given],
        "refine": [mixed, _surface_normals(raw.depth, raw.intrinsics), _surface_normals(made.depth, made.intrinsics)],
        "edges": [edges, side_view(raw, rgb, raw.valid[0]), side_view(made, rgb, made.valid[0] & ~made.edges[0])],
    }  # fmt: skip


def naive(depth: DepthPrediction) -> tuple[Tensor, Tensor]:
    """Return depth and intrinsics of a map that is taken for all of the disparity, seen with 60 degrees."""
    values = depth.values - depth.values.min()
    resolved = 1.0 / (values + NAIVE_SHIFT) if depth.kind == "disparity" else values + NAIVE_SHIFT
    return resolved, intrinsics_from_fov(60.0, *values.shape[1:])


def snapped(geometry: JointGeometry, depth: DepthPrediction) -> Tensor:
    """Return the pixels that refinement moves to one of two surfaces before it does anything else, (H, W) bool."""
    facing = facing_normals(geometry.normals, geometry.intrinsics)
    slope_x, slope_y, cosine = log_depth_slopes(facing, geometry.intrinsics)
    focal = geometry.intrinsics[:, 0, 0, None, None]
    log_depth = geometry.depth.log()
    _, mixed = snap_mixed_pixels(log_depth, slope_x, slope_y, cosine, focal, geometry.valid, depth.kind)
    return mixed[0]


def failure(rgb: Tensor, both: JointPrediction) -> list[Tensor]:
    """Return a photograph, its disparity, and the surface from the side."""
    made = resolve_geometry(both.depth, both.normals)
    disparity = colorize_depth(both.depth.values, both.depth.kind)[0]
    return [rgb, disparity, side_view(made, rgb, made.valid[0] & ~made.edges[0])]


def fusion(folder: Path, models: list[lc.LotusModel], inference: lc.InferenceOptions) -> list[Tensor]:
    """Return one of several views, the points of all views as each places them, and the fused surface."""
    posed = read_transforms(folder).images
    cameras = [image.camera for image in posed]
    pictures = torch.cat([read_image(folder / image.name).pixels for image in posed])
    both = lc.predict_joint(models[0], models[1], pictures, inference, resolve=False)
    fused = fuse_views(both, cameras, images=list(pictures))
    agreement = fused.alignment.agreement
    print(
        f"{folder.name}: {len(cameras)} views agree on {float(agreement.agreement.mean()):.0%}, scale spread "
        f"{agreement.scale_spread:.4f}, {len(fused.mesh.faces)} triangles"
    )
    at = cameras[len(cameras) // 2]
    eye = Camera(
        at.intrinsics, beside(at, float(fused.depths[len(cameras) // 2].median())), at.width, at.height
    )
    mesh = fused.mesh
    colours = torch.ones_like(mesh.vertices) if mesh.colours is None else mesh.colours
    return [
        pictures[len(cameras) // 2],
        paint_points(eye, *unfused(both, fused, cameras, pictures)),
        paint_points(eye, mesh.vertices, colours),
    ]


def unfused(
    both: JointPrediction, fused: FusedViews, cameras: list[Camera], pictures: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the points of all views in the world as each picture alone places them, and their colours.

    Even their scales are right, by the fused depth's median: what is left is the error of each one's shape.
    """
    points, colours = [], []
    for index, camera in enumerate(cameras):
        depth = replace(both.depth, values=both.depth.values[index : index + 1])
        normals = replace(both.normals, vectors=both.normals.vectors[index : index + 1])
        made = resolve_geometry(depth, normals, fov_x_deg=camera.fov_x_deg)
        keep = made.valid[0] & ~made.edges[0] & ~made.clipped[0]
        scale = fused.depths[index][keep].median() / made.depth[0][keep].median()
        points.append(transform_points(made.points[0][keep] * scale, camera.world_from_camera))
        colours.append(pictures[index][keep])
    return torch.cat(points), torch.cat(colours)


def _surface_normals(depth: Tensor, intrinsics: Tensor) -> Tensor:
    """Picture of the normals of a (1, H, W) depth's surface."""
    return normal_rgb(central_normals(depth[0], intrinsics[0])[None])[0]


def _say(name: str, both: JointPrediction) -> None:
    """Print what calibration found."""
    found = calibrate(both.depth.values, both.normals.vectors, kind=both.depth.kind)
    print(
        f"{name}: {float(found.fov_x_deg):.1f} degrees across, from the {found.focal_source[0]}; sd of ln f "
        f"{float(found.sd_log_focal):.2f}, normals differ by {float(found.angle_deg):.1f} degrees, "
        f"{float(found.coverage):.0%} of the picture used {found.reason[0]}"
    )
