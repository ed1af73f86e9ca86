from __future__ import annotations

import json
import math

import pytest
import torch

from lotus_core.errors import GeometryError
from lotus_core.geometry.anchors import SparsePoints
from lotus_core.geometry.camera import Camera, intrinsics_from_fov
from lotus_core.geometry.distortion import Distortion
from lotus_core.io.cameras import (
    CameraRecord,
    CameraSet,
    PosedImage,
    fit_to_image,
    load_json,
    read_camera_json,
    write_camera_json,
)


@pytest.fixture
def record() -> CameraRecord:
    pose = torch.eye(4)
    pose[:3, 3] = torch.tensor([1.0, 2.0, 3.0])
    return CameraRecord(
        Camera(intrinsics_from_fov(60.0, 480, 640)[0], pose, 640, 480), "unknown", "estimated", 0.12
    )


def views_of_one_scene(count: int, points: SparsePoints | None) -> CameraSet:
    camera = Camera(intrinsics_from_fov(60.0, 48, 64)[0], torch.eye(4), 64, 48)
    return CameraSet(tuple(PosedImage(f"{i}.png", camera, Distortion()) for i in range(count)), points)


def test_chosen_views_stand_in_the_order_asked_for_and_their_observations_follow_them():
    """Views 8 and 4 of nine become views 0 and 1; what views 5 and 0 saw is dropped."""
    points = SparsePoints(torch.rand(3, 3), torch.tensor([0, 4, 5, 8, 4]), torch.tensor([0, 1, 2, 0, 2]))
    chosen = views_of_one_scene(9, points).chosen((8, 4))
    assert [image.name for image in chosen.images] == ["8.png", "4.png"]
    assert chosen.points is not None
    assert chosen.points.views is not None
    assert chosen.points.points is not None
    assert chosen.points.views.tolist() == [1, 0, 1]
    assert chosen.points.points.tolist() == [1, 0, 2]
    assert torch.equal(chosen.points.positions, points.positions)


def test_choosing_every_view_changes_nothing():
    points = SparsePoints(torch.rand(2, 3), torch.tensor([0, 1, 2]), torch.tensor([0, 1, 1]))
    every = views_of_one_scene(3, points).chosen(range(3))
    assert [image.name for image in every.images] == ["0.png", "1.png", "2.png"]
    assert every.points is not None
    assert torch.equal(every.points.views, points.views)
    assert torch.equal(every.points.points, points.points)


@pytest.mark.parametrize("points", [None, SparsePoints(torch.rand(3, 3))])
def test_points_without_observations_are_left_as_they_are_by_a_choice(points):
    assert views_of_one_scene(4, points).chosen([2]).points is points


def test_a_camera_comes_back_as_it_was_written(record, tmp_path):
    back = read_camera_json(write_camera_json(tmp_path / "camera.json", record))
    assert torch.equal(back.camera.intrinsics, record.camera.intrinsics)
    assert torch.equal(back.camera.world_from_camera, record.camera.world_from_camera)
    assert (back.camera.width, back.camera.height) == (640, 480)
    assert (back.unit, back.focal_source, back.confidence) == ("unknown", "estimated", 0.12)


def test_the_file_says_its_convention_scale_and_fields_of_view(record, tmp_path):
    data = json.loads(write_camera_json(tmp_path / "camera.json", record).read_text())
    assert "+y down" in data["convention"]
    assert "pixel centres at +0.5" in data["convention"]
    assert data["scale"] == {"unit": "unknown"}
    assert data["fov_x_deg"] == pytest.approx(60.0, abs=1e-4)
    focal = 320 / math.tan(math.radians(30))
    assert data["intrinsics"][0] == pytest.approx([focal, 0, 320], rel=1e-6)
    assert data["fov_y_deg"] == pytest.approx(math.degrees(2 * math.atan(240 / focal)), abs=1e-4)


def test_a_metric_camera_without_confidence_comes_back(record, tmp_path):
    metric = CameraRecord(record.camera, "metre", "given", None)
    back = read_camera_json(write_camera_json(tmp_path / "camera.json", metric))
    assert (back.unit, back.focal_source, back.confidence) == ("metre", "given", None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "is not a camera.json of this library"),
        ({"version": 2}, "version 2"),
        ({"intrinsics": None}, "intrinsics in .* must be a 3 x 3 matrix .*found: nothing"),
        ({"intrinsics": [[1, 2], [3, 4]]}, "must be a 3 x 3 matrix"),
        ({"intrinsics": [["a"] * 3] * 3}, "must be a 3 x 3 matrix"),
        ({"world_from_camera": [[float("nan")] * 4] * 4}, "of finite numbers"),
        ({"width": "wide"}, "width in .* must be a finite number"),
        ({"width": True}, "width in .* must be a finite number"),
    ],
)
def test_a_changed_file_is_refused_and_says_what_is_wrong(change, message, record, tmp_path):
    path = write_camera_json(tmp_path / "camera.json", record)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(GeometryError, match=message):
        read_camera_json(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not valid JSON"),
        (b"\xff\xfe", "is not valid JSON"),
        (b"[" * 200_000, "is not valid JSON"),
        (b"[1]", r"holds no JSON object \(found: list\)"),
    ],
)
def test_broken_json_is_refused(content, message, tmp_path):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(GeometryError, match=message):
        load_json(tmp_path / "a.json")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(GeometryError, match=r"cannot be read .*No such file"):
        load_json(tmp_path / "none.json")


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "a.json"
    with path.open("wb") as stream:
        stream.truncate(65 * 2**20)
    with pytest.raises(GeometryError, match="too large for a camera file"):
        load_json(path)


def view(width: int, height: int) -> PosedImage:
    return PosedImage(
        "a.jpg",
        Camera(intrinsics_from_fov(60.0, height, width)[0], torch.eye(4), width, height),
        Distortion(),
    )


def test_a_smaller_copy_of_the_picture_scales_the_intrinsics():
    fitted = fit_to_image(view(640, 480), 240, 320)
    assert (fitted.camera.width, fitted.camera.height) == (320, 240)
    torch.testing.assert_close(fitted.camera.intrinsics, intrinsics_from_fov(60.0, 240, 320)[0])


def test_the_rounding_of_a_resize_is_forgiven():
    assert fit_to_image(view(1000, 667), 333, 500).camera.height == 333


def test_a_picture_of_the_cameras_size_changes_nothing():
    given = view(64, 48)
    assert fit_to_image(given, 48, 64) is given


@pytest.mark.parametrize(("height", "width"), [(640, 480), (480, 600), (400, 640)])
def test_a_turned_or_cropped_picture_is_refused(height, width):
    with pytest.raises(
        GeometryError, match=r"a\.jpg has another shape .*the camera file says 640 x 480.*not cropped"
    ):
        fit_to_image(view(640, 480), height, width)
