"""Worlds, units and poses that are right in another way, or wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lotus_core.errors import GeometryError
from lotus_core.geometry.anchors import SparsePoints, anchors_from_points
from lotus_core.geometry.multiview import align_views
from lotus_core.geometry.multiview.inputs import ViewInputs, check_inputs
from lotus_core.geometry.points import transform_points, unproject
from tests.core.geometry.multiview.rig import look_from, predict, see, turned
from tests.core.geometry.multiview.test_alignment import depth_ratios


@pytest.fixture(scope="module")
def inputs(four_views) -> ViewInputs:
    """Return perfect disparity of the four views, with their pictures."""
    cameras = [view.camera for view in four_views]
    predictions = [predict(view, "disparity") for view in four_views]
    return check_inputs(predictions, cameras, [view.picture for view in four_views], None)


@pytest.fixture(scope="module")
def alignment(inputs):
    return align_views(inputs)


def test_sparse_points_fix_the_scale_of_maps_alone(inputs, four_views):
    """Points of the surface with 1 % of noise, in the pixels of the maps."""
    generator = torch.Generator().manual_seed(2)
    points = []
    for view in four_views:
        local = unproject(view.depth[None], view.camera.intrinsics[None])[0][3::7, 3::7].reshape(-1, 3)
        noisy = local * (1 + 0.01 * torch.randn(len(local), 1, generator=generator))
        points.append(transform_points(noisy, view.camera.world_from_camera))
    seen_by = torch.cat([torch.full((len(part),), i) for i, part in enumerate(points)])
    sparse = SparsePoints(torch.cat(points), seen_by, torch.arange(len(seen_by)))
    anchors = anchors_from_points(sparse, inputs.cameras)
    found = align_views(replace(inputs, images=None), anchors)
    assert float(depth_ratios(found, inputs, four_views).abs().max()) < 2e-3


def test_the_scale_follows_the_unit_of_the_poses(inputs, alignment):
    cameras = []
    for camera in inputs.cameras:
        pose = camera.world_from_camera.clone()
        pose[:3, 3] *= 1000  # metres to millimetres
        cameras.append(replace(camera, world_from_camera=pose))
    found = align_views(replace(inputs, cameras=tuple(cameras)))
    assert torch.allclose(found.scale / alignment.scale, torch.tensor(1000.0).double(), rtol=2e-3)


def test_the_worlds_own_frame_does_not_matter(inputs, alignment):
    """The world turned, and moved far away."""
    turn = torch.tensor([[0.0, -1, 0, 40], [0, 0, 1, -30], [-1, 0, 0, 20], [0, 0, 0, 1]])
    cameras = tuple(replace(c, world_from_camera=turn @ c.world_from_camera) for c in inputs.cameras)
    found = align_views(replace(inputs, cameras=cameras))
    assert torch.allclose(found.scale, alignment.scale, rtol=2e-3)


def test_maps_in_another_unit_give_the_same_depth(inputs, alignment):
    scaled = replace(inputs, values=tuple(40 * v - 7 for v in inputs.values))
    found = align_views(scaled)
    for index in range(len(inputs)):
        a = alignment.resolve_depth(index, inputs.values[index])
        b = found.resolve_depth(index, scaled.values[index])
        assert float((a / b).log().abs().median()) < 2e-3


def test_a_constant_map_is_refused(inputs):
    flat = (*inputs.values[:3], torch.full_like(inputs.values[3], 0.25))
    with pytest.raises(GeometryError, match=r"the depth map of view 3 is constant .*0\.25 everywhere"):
        align_views(replace(inputs, values=flat))


def test_a_map_without_a_valid_pixel_is_refused(inputs):
    valid = (torch.zeros_like(inputs.valid[0]), *inputs.valid[1:])
    with pytest.raises(GeometryError, match="view 0"):
        align_views(replace(inputs, valid=valid))


@pytest.mark.parametrize("order", [(1, 2, 3, 0), (1, 0, 3, 2), (3, 2, 1, 0)])
def test_poses_of_other_pictures_are_refused(inputs, order):
    shuffled = tuple(inputs.cameras[i] for i in order)
    with pytest.raises(GeometryError, match=r"match|shares nothing"):
        align_views(replace(inputs, cameras=shuffled))


def test_one_wrong_pose_among_right_ones_is_refused(inputs):
    cameras = list(inputs.cameras)
    cameras[2] = turned(cameras[2], 25.0)
    with pytest.raises(GeometryError, match=r"view 2|match"):
        align_views(replace(inputs, cameras=tuple(cameras)))


def test_poses_in_opengl_axes_are_refused(inputs):
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    cameras = tuple(replace(c, world_from_camera=c.world_from_camera @ flip) for c in inputs.cameras)
    with pytest.raises(GeometryError, match=r"match|shares nothing"):
        align_views(replace(inputs, cameras=cameras))


def test_views_without_overlap_are_refused():
    """Two cameras back to back."""
    cameras = [look_from(0.0, 0.0, 2.0), look_from(0.1, 0.0, 1.5, at=(0.1, 0.0, -2.0))]
    inputs = check_inputs([predict(see(c)) for c in cameras], cameras, None, None)
    with pytest.raises(GeometryError, match="shares nothing"):
        align_views(inputs)


def test_a_wrong_pose_is_taken_where_agreement_is_not_asked_for(inputs):
    cameras = list(inputs.cameras)
    cameras[2] = turned(cameras[2], 8.0)
    found = align_views(replace(inputs, cameras=tuple(cameras)), least_agreement=0.0)
    assert float(found.agreement.agreement[2]) < 0.9
