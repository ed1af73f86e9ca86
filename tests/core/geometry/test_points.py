from __future__ import annotations

import pytest
import torch

from lotus_core.errors import ShapeError
from lotus_core.geometry.camera import intrinsics_from_focal, intrinsics_from_fov, pixel_grid
from lotus_core.geometry.points import project, rotate_vectors, transform_points, unproject

QUARTER_TURN = torch.tensor(
    [[0.0, -1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 2.0], [0.0, 0.0, 1.0, 3.0], [0.0, 0.0, 0.0, 1.0]]
)


def test_a_worked_point():
    # f = 100, principal point (2, 1), depth 5: (0.5 - 2) / 100 * 5 = -0.075 and (0.5 - 1) / 100 * 5 = -0.025
    points = unproject(torch.full((1, 2, 4), 5.0), intrinsics_from_focal(torch.tensor([100.0]), 2, 4))
    assert points.shape == (1, 2, 4, 3)
    assert torch.allclose(points[0, 0, 0], torch.tensor([-0.075, -0.025, 5.0]))


def test_points_right_and_below_the_middle_have_positive_x_and_y():
    points = unproject(torch.ones(1, 4, 6), intrinsics_from_fov(60.0, 4, 6))
    assert bool((points[0, -1, -1, :2] > 0).all())
    assert bool((points[0, 0, 0, :2] < 0).all())


def test_projecting_unprojected_points_gives_pixels_and_depth_back():
    depth = torch.rand(2, 9, 13, generator=torch.Generator().manual_seed(0)) + 0.5
    intrinsics = torch.cat([intrinsics_from_fov(40.0, 9, 13), intrinsics_from_fov(80.0, 9, 13)])
    pixels, again = project(unproject(depth, intrinsics), intrinsics)
    assert torch.allclose(pixels, pixel_grid(9, 13).expand(2, 9, 13, 2), atol=1e-5)
    assert torch.allclose(again, depth)


def test_scaling_the_depth_scales_the_points_and_leaves_the_pixels():
    depth, intrinsics = torch.rand(1, 5, 7) + 1.0, intrinsics_from_fov(50.0, 5, 7)
    points = unproject(depth, intrinsics)
    assert torch.allclose(unproject(3 * depth, intrinsics), 3 * points)
    assert torch.allclose(project(3 * points, intrinsics)[0], project(points, intrinsics)[0], atol=1e-5)


def test_unprojection_is_differentiable_in_depth_and_focal_length():
    depth = (torch.rand(1, 2, 3, dtype=torch.float64) + 1.0).requires_grad_()
    focal = torch.tensor([5.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda d, f: unproject(d, intrinsics_from_focal(f, 2, 3)), (depth, focal))


def test_points_behind_the_camera_have_no_pixel():
    pixels, depth = project(
        torch.tensor([[[0.0, 0.0, -2.0], [0.0, 0.0, 0.0], [0.0, 0.0, 2.0]]]), torch.eye(3)[None]
    )
    assert pixels[0, :2].isnan().all()
    assert pixels[0, 2].isfinite().all()
    assert depth[0].tolist() == [-2.0, 0.0, 2.0]


def test_a_list_of_points_projects_as_well_as_a_grid():
    intrinsics = intrinsics_from_focal(torch.tensor([100.0]), 100, 200)
    pixels, _ = project(torch.tensor([[[1.0, 0.5, 2.0]]]), intrinsics)
    assert pixels[0, 0].tolist() == [150.0, 75.0]


def test_one_pixel_pictures_unproject():
    assert unproject(torch.full((1, 1, 1), 2.0), intrinsics_from_fov(60.0, 1, 1)).tolist() == [
        [[[0.0, 0.0, 2.0]]]
    ]


@pytest.mark.parametrize("shape", [(4, 4), (1, 1, 4, 4), (0, 4, 4)])
def test_depth_of_another_shape_is_refused(shape):
    with pytest.raises(ShapeError, match=r"expected \(B, H, W\)"):
        unproject(torch.ones(shape), intrinsics_from_fov(60.0, 4, 4))


def test_points_without_three_coordinates_are_refused():
    with pytest.raises(ShapeError, match="points has shape"):
        project(torch.ones(1, 5, 2), torch.eye(3)[None])


def test_a_quarter_turn_about_z_moves_a_worked_point():
    # x -> y, y -> -x, then (1, 2, 3) is added
    assert transform_points(torch.tensor([1.0, 0.0, 0.0]), QUARTER_TURN).tolist() == [1.0, 3.0, 3.0]


def test_directions_turn_but_do_not_move():
    assert rotate_vectors(torch.tensor([1.0, 0.0, 0.0]), QUARTER_TURN).tolist() == [0.0, 1.0, 0.0]


def test_a_batch_of_transforms_acts_on_its_own_pictures():
    transforms = torch.stack([torch.eye(4), QUARTER_TURN])
    points = torch.tensor([1.0, 0.0, 0.0]).expand(2, 4, 5, 3)
    moved = transform_points(points, transforms)
    assert moved.shape == (2, 4, 5, 3)
    assert torch.equal(moved[0, 3, 4], torch.tensor([1.0, 0.0, 0.0]))
    assert torch.equal(moved[1, 3, 4], torch.tensor([1.0, 3.0, 3.0]))


def test_transforms_of_another_shape_are_refused():
    with pytest.raises(ShapeError, match="target_from_source has shape"):
        transform_points(torch.ones(5, 3), torch.eye(3))
