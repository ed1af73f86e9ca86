from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from lotus_core.errors import GeometryError
from lotus_core.geometry.anchors import SparsePoints
from lotus_core.geometry.camera import Camera, intrinsics_from_fov
from lotus_core.geometry.distortion import Distortion
from lotus_core.io.cameras import CameraSet, PosedImage
from lotus_core.io.views import find_image, load_view, read_cameras, spread_views, transforms_file

STRAIGHT = Distortion()


def save(path, width=64, height=48, level=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), level, np.uint8)).save(path)
    return path


def posed(name: str, width=64, height=48, distortion=STRAIGHT) -> PosedImage:
    camera = Camera(intrinsics_from_fov(60.0, height, width)[0], torch.eye(4), width, height)
    return PosedImage(name, camera, distortion)


def nerf_file(path, names):
    frames = [{"file_path": name, "transform_matrix": np.eye(4).tolist()} for name in names]
    path.write_text(json.dumps({"camera_angle_x": 1.0, "frames": frames}))
    return path


def test_the_original_nerf_format_takes_its_size_from_the_pictures(tmp_path):
    save(tmp_path / "images/a.png", 80, 40)
    cameras = read_cameras(nerf_file(tmp_path / "transforms.json", ["images/a"]), tmp_path)
    camera = cameras.images[0].camera
    assert (camera.width, camera.height) == (80, 40)
    assert float(camera.intrinsics[0, 0]) == pytest.approx(40 / np.tan(0.5), rel=1e-5)


def test_a_folder_stands_for_its_transforms(tmp_path):
    save(tmp_path / "a.png")
    nerf_file(tmp_path / "transforms.json", ["a.png"])
    assert [image.name for image in read_cameras(tmp_path, tmp_path).images] == ["a.png"]


def test_a_folder_without_any_cameras_is_refused(tmp_path):
    with pytest.raises(GeometryError):
        read_cameras(tmp_path, tmp_path)


def test_a_json_file_or_a_folder_with_a_transforms_json_means_that_file(tmp_path):
    file = nerf_file(tmp_path / "transforms.json", ["a.png"])
    other = nerf_file(tmp_path / "other.JSON", ["a.png"])
    assert transforms_file(tmp_path) == transforms_file(file) == file
    assert transforms_file(other) == other


@pytest.mark.parametrize("name", ["", "cameras.bin", "gone.json"])
def test_any_other_path_of_cameras_means_a_colmap_model(name, tmp_path):
    (tmp_path / "cameras.bin").write_bytes(b"")
    assert transforms_file(tmp_path / name) is None


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("a.png", "a.png"),
        ("images/a.png", "images/a.png"),
        ("images/a.png", "a.png"),
        ("./images/a", "a.jpg"),
        ("../elsewhere/images/b.v2", "images/b.v2.png"),
    ],
)
def test_pictures_are_found_as_files_name_them(name, file, tmp_path):
    path = save(tmp_path / file)
    assert find_image(tmp_path, name) == path


def test_a_name_never_leads_out_of_the_folder(tmp_path):
    save(tmp_path / "secret.png")
    inside = tmp_path / "images"
    inside.mkdir()
    with pytest.raises(GeometryError, match="not in"):
        find_image(inside, "../secret.png")
    with pytest.raises(GeometryError, match="not in"):
        find_image(inside, str(tmp_path / "secret.png"))


def test_the_longer_path_wins_where_both_exist(tmp_path):
    save(tmp_path / "a.png")
    deeper = save(tmp_path / "images/a.png")
    assert find_image(tmp_path, "images/a.png") == deeper


def test_a_picture_that_is_missing_is_named(tmp_path):
    with pytest.raises(GeometryError, match=r"images/gone\.png is named by the cameras"):
        find_image(tmp_path, "images/gone.png")


def camera_set(count: int, points: SparsePoints | None = None) -> CameraSet:
    return CameraSet(tuple(posed(f"{i:02d}.png") for i in range(count)), points)


def test_few_enough_views_are_all_taken():
    cameras = camera_set(5)
    assert spread_views(cameras, 5) is cameras


def test_views_are_spread_evenly_with_both_ends():
    assert [image.name for image in spread_views(camera_set(9), 3).images] == ["00.png", "04.png", "08.png"]


def test_observations_follow_the_views_that_are_kept():
    points = SparsePoints(torch.rand(3, 3), torch.tensor([0, 1, 4, 8, 7]), torch.tensor([0, 1, 2, 0, 1]))
    kept = spread_views(camera_set(9, points), 3).points
    assert kept is not None
    assert kept.views is not None
    assert kept.points is not None
    assert kept.views.tolist() == [0, 1, 2]  # views 0, 4 and 8 are now 0, 1 and 2
    assert kept.points.tolist() == [0, 2, 0]
    assert torch.equal(kept.positions, points.positions)


def test_points_without_observations_stay():
    points = SparsePoints(torch.rand(3, 3))
    assert spread_views(camera_set(9, points), 3).points is points


def test_a_picture_of_its_cameras_size_comes_as_it_is(tmp_path):
    image, camera, mask = load_view(posed("a.png"), save(tmp_path / "a.png", level=51), 1024)
    assert image.shape == (48, 64, 3)
    assert torch.allclose(image, torch.tensor(0.2), atol=1e-6)
    assert (camera.width, camera.height) == (64, 48)
    assert mask.all()


def test_large_pictures_are_shrunk_with_their_intrinsics(tmp_path):
    """640 wide to 160: a quarter of the focal length."""
    view = posed("a.png", 640, 480)
    image, camera, mask = load_view(view, save(tmp_path / "a.png", 640, 480), 160)
    assert image.shape == (120, 160, 3)
    assert mask.shape == (120, 160)
    assert float(camera.intrinsics[0, 0]) == pytest.approx(float(view.camera.intrinsics[0, 0]) / 4)
    assert camera.intrinsics[:2, 2].tolist() == [80.0, 60.0]


def test_a_picture_at_half_the_cameras_size_gets_half_the_intrinsics(tmp_path):
    _, camera, _ = load_view(posed("a.png", 128, 96), save(tmp_path / "a.png", 64, 48), 1024)
    assert (camera.width, camera.height) == (64, 48)
    assert camera.intrinsics[:2, 2].tolist() == [32.0, 24.0]


def test_a_picture_of_another_shape_is_refused(tmp_path):
    with pytest.raises(GeometryError):
        load_view(posed("a.png", 64, 64), save(tmp_path / "a.png", 64, 20), 1024)


def test_a_lens_that_bends_is_straightened_and_what_it_did_not_see_is_masked(tmp_path):
    """A pincushion lens sees less than the pinhole at the corners."""
    bent = posed("a.png", distortion=Distortion(k1=0.5))
    image, _, mask = load_view(bent, save(tmp_path / "a.png", level=255), 1024)
    assert mask.shape == image.shape[:2]
    assert mask[24, 32]
    assert not mask.all()
    assert torch.allclose(image[mask], torch.tensor(1.0), atol=1e-5)
