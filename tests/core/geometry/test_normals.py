from __future__ import annotations

import math

import pytest
import torch

from lotus_core.errors import ShapeError
from lotus_core.geometry.camera import intrinsics_from_focal, intrinsics_from_fov, pixel_rays
from lotus_core.geometry.normals import (
    STEEPEST,
    facing_normals,
    log_depth_slopes,
    normals_from_points,
    unit_normals,
)
from lotus_core.geometry.points import unproject
from tests.core.geometry.analytic import angle_deg, plane, room

CAMERA = intrinsics_from_fov(60.0, 48, 64)


@pytest.mark.parametrize("normal", [(0.0, 0.0, -1.0), (0.5, 0.2, -0.8), (-0.6, 0.1, -0.7), (0.0, -0.9, -0.2)])
def test_points_of_a_plane_give_its_normal_everywhere(normal):
    depth, normals = plane(60.0, normal, 48, 64)
    depth = depth.where(depth > 0, torch.nan)  # beyond the horizon there is no plane
    made = normals_from_points(unproject(depth[None], CAMERA))[0]
    seen = made.norm(dim=-1) > 0.5
    assert float(seen.float().mean()) > 0.5
    assert float(angle_deg(made[seen], normals[seen]).max()) < 0.2


def test_a_wall_seen_head_on_faces_the_camera():
    made = normals_from_points(unproject(torch.full((1, 4, 5), 2.0), intrinsics_from_fov(60.0, 4, 5)))
    assert made.shape == (1, 4, 5, 3)
    assert torch.allclose(made, torch.tensor([0.0, 0.0, -1.0]).expand(1, 4, 5, 3), atol=1e-6)


def test_a_floor_points_up():
    depth, _ = plane(60.0, (0.0, -1.0, 0.0), 48, 64)
    below = depth[None, 30:] if bool((depth[30:] > 0).all()) else depth[None, 40:]
    camera = CAMERA.clone()
    camera[:, 1, 2] -= 48 - below.shape[1]
    made = normals_from_points(unproject(below, camera))
    assert bool((made[..., 1] < -0.99).all())


def test_scale_does_not_matter():
    depth, _ = room(60.0, 48, 64)
    points = unproject(depth[None], CAMERA)
    assert torch.allclose(normals_from_points(points), normals_from_points(7 * points), atol=1e-4)


def test_normals_face_the_camera_and_have_unit_length():
    depth, _ = room(60.0, 48, 64)
    points = unproject(depth[None], CAMERA)
    made = normals_from_points(points)
    assert torch.allclose(made.norm(dim=-1), torch.ones(1, 48, 64), atol=1e-5)
    assert bool(((made * points).sum(-1) < 0).all())


def test_a_normal_beside_an_occlusion_comes_from_its_own_side():
    depth = torch.full((1, 8, 12), 4.0)
    depth[:, :, 6:] = 1.0
    made = normals_from_points(unproject(depth, intrinsics_from_fov(60.0, 8, 12)))
    assert torch.allclose(made, torch.tensor([0.0, 0.0, -1.0]).expand_as(made), atol=1e-5)


def test_invalid_pixels_have_no_say():
    depth, normals = plane(60.0, (0.4, 0.1, -0.9), 24, 32)
    points = unproject(depth[None], intrinsics_from_fov(60.0, 24, 32))
    points[0, 10, 10] = torch.nan
    valid = torch.ones(1, 24, 32, dtype=torch.bool)
    valid[0, 5:8, 5:8] = False
    points[0, 5:8, 5:8] *= 3
    made = normals_from_points(points, valid=valid)
    rest = valid.clone()
    rest[0, 10, 10] = False
    assert float(angle_deg(made[rest], normals[None][rest]).max()) < 0.2
    assert bool((made[0, 10, 10] == 0).all())
    assert bool((made[0, 6, 6] == 0).all())


@pytest.mark.parametrize(("height", "width"), [(1, 6), (6, 1), (1, 1)])
def test_a_picture_one_pixel_wide_has_no_normals(height, width):
    made = normals_from_points(
        unproject(torch.ones(1, height, width), intrinsics_from_fov(60.0, height, width))
    )
    assert torch.equal(made, torch.zeros(1, height, width, 3))


def test_normals_are_differentiable_in_the_points_also_beside_missing_ones():
    points = unproject(torch.rand(1, 5, 6) + 2.0, intrinsics_from_fov(60.0, 5, 6))
    points[0, 2, 2] = torch.nan
    points.requires_grad_()
    normals_from_points(points)[..., 0].sum().backward()
    gradient = points.grad.nan_to_num() if points.grad is not None else None
    assert gradient is not None
    assert bool(points.grad[points.isfinite()].isfinite().all())
    assert float(gradient.abs().sum()) > 0


def test_points_need_a_batch_axis():
    with pytest.raises(ShapeError, match="points has shape"):
        normals_from_points(torch.ones(4, 4, 3))


def test_unit_normals_of_a_worked_vector():
    made = unit_normals(torch.tensor([[3.0, 0.0, -4.0], [0.0, 0.0, 0.0], [math.nan, 1.0, 0.0]]))
    assert torch.allclose(made[0], torch.tensor([0.6, 0.0, -0.8]))
    assert bool((made[1:] == 0).all())


def test_facing_normals_are_left_alone():
    _, normals = room(60.0, 48, 64)
    assert torch.allclose(facing_normals(2 * normals[None], CAMERA)[0], normals, atol=1e-6)


def test_normals_that_look_away_are_turned_to_the_silhouette():
    rays = pixel_rays(CAMERA, 48, 64)
    away = torch.tensor([0.6, 0.0, 0.8]).expand(1, 48, 64, 3)
    made = facing_normals(away, CAMERA)
    assert torch.allclose(made.norm(dim=-1), torch.ones(1, 48, 64), atol=1e-5)
    assert float((made * rays).sum(-1).max()) < 1e-5
    assert bool((made[..., 0] > 0).all())  # still to the right


@pytest.mark.parametrize("normal", [(0.0, 0.0, -1.0), (0.5, 0.2, -0.8), (0.0, -0.95, -0.3)])
def test_slopes_are_the_derivatives_of_log_depth(normal):
    # ln z of neighbouring pixels differs by the mean of their slopes, to second order.
    depth, normals = plane(50.0, normal, 96, 128)
    slope_x, slope_y, _ = log_depth_slopes(normals[None], intrinsics_from_fov(50.0, 96, 128))
    seen = (depth > 0) & (depth < 15)
    step_x = depth.abs().log().diff(dim=1)
    step_y = depth.abs().log().diff(dim=0)
    mean_x = (slope_x[0, :, 1:] + slope_x[0, :, :-1]) / 2
    mean_y = (slope_y[0, 1:] + slope_y[0, :-1]) / 2
    both_x, both_y = seen[:, 1:] & seen[:, :-1], seen[1:] & seen[:-1]
    assert torch.allclose(step_x[both_x], mean_x[both_x], atol=2e-4)
    assert torch.allclose(step_y[both_y], mean_y[both_y], atol=2e-4)


def test_a_worked_slope():
    # On the axis the ray is (0, 0, 1): q = n_z = -0.8, slope = -n_x / (f q) = 0.6 / (100 * 0.8) = 0.0075
    camera = intrinsics_from_focal(torch.tensor([100.0]), 1, 1)
    slope_x, slope_y, cosine = log_depth_slopes(torch.tensor([[[[0.6, 0.0, -0.8]]]]), camera)
    assert float(slope_x) == pytest.approx(0.0075)
    assert float(slope_y) == 0.0
    assert float(cosine) == pytest.approx(0.8)


def test_grazing_normals_have_bounded_slopes():
    camera = intrinsics_from_focal(torch.tensor([100.0]), 1, 1)
    slope_x, _, cosine = log_depth_slopes(torch.tensor([[[[1.0, 0.0, 0.0]]]]), camera)
    assert float(cosine) == pytest.approx(STEEPEST)
    assert float(slope_x) == pytest.approx(1 / (STEEPEST * 100))
