from __future__ import annotations

import json
import math

import pytest
import torch

from lotus_core.errors import GeometryError
from lotus_core.geometry.points import project, transform_points
from lotus_core.io.transforms_json import frame_names, opencv_from_opengl, read_transforms

IDENTITY = torch.eye(4).tolist()


def write(folder, data):
    path = folder / "transforms.json"
    path.write_text(json.dumps(data))
    return path


def nerfstudio(**changes):
    return {
        "camera_model": "OPENCV",
        "fl_x": 100.0,
        "fl_y": 110.0,
        "cx": 51.0,
        "cy": 39.0,
        "w": 100,
        "h": 80,
        "k1": -0.1,
        "p2": 0.01,
        "frames": [{"file_path": "images/b.jpg", "transform_matrix": IDENTITY}],
        **changes,
    }


def test_intrinsics_and_lens_are_read(tmp_path):
    (image,) = read_transforms(write(tmp_path, nerfstudio())).images
    assert image.camera.intrinsics.tolist() == [[100, 0, 51], [0, 110, 39], [0, 0, 1]]
    assert (image.camera.width, image.camera.height) == (100, 80)
    assert (image.distortion.k1, image.distortion.k2, image.distortion.p2) == (-0.1, 0.0, 0.01)


def test_a_folder_finds_its_file(tmp_path):
    write(tmp_path, nerfstudio())
    assert len(read_transforms(tmp_path).images) == 1


def test_a_frames_own_entries_win(tmp_path):
    frame = {"file_path": "a.jpg", "transform_matrix": IDENTITY, "fl_x": 222.0, "w": 200}
    (image,) = read_transforms(write(tmp_path, nerfstudio(frames=[frame]))).images
    assert image.camera.intrinsics[0, 0] == 222
    assert image.camera.width == 200


def test_views_are_sorted_by_name(tmp_path):
    frames = [{"file_path": name, "transform_matrix": IDENTITY} for name in ("c.png", "a.png", "b.png")]
    names = [image.name for image in read_transforms(write(tmp_path, nerfstudio(frames=frames))).images]
    assert names == ["a.png", "b.png", "c.png"]


def test_the_original_format_has_an_angle_and_takes_the_size_of_the_pictures(tmp_path):
    data = {
        "camera_angle_x": math.radians(90),
        "frames": [{"file_path": "./train/r_0", "transform_matrix": IDENTITY}],
    }
    (image,) = read_transforms(write(tmp_path, data), image_size=(60, 80)).images
    expected = torch.tensor([[40.0, 0, 40], [0, 40, 30], [0, 0, 1]])
    torch.testing.assert_close(image.camera.intrinsics, expected)


def test_without_any_size_the_file_is_refused(tmp_path):
    data = {"camera_angle_x": 1.0, "frames": [{"file_path": "a", "transform_matrix": IDENTITY}]}
    with pytest.raises(GeometryError, match=r"w in .* must be a finite number"):
        read_transforms(write(tmp_path, data))


def test_the_opengl_identity_looks_along_minus_z_with_y_up(tmp_path):
    # A point 4 ahead, 1 to the right and 1 up, in a world whose camera stands at the origin unturned.
    (image,) = read_transforms(write(tmp_path, nerfstudio())).images
    inside = transform_points(torch.tensor([[1.0, 1.0, -4.0]]), image.camera.camera_from_world)
    torch.testing.assert_close(inside, torch.tensor([[1.0, -1.0, 4.0]]))
    pixel, _ = project(inside[None], image.camera.intrinsics[None])
    torch.testing.assert_close(pixel[0], torch.tensor([[51.0 + 25, 39.0 - 27.5]]))


def test_a_camera_that_was_moved_and_turned(tmp_path):
    # world_from_camera (OpenGL): stands at (0, 0, 5) and is turned by 90 degrees to the left about +y.
    turned = [[0.0, 0, 1, 0], [0, 1, 0, 0], [-1, 0, 0, 5], [0, 0, 0, 1]]
    frame = {"file_path": "a", "transform_matrix": turned}
    (image,) = read_transforms(write(tmp_path, nerfstudio(frames=[frame]))).images
    # It looks along world -x: a point 3 further that way is straight ahead.
    inside = transform_points(torch.tensor([[-3.0, 0.0, 5.0]]), image.camera.camera_from_world)
    torch.testing.assert_close(inside, torch.tensor([[0.0, 0.0, 3.0]]), atol=1e-6, rtol=0)


def test_turning_the_axes_twice_gives_the_pose_back():
    pose = torch.randn(4, 4)
    assert torch.equal(opencv_from_opengl(opencv_from_opengl(pose)), pose)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": []}, "lists no frames"),
        ({"frames": "no"}, "lists no frames"),
        ({"frames": [3]}, "lists no frames"),
        ({"frames": [{"transform_matrix": IDENTITY}]}, "names no file_path"),
        ({"frames": [{"file_path": "a"}]}, "transform_matrix in .* must be a 4 x 4 matrix"),
        ({"frames": [{"file_path": "a", "transform_matrix": [[1.0] * 4] * 3}]}, "must be a 4 x 4 matrix"),
        ({"camera_model": "OPENCV_FISHEYE"}, "no pinhole .*OPENCV_FISHEYE.*undistort the pictures"),
        ({"camera_model": "EQUIRECTANGULAR"}, "no pinhole"),
        ({"is_fisheye": True}, "fisheye"),
        ({"fl_x": -5.0}, "is not positive"),
        ({"fl_x": "long"}, "fl_x in .* must be a finite number"),
        ({"w": 0}, "no usable picture size"),
        ({"k1": float("inf")}, "k1 in .* must be a finite number"),
    ],
)
def test_what_cannot_be_used_is_refused(changes, message, tmp_path):
    with pytest.raises(GeometryError, match=message):
        read_transforms(write(tmp_path, nerfstudio(**changes)))


@pytest.mark.parametrize("angle", [0.0, -1.0, 3.2])
def test_an_angle_that_is_none_is_refused(angle, tmp_path):
    data = {
        "camera_angle_x": angle,
        "w": 4,
        "h": 4,
        "frames": [{"file_path": "a", "transform_matrix": IDENTITY}],
    }
    with pytest.raises(GeometryError, match="no angle in radians"):
        read_transforms(write(tmp_path, data))


def test_the_names_are_told_in_the_files_order(tmp_path):
    frames = [{"file_path": name, "transform_matrix": IDENTITY} for name in ("c.jpg", "a.jpg", "b.jpg")]
    path = write(tmp_path, nerfstudio(frames=frames))
    assert frame_names(path) == frame_names(tmp_path) == ["c.jpg", "a.jpg", "b.jpg"]


@pytest.mark.parametrize("frames", [[], None, ["a.jpg"]])
def test_names_of_no_frames_are_refused(frames, tmp_path):
    with pytest.raises(GeometryError, match="lists no frames"):
        frame_names(write(tmp_path, nerfstudio(frames=frames)))


def test_a_frame_without_a_name_is_refused_before_its_camera_is_read(tmp_path):
    with pytest.raises(GeometryError, match="names no file_path"):
        frame_names(write(tmp_path, {"frames": [{"transform_matrix": IDENTITY}]}))
