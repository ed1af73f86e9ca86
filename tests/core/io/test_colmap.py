"""Models are written by COLMAP's own bindings and read by ours."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pycolmap
import pytest
import torch

from lotus_core.errors import GeometryError
from lotus_core.geometry.anchors import anchors_from_points
from lotus_core.geometry.points import transform_points
from lotus_core.io.colmap import find_model, read_colmap

NAMES = ["b.jpg", "sub dir/a.jpg", "c.jpg"]


def build(model: str = "OPENCV", params: tuple[float, ...] = (500, 510, 320, 240, -0.1, 0.02, 0.003, -0.004)):
    rng = np.random.default_rng(0)
    reconstruction = pycolmap.Reconstruction()
    reconstruction.add_camera_with_trivial_rig(
        pycolmap.Camera(model=model, width=640, height=480, params=list(params), camera_id=7)
    )
    points = rng.uniform([-1, -1, 3], [1, 1, 6], (5, 3))
    for index, name in enumerate(NAMES):
        quaternion = np.array([0.1 * index, -0.05, 0.02 * index, 1.0])
        pose = pycolmap.Rigid3d(
            pycolmap.Rotation3d(quaternion / np.linalg.norm(quaternion)), np.array([0.3 * index, 0.1, -0.2])
        )
        image = pycolmap.Image(name=name, camera_id=7, image_id=index + 1)
        image.points2D = pycolmap.Point2DList([pycolmap.Point2D(rng.uniform(0, 400, 2)) for _ in range(6)])
        reconstruction.add_image_with_trivial_frame(image, pose)
    for index, xyz in enumerate(points):
        track = pycolmap.Track()
        for image in ([1, 2, 3], [1, 2], [2, 3], [1, 3], [1, 2, 3])[index]:
            track.add_element(image, index)
        reconstruction.add_point3D(xyz, track, np.zeros(3, dtype=np.uint8))
    return reconstruction


@pytest.fixture(params=["bin", "txt"])
def model(request, tmp_path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (build().write_binary if request.param == "bin" else build().write_text)(str(folder))
    return folder


def test_poses_are_those_that_colmap_wrote(model):
    expected = {image.name: image for image in build().images.values()}
    cameras = read_colmap(model)
    assert [image.name for image in cameras.images] == sorted(NAMES)
    for image in cameras.images:
        matrix = torch.from_numpy(expected[image.name].cam_from_world().matrix()).float()
        torch.testing.assert_close(image.camera.camera_from_world[:3], matrix, atol=1e-6, rtol=0)


def test_intrinsics_size_and_lens_are_those_that_colmap_wrote(model):
    image = read_colmap(model).images[0]
    assert image.camera.intrinsics.tolist() == [[500, 0, 320], [0, 510, 240], [0, 0, 1]]
    assert (image.camera.width, image.camera.height) == (640, 480)
    lens = image.distortion
    assert (lens.k1, lens.k2, lens.p1, lens.p2) == (-0.1, 0.02, 0.003, -0.004)


def test_points_come_with_the_views_that_saw_them(model):
    cameras = read_colmap(model)
    reference = build()
    assert cameras.points is not None
    expected = {
        (reference.images[element.image_id].name, tuple(np.round(point.xyz, 4)))
        for point in reference.points3D.values()
        for element in point.track.elements
    }
    names = [image.name for image in cameras.images]
    found = {
        (names[view], tuple(np.round(cameras.points.positions[point].double().numpy(), 4)))
        for view, point in zip(cameras.points.views.tolist(), cameras.points.points.tolist(), strict=True)
    }
    assert found == expected


def test_points_project_where_colmap_says_they_do(model):
    cameras = read_colmap(model)
    anchors = anchors_from_points(cameras.points, [image.camera for image in cameras.images])
    reference = next(image for image in build().images.values() if image.name == cameras.images[0].name)
    inside = transform_points(cameras.points.positions, cameras.images[0].camera.camera_from_world)
    matrix = reference.cam_from_world().matrix()
    xyz = cameras.points.positions.double().numpy()
    np.testing.assert_allclose(inside.numpy(), xyz @ matrix[:, :3].T + matrix[:, 3], atol=1e-5)
    assert len(anchors.depth) > 0


@pytest.mark.parametrize(
    ("name", "params", "pinhole", "lens"),
    [
        ("SIMPLE_PINHOLE", (500, 320, 240), (500, 500, 320, 240), {}),
        ("PINHOLE", (500, 510, 321, 239), (500, 510, 321, 239), {}),
        ("SIMPLE_RADIAL", (500, 320, 240, 0.1), (500, 500, 320, 240), {"k1": 0.1}),
        ("RADIAL", (500, 320, 240, 0.1, -0.2), (500, 500, 320, 240), {"k1": 0.1, "k2": -0.2}),
    ],
)
@pytest.mark.parametrize("form", ["binary", "text"])
def test_every_pinhole_model_is_read(name, params, pinhole, lens, form, tmp_path):
    getattr(build(name, params), f"write_{form}")(str(tmp_path))
    image = read_colmap(tmp_path).images[0]
    k = image.camera.intrinsics
    assert (k[0, 0], k[1, 1], k[0, 2], k[1, 2]) == pinhole
    assert {key: value for key, value in vars(image.distortion).items() if value} == lens


@pytest.mark.parametrize("form", ["binary", "text"])
def test_a_fisheye_model_is_refused_with_the_way_out(form, tmp_path):
    getattr(build("OPENCV_FISHEYE", (500, 510, 320, 240, 0, 0, 0, 0)), f"write_{form}")(str(tmp_path))
    with pytest.raises(GeometryError, match=r"no pinhole.*colmap image_undistorter"):
        read_colmap(tmp_path)


@pytest.mark.parametrize("below", ["sparse/0", "sparse", "colmap/sparse/0", "."])
def test_the_usual_folders_are_searched(below, tmp_path):
    folder = tmp_path / below
    folder.mkdir(parents=True, exist_ok=True)
    build().write_binary(str(folder))
    assert find_model(tmp_path)[0].resolve() == folder.resolve()


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(GeometryError, match=r"no COLMAP model.*sparse/0"):
        read_colmap(tmp_path)


def test_a_model_without_points_has_none(tmp_path):
    build().write_binary(str(tmp_path))
    (tmp_path / "points3D.bin").write_bytes(struct.pack("<Q", 0))
    assert read_colmap(tmp_path).points is None


@pytest.mark.parametrize("name", ["cameras", "images", "points3D"])
def test_a_truncated_binary_file_is_refused_at_every_length(name, tmp_path):
    build().write_binary(str(tmp_path))
    file = tmp_path / f"{name}.bin"
    whole = file.read_bytes()
    for length in sorted({0, 7, 8, 9, 20, len(whole) // 3, len(whole) // 2, len(whole) - 1}):
        file.write_bytes(whole[:length])
        with pytest.raises(GeometryError, match=rf"{name}\.bin is damaged"):
            read_colmap(tmp_path)


@pytest.mark.parametrize("name", ["cameras", "images", "points3D"])
def test_a_binary_file_with_more_behind_it_is_refused(name, tmp_path):
    build().write_binary(str(tmp_path))
    file = tmp_path / f"{name}.bin"
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(GeometryError, match="1 bytes behind the last row"):
        read_colmap(tmp_path)


@pytest.mark.parametrize("name", ["cameras", "images", "points3D"])
def test_a_count_that_the_file_cannot_hold_is_refused_at_once(name, tmp_path):
    build().write_binary(str(tmp_path))
    file = tmp_path / f"{name}.bin"
    file.write_bytes(struct.pack("<Q", 2**60) + file.read_bytes()[8:])
    with pytest.raises(GeometryError, match="is damaged"):
        read_colmap(tmp_path)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", ["cameras", "images", "points3D"])
def test_random_bytes_are_refused(name, seed, tmp_path):
    build().write_binary(str(tmp_path))
    noise = np.random.default_rng(seed).bytes(400)
    (tmp_path / f"{name}.bin").write_bytes(struct.pack("<Q", 1 + seed % 2) + noise)
    with pytest.raises(GeometryError):
        read_colmap(tmp_path)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("cameras", "1 PINHOLE wide 480 1 2 3 4"),
        ("cameras", "1 PINHOLE 640"),
        ("cameras", "1 PINHOLE 640 480 500 500 320"),
        ("cameras", "1 PINHOLE 640 480 nan 500 320 240"),
        ("images", "1 1 0 0 0 0 0 0 one name.jpg\n"),
        ("images", "1 1 0 0\n"),
        ("images", "1 1 0 0 0 0 0 0 7 a.jpg\n1 2 three"),
        ("points3D", "1 0 0"),
        ("points3D", "1 0 0 zero 0 0 0 0"),
    ],
)
def test_a_malformed_text_line_is_refused(name, line, tmp_path):
    build().write_text(str(tmp_path))
    (tmp_path / f"{name}.txt").write_text(line + "\n")
    with pytest.raises(GeometryError, match=rf"{name}\.txt"):
        read_colmap(tmp_path)


def test_a_quaternion_that_is_no_rotation_is_refused(tmp_path):
    build().write_text(str(tmp_path))
    (tmp_path / "images.txt").write_text("1 2 0 0 0 0 0 0 7 a.jpg\n\n")
    with pytest.raises(GeometryError, match=r"a\.jpg .* is no rigid motion"):
        read_colmap(tmp_path)


def test_a_camera_that_is_missing_is_named(tmp_path):
    build().write_text(str(tmp_path))
    (tmp_path / "images.txt").write_text("1 1 0 0 0 0 0 0 9 a.jpg\n\n")
    with pytest.raises(GeometryError, match=r"a\.jpg .*found: camera 9"):
        read_colmap(tmp_path)


def test_a_picture_without_features_is_read(tmp_path):
    build().write_text(str(tmp_path))
    (tmp_path / "images.txt").write_text("1 1 0 0 0 0 0 0 7 a.jpg\n\n2 1 0 0 0 0 0 0 7 b.jpg\n\n")
    cameras = read_colmap(tmp_path)
    assert [image.name for image in cameras.images] == ["a.jpg", "b.jpg"]
    assert cameras.points.views.tolist() == []


def test_binary_wins_over_text_as_colmap_itself_does(tmp_path):
    build().write_binary(str(tmp_path))
    build("PINHOLE", (1, 1, 1, 1)).write_text(str(tmp_path))
    assert read_colmap(tmp_path).images[0].camera.intrinsics[0, 0] == 500
