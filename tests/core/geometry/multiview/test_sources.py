"""From what other programs leave behind to one surface: Nerfstudio, COLMAP and Depth Anything 3."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pycolmap
import pytest
import torch

from lotus_core.errors import GeometryError, ShapeError
from lotus_core.geometry.anchors import anchors_from_depth, anchors_from_points
from lotus_core.geometry.da3 import views_from_da3
from lotus_core.geometry.multiview import FusionOptions, fuse_views
from lotus_core.io.cameras import fit_to_image
from lotus_core.io.colmap import read_colmap
from lotus_core.io.transforms_json import read_transforms
from tests.core.geometry.multiview.rig import HEIGHT, WIDTH, View, predict, surface_distance

COARSE = FusionOptions(voxel=0.15)


def fused(seen: list[View], cameras, anchors=None, kind="depth", options=COARSE):
    return fuse_views([predict(view, kind) for view in seen], cameras, anchors, options=options)


def depth_error(made, seen: list[View], unit: float = 1.0) -> float:
    """Mean relative error of the depth of what was fused, in a unit of so many metres."""
    errors = [
        ((depth * unit - view.depth).abs() / view.depth)[kept]
        for depth, view, kept in zip(made.depths, seen, made.supported, strict=True)
    ]
    return float(torch.cat(errors).mean())


def da3_packet(seen: list[View], unit: float) -> dict[str, object]:
    """What ComfyUI's Depth Anything 3 gives: depth and poses in one made-up unit, intrinsics at its own size."""
    size = (HEIGHT // 14 * 14 + 14, WIDTH // 14 * 14 + 14)
    scale = torch.tensor([size[1] / WIDTH, size[0] / HEIGHT, 1.0])[:, None]
    poses = torch.stack([view.camera.camera_from_world for view in seen])[:, :3].clone()
    poses[:, :, 3] /= unit
    return {
        "mode": "multiview",
        "depth": torch.stack([view.depth for view in seen]) / unit,
        "extrinsics": poses[None],
        "intrinsics": torch.stack([view.camera.intrinsics * scale for view in seen])[None],
    }


def transforms(folder: Path, seen: list[View], factor: int = 1) -> Path:
    """A Nerfstudio file for pictures ``factor`` times as large as the maps."""
    k = seen[0].camera.intrinsics.double() * factor
    frames = [
        {
            "file_path": f"images/{index}.png",
            "transform_matrix": (
                view.camera.world_from_camera.double() * torch.tensor([1.0, -1.0, -1.0, 1.0])
            ).tolist(),
        }
        for index, view in enumerate(seen)
    ]
    facts = {"w": WIDTH * factor, "h": HEIGHT * factor, "fl_x": float(k[0, 0]), "fl_y": float(k[1, 1])}
    path = folder / "transforms.json"
    path.write_text(json.dumps({**facts, "cx": float(k[0, 2]), "cy": float(k[1, 2]), "frames": frames}))
    return path


def colmap(folder: Path, seen: list[View], binary: bool) -> Path:
    """A COLMAP model, with 30 points of the surface that each view sees."""
    k = seen[0].camera.intrinsics.double()
    model = pycolmap.Reconstruction()
    parameters = [float(k[0, 0]), float(k[0, 2]), float(k[1, 2])]
    model.add_camera_with_trivial_rig(
        pycolmap.Camera(model="SIMPLE_PINHOLE", width=WIDTH, height=HEIGHT, params=parameters, camera_id=3)
    )
    generator = torch.Generator().manual_seed(0)
    tracks = []
    for index, view in enumerate(seen):
        row = torch.randint(2, HEIGHT - 2, (30,), generator=generator)
        column = torch.randint(2, WIDTH - 2, (30,), generator=generator)
        pixels = torch.stack([column, row], dim=-1).double() + 0.5
        rays = torch.cat([(pixels - k[:2, 2]) / k[0, 0], torch.ones(30, 1).double()], dim=-1)
        local = rays * view.depth[row, column, None]
        world = view.camera.world_from_camera.double()
        matrix = view.camera.camera_from_world.double().numpy()
        image = pycolmap.Image(name=f"{index}.png", camera_id=3, image_id=index + 1)
        image.points2D = pycolmap.Point2DList([pycolmap.Point2D(p) for p in pixels.numpy()])
        pose = pycolmap.Rigid3d(pycolmap.Rotation3d(matrix[:3, :3]), matrix[:3, 3])
        model.add_image_with_trivial_frame(image, pose)
        points = (local @ world[:3, :3].T + world[:3, 3]).numpy()
        tracks += [(index + 1, number, point) for number, point in enumerate(points)]
    for image_id, number, point in tracks:
        track = pycolmap.Track()
        track.add_element(image_id, number)
        model.add_point3D(point, track, np.zeros(3, dtype=np.uint8))
    folder.mkdir()
    (model.write_binary if binary else model.write_text)(str(folder))
    return folder


def test_depth_anything_3_gives_poses_and_the_scale(four_views):
    """Its unit is 2.5 m: the fused depth is in that unit."""
    cameras, anchors = views_from_da3(da3_packet(four_views, 2.5))
    made = fused(four_views, cameras, anchors, options=FusionOptions(voxel=0.06))
    assert depth_error(made, four_views, unit=2.5) < 2e-3
    assert float((surface_distance(made.mesh.vertices * 2.5)).quantile(0.9)) < 0.075


def test_a_packet_of_other_pictures_is_refused(four_views):
    """The same poses in another order than the maps."""
    cameras, _ = views_from_da3(da3_packet(four_views[::-1], 1.0))
    with pytest.raises(GeometryError, match=r"match|shares nothing"):
        fused(four_views, cameras)


def test_a_packet_of_pictures_of_another_size_is_refused(four_views):
    packet = da3_packet(four_views, 1.0)
    packet["depth"] = torch.ones(4, HEIGHT // 2, WIDTH // 2)
    cameras, _ = views_from_da3(packet)
    with pytest.raises(ShapeError, match=r"the map of view 0 has shape \(48, 64\), expected \(24, 32\)"):
        fused(four_views, cameras)


def test_poses_of_nerfstudio_are_in_order_and_in_opencv_axes(four_views, tmp_path):
    cameras = [image.camera for image in read_transforms(transforms(tmp_path, four_views)).images]
    assert depth_error(fused(four_views, cameras, kind="disparity"), four_views) < 0.01


def test_intrinsics_of_larger_pictures_are_brought_to_the_maps(four_views, tmp_path):
    """Maps of pictures that were shrunk to a quarter."""
    images = read_transforms(transforms(tmp_path, four_views, factor=4)).images
    with pytest.raises(ShapeError, match="the map of view 0"):
        fused(four_views, [image.camera for image in images])
    cameras = [fit_to_image(image, HEIGHT, WIDTH).camera for image in images]
    for camera, view in zip(cameras, four_views, strict=True):
        assert torch.allclose(camera.intrinsics, view.camera.intrinsics, atol=1e-3)


@pytest.mark.parametrize("binary", [True, False])
def test_points_of_colmap_are_anchors(binary, four_views, tmp_path):
    read = read_colmap(colmap(tmp_path / "model", four_views, binary))
    assert read.points is not None
    cameras = [image.camera for image in read.images]
    anchors = anchors_from_points(read.points, cameras)
    assert torch.bincount(anchors.view).tolist() == [30] * 4
    for index, view in enumerate(four_views):
        pixels, depth = anchors.of_view(index)
        column, row = (pixels - 0.5).round().long().unbind(-1)
        assert torch.allclose(depth, view.depth[row, column], rtol=1e-3)
    made = fused(four_views, cameras, anchors)
    assert depth_error(made, four_views) < 2e-3


def test_depth_of_a_sensor_anchors_one_view_and_through_it_all(four_views):
    """Only the second view has a sensor's depth; the poses are right."""
    unknown = torch.full((HEIGHT, WIDTH), float("nan"))
    anchors = anchors_from_depth([unknown, four_views[1].depth, unknown, unknown])
    assert set(anchors.view.tolist()) == {1}
    cameras = [view.camera for view in four_views]
    made = fused(four_views, cameras, anchors)
    assert depth_error(made, four_views) < 3e-3
