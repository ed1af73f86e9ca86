from __future__ import annotations

import pytest
import torch

from lotus_core.errors import ShapeError
from lotus_core.geometry.camera import intrinsics_from_fov
from lotus_core.geometry.edges import GridCuts, cut_grid, occlusion_edges
from tests.core.geometry.analytic import plane, room

HEIGHT, WIDTH = 48, 64
CAMERA = intrinsics_from_fov(60.0, HEIGHT, WIDTH)


def step(near=2.0, far=3.0):
    depth = torch.full((1, HEIGHT, WIDTH), near)
    depth[:, :, 40:] = far
    return depth, torch.tensor([0.0, 0.0, -1.0]).expand(1, HEIGHT, WIDTH, 3)


def test_a_step_is_cut_between_its_two_columns_and_nowhere_else():
    cuts = cut_grid(*step(), CAMERA)
    assert cuts.right.shape == (1, HEIGHT, WIDTH - 1)
    assert cuts.down.shape == (1, HEIGHT - 1, WIDTH)
    expected = torch.zeros_like(cuts.right)
    expected[:, :, 39] = True
    assert torch.equal(cuts.right, expected)
    assert not bool(cuts.down.any())


def test_the_pixels_of_a_cut_are_those_on_either_side():
    edges = occlusion_edges(*step(), CAMERA)
    assert edges.shape == (1, HEIGHT, WIDTH)
    assert edges[0, 10].nonzero().flatten().tolist() == [39, 40]


@pytest.mark.parametrize(("far", "cut"), [(2.06, False), (2.2, True)])
def test_steps_below_four_percent_are_no_occlusion(far, cut):
    assert bool(cut_grid(*step(2.0, far), CAMERA).right.any()) is cut


def test_scale_does_not_matter():
    depth, normals = room(60.0, HEIGHT, WIDTH)
    depth = depth.clone()
    depth[10:30, 10:30] = 1.0
    small, large = (
        cut_grid(depth[None], normals[None], CAMERA),
        cut_grid(40 * depth[None], normals[None], CAMERA),
    )
    assert torch.equal(small.right, large.right)
    assert torch.equal(small.down, large.down)


def test_a_room_without_anything_in_it_is_not_cut():
    depth, normals = room(60.0, HEIGHT, WIDTH)
    assert not bool(cut_grid(depth[None], normals[None], CAMERA).pixels().any())


def test_steep_slopes_that_the_normals_explain_are_not_cut():
    depth, normals = plane(60.0, (0.8, 0.0, -0.6), HEIGHT, WIDTH)
    steps = depth.log().diff(dim=1).abs()
    assert float(steps.max()) > 0.04
    assert not bool(cut_grid(depth[None], normals[None], CAMERA).right.any())


def test_the_same_slopes_are_cut_where_the_normals_say_head_on():
    depth, _ = plane(60.0, (0.8, 0.0, -0.6), HEIGHT, WIDTH)
    toward = torch.tensor([0.0, 0.0, -1.0]).expand(1, HEIGHT, WIDTH, 3)
    assert bool(cut_grid(depth[None], toward, CAMERA).right.any())


def test_a_slope_explains_steps_of_its_own_sign_alone():
    _, normals = plane(60.0, (0.8, 0.0, -0.6), HEIGHT, WIDTH)  # depth grows to the right
    depth, _ = step(3.0, 2.6)  # falls to the right
    assert bool(cut_grid(depth, normals[None], CAMERA).right[0, :, 39].all())


def test_edges_to_invalid_pixels_are_cut():
    depth, normals = step(2.0, 2.0)
    valid = torch.ones(1, HEIGHT, WIDTH, dtype=torch.bool)
    valid[0, 5, 7] = False
    cuts = cut_grid(depth, normals, CAMERA, valid=valid)
    assert cuts.right[0, 5].nonzero().flatten().tolist() == [6, 7]
    assert cuts.down[0, :, 7].nonzero().flatten().tolist() == [4, 5]
    assert int(cuts.right.sum()) + int(cuts.down.sum()) == 4


def test_invalid_pixels_are_no_occlusion_edges_themselves():
    depth, normals = step(2.0, 2.0)
    valid = torch.ones(1, HEIGHT, WIDTH, dtype=torch.bool)
    valid[0, 5, 7] = False
    edges = occlusion_edges(depth, normals, CAMERA, valid=valid)
    assert not bool(edges[0, 5, 7])
    assert int(edges.sum()) == 4


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 0.0, -1.0])
def test_depths_that_are_none_are_cut_off(bad):
    depth, normals = step(2.0, 2.0)
    depth[0, 5, 7] = bad
    assert cut_grid(depth, normals, CAMERA).right[0, 5].nonzero().flatten().tolist() == [6, 7]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 4), (4, 1)])
def test_pictures_one_pixel_wide_have_no_edges_across(height, width):
    normals = torch.tensor([0.0, 0.0, -1.0]).expand(1, height, width, 3)
    cuts = cut_grid(torch.ones(1, height, width), normals, intrinsics_from_fov(60.0, height, width))
    assert cuts.right.shape == (1, height, width - 1)
    assert cuts.down.shape == (1, height - 1, width)
    assert not bool(cuts.pixels().any())


def test_cut_pixels_of_a_worked_grid():
    right = torch.tensor([[[True, False], [False, False]]])
    down = torch.tensor([[[False, False, True]]])
    expected = torch.tensor([[[True, True, True], [False, False, True]]])
    assert torch.equal(GridCuts(right, down).pixels(), expected)


@pytest.mark.parametrize(
    ("depth", "normals", "named"), [((4, 4), (1, 4, 4, 3), "depth"), ((1, 4, 4), (1, 5, 4, 3), "normals")]
)
def test_other_shapes_are_refused(depth, normals, named):
    with pytest.raises(ShapeError, match=f"{named} has shape"):
        cut_grid(torch.ones(depth), torch.ones(normals), torch.eye(3)[None])
