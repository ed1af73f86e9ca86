from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lotus_core.errors import GeometryError, ShapeError
from lotus_core.geometry.camera import Camera
from lotus_core.geometry.multiview.inputs import check_cameras, check_inputs
from lotus_core.types import JointPrediction
from tests.core.geometry.multiview.rig import HEIGHT, WIDTH, arc, look_from, predict, see

SIZE = (HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def views():
    return [see(camera) for camera in arc(3)]


@pytest.fixture
def predictions(views):
    return [predict(view) for view in views]


@pytest.fixture
def cameras(views):
    return [view.camera for view in views]


def with_pose(camera: Camera, pose: torch.Tensor) -> Camera:
    return replace(camera, world_from_camera=pose)


def test_one_batch_is_the_same_as_a_list_of_single_views(predictions, cameras):
    batch = JointPrediction(
        replace(predictions[0].depth, values=torch.cat([p.depth.values for p in predictions])),
        replace(predictions[0].normals, vectors=torch.cat([p.normals.vectors for p in predictions])),
    )
    one, many = (check_inputs(p, cameras, None, None) for p in (batch, predictions))
    assert len(one) == len(many) == 3
    for a, b in zip(one.values + one.normals, many.values + many.normals, strict=True):
        assert torch.equal(a, b)


def test_views_may_differ_in_size(cameras):
    small = look_from(0.2, 0.0, 0.3, height=24, width=40)
    predictions = [predict(see(cameras[0])), predict(see(small))]
    made = check_inputs(predictions, [cameras[0], small], None, None)
    assert [tuple(v.shape) for v in made.values] == [SIZE, (24, 40)]


def test_pixels_that_are_not_finite_or_masked_do_not_count(predictions, cameras):
    predictions[1].depth.values[0, 3, 5] = float("nan")
    mask = torch.ones(SIZE, dtype=torch.bool)
    mask[0] = False
    made = check_inputs(predictions, cameras, None, [mask] * 3)
    assert int((~made.valid[0]).sum()) == WIDTH
    assert int((~made.valid[1]).sum()) == WIDTH + 1
    assert not made.valid[1][3, 5]


def test_without_pictures_there_are_none(predictions, cameras):
    assert check_inputs(predictions, cameras, None, None).images is None


def test_pictures_are_kept_as_floats(predictions, cameras, views):
    made = check_inputs(predictions, cameras, [view.picture.double() for view in views], None)
    assert made.images is not None
    assert made.images[0].dtype == torch.float32
    assert made.cpu().images is not None


@pytest.mark.parametrize("count", [0, 1, 101])
def test_another_number_of_views_than_2_to_100_is_refused(count):
    with pytest.raises(GeometryError, match=f"from 2 to 100 pictures \\(found: {count}\\)"):
        check_cameras([look_from(0, 0, 0)] * count, [SIZE] * count)


def test_no_prediction_at_all_is_refused():
    with pytest.raises(GeometryError, match="no view"):
        check_inputs([], [], None, None)


def test_another_number_of_cameras_is_refused(predictions, cameras):
    with pytest.raises(GeometryError, match="3 pictures, 2 cameras"):
        check_inputs(predictions, cameras[:2], None, None)


def test_a_camera_of_another_size_is_refused_with_both_sizes(predictions, cameras):
    cameras[2] = look_from(0.0, 0.0, 0.0, height=30, width=40)
    with pytest.raises(ShapeError, match=r"the map of view 2 has shape \(48, 64\), expected \(30, 40\)"):
        check_inputs(predictions, cameras, None, None)


def scaled(pose):
    pose[:3, :3] *= 1.1
    return pose


def mirrored(pose):
    pose[:3, 0] *= -1
    return pose


def sheared(pose):
    pose[0, 1] += 0.05
    return pose


def unknown(pose):
    pose[1, 3] = float("nan")
    return pose


def projective(pose):
    pose[3, 0] = 0.5
    return pose


@pytest.mark.parametrize("spoil", [scaled, mirrored, sheared, unknown, projective])
def test_a_pose_that_is_not_rigid_is_refused(spoil, cameras):
    cameras[1] = with_pose(cameras[1], spoil(cameras[1].world_from_camera.clone()))
    with pytest.raises(GeometryError, match="the pose of view 1 is not rigid"):
        check_cameras(cameras, [SIZE] * 3)


def test_rounding_of_a_pose_is_forgiven(cameras):
    pose = cameras[1].world_from_camera.clone()
    pose[:3, :3] = (pose[:3, :3] * 1e4).round() / 1e4
    cameras[1] = with_pose(cameras[1], pose)
    check_cameras(cameras, [SIZE] * 3)


@pytest.mark.parametrize(
    ("row", "column", "value"), [(0, 0, -50.0), (1, 1, 0.0), (0, 1, 8.0), (0, 2, float("nan"))]
)
def test_intrinsics_that_are_no_pinhole_cameras_are_refused(row, column, value, cameras):
    k = cameras[0].intrinsics.clone()
    k[row, column] = value
    cameras[0] = replace(cameras[0], intrinsics=k)
    with pytest.raises(GeometryError, match="the intrinsics of view 0 are no pinhole"):
        check_cameras(cameras, [SIZE] * 3)


def test_cameras_in_one_place_are_refused():
    cameras = [look_from(1.0, 0.0, 0.0, at=(x, 0.0, 3.0)) for x in (0.0, 1.0, 2.0)]
    with pytest.raises(GeometryError, match="without a baseline"):
        check_cameras(cameras, [SIZE] * 3)


def test_a_world_far_from_its_origin_is_no_matter(cameras):
    moved = []
    for camera in cameras:
        pose = camera.world_from_camera.clone()
        pose[:3, 3] += torch.tensor([4000.0, -2000.0, 100.0])
        moved.append(with_pose(camera, pose))
    check_cameras(moved, [SIZE] * 3)


def test_depth_and_disparity_do_not_mix(views, cameras):
    mixed = [predict(views[0], "depth"), predict(views[1], "disparity"), predict(views[2], "depth")]
    with pytest.raises(GeometryError, match=r"one kind of depth model .*depth, disparity"):
        check_inputs(mixed, cameras, None, None)


@pytest.mark.parametrize(("what", "position"), [("image", 2), ("mask", 3)])
def test_pictures_and_masks_must_fit_their_views(what, position, predictions, cameras):
    wrong = torch.zeros(20, 30, 3) if what == "image" else torch.ones(20, 30)
    arguments = [predictions, cameras, None, None]
    arguments[position] = [wrong] * 3
    with pytest.raises(ShapeError, match=f"the {what} of view 0"):
        check_inputs(*arguments)
    arguments[position] = [wrong] * 2
    with pytest.raises(GeometryError, match=f"every view needs its {what} .*2 for 3 views"):
        check_inputs(*arguments)


def test_normals_of_another_size_are_refused(predictions, cameras):
    predictions[1] = JointPrediction(
        predictions[1].depth, replace(predictions[1].normals, vectors=torch.zeros(1, 20, 30, 3))
    )
    with pytest.raises(ShapeError, match="the normals of view 1"):
        check_inputs(predictions, cameras, None, None)
