from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lotus_core.geometry.camera import Camera
from lotus_core.geometry.multiview.inputs import check_inputs
from lotus_core.geometry.multiview.views import (
    WORKING_SIDE,
    gather_views,
    land,
    look_up,
    sample_pairs,
)
from lotus_core.geometry.points import project, transform_points
from tests.core.geometry.multiview.rig import HEIGHT, WIDTH, arc, look_from, predict, see
from tests.core.geometry.multiview.solved import exact_affine

BOTH = (torch.tensor([0, 1]), torch.tensor([1, 0]))


@pytest.fixture(scope="module")
def views(inputs):
    return gather_views(inputs)


def test_small_views_keep_their_size(views):
    assert views.maps.shape == (4, HEIGHT, WIDTH, 6)
    assert views.usable.shape == (4, HEIGHT, WIDTH)
    assert views.intrinsics.shape == (4, 3, 3)


def test_maps_start_at_their_robust_minimum(views, inputs):
    for index, values in enumerate(inputs.values):
        low = float(views.low[index])
        assert torch.allclose(views.maps[index, ..., 0], values - low, atol=1e-6)
        assert (values < low).float().mean() <= 0.003


def test_slopes_are_central_differences(views, inputs):
    values = inputs.values[2]
    assert views.maps[2, 10, 20, 1] == pytest.approx(float(values[10, 21] - values[10, 19]) / 2, abs=1e-6)
    assert views.maps[2, 10, 20, 2] == pytest.approx(float(values[11, 20] - values[9, 20]) / 2, abs=1e-6)


def test_edges_ends_of_the_range_and_borders_are_not_used(views):
    x = views.maps[..., 0]
    span = views.span[:, None, None]
    assert not views.usable[:, 0].any()
    assert not views.usable[:, :, -1].any()
    assert not (views.usable & (x >= 0.996 * span)).any()
    assert 0.5 < float(views.usable.float().mean()) < 1.0


def test_holes_are_not_used_nor_do_they_spread(four_views):
    predictions = [predict(view) for view in four_views]
    predictions[0].depth.values[0, 20:24, 30:34] = float("nan")
    holed = gather_views(check_inputs(predictions, [v.camera for v in four_views], None, None))
    assert not holed.usable[0, 20:24, 30:34].any()
    assert torch.isfinite(holed.maps).all()


def test_views_of_other_sizes_share_one_grid_with_their_own_intrinsics():
    cameras = [look_from(-0.5, 0, 0.2), look_from(0.5, 0, 0.2, height=96, width=96)]
    made = gather_views(check_inputs([predict(see(c)) for c in cameras], cameras, None, None))
    height, width = made.usable.shape[1:]
    for index, camera in enumerate(cameras):
        k = made.intrinsics[index]
        assert float(k[0, 0]) == pytest.approx(float(camera.intrinsics[0, 0]) * width / camera.width)
        assert float(k[1, 1]) == pytest.approx(float(camera.intrinsics[1, 1]) * height / camera.height)


def test_large_views_are_shrunk_to_the_working_side():
    cameras = arc(2, height=150, width=400)
    made = gather_views(check_inputs([predict(see(c)) for c in cameras], cameras, None, None))
    assert made.usable.shape[1:] == (WORKING_SIDE * 150 // 400, WORKING_SIDE)


def test_a_tall_picture_stays_tall():
    cameras = arc(2, height=64, width=48)
    made = gather_views(check_inputs([predict(see(c)) for c in cameras], cameras, None, None))
    assert made.usable.shape[1:] == (64, 48)


def test_true_parameters_give_the_true_depth(views, four_views):
    affine = exact_affine(views, four_views)
    for index, view in enumerate(four_views):
        found = affine.log_depth(views, torch.tensor([index]), views.maps[index, ..., 0].flatten()[None])
        known = views.usable[index].flatten()
        expected = view.depth.log().flatten()[known].double()
        assert torch.allclose(found[0][known], expected, atol=1e-5)


def test_the_slope_by_the_shift_is_the_derivative(views, four_views):
    affine = exact_affine(views, four_views)
    index, x = torch.tensor([1]), torch.tensor([[0.1, 0.4, 0.9]])
    step = 1e-5
    above, below = (replace(affine, log_shift=affine.log_shift + s) for s in (step, -step))
    numeric = (above.log_depth(views, index, x) - below.log_depth(views, index, x)) / (2 * step)
    assert torch.allclose(affine.shift_slope(views, index, x), numeric, atol=1e-6)


def test_samples_carry_the_maps_value_ray_and_normal(views, four_views):
    pairs = sample_pairs(views, *BOTH, 200)
    count = pairs.x.shape[1]
    assert 150 < count < 260
    camera = four_views[0].camera
    pixels, _ = project(pairs.rays[:1].float(), camera.intrinsics[None])
    column, row = (pixels[0] - 0.5).round().long().unbind(-1)
    assert torch.allclose(pairs.x[0], views.maps[0, row, column, 0])
    assert torch.allclose(pairs.normal[0], views.maps[0, row, column, 3:])
    assert torch.equal(pairs.usable[0], views.usable[0, row, column])


def test_some_of_the_pairs_can_be_taken(views):
    pairs = sample_pairs(views, *BOTH, 100)
    assert torch.equal(pairs.of(torch.tensor([1])).x[0], pairs.x[1])


def test_samples_land_where_their_points_project(views, four_views):
    pairs = sample_pairs(views, *BOTH, 200)
    affine = exact_affine(views, four_views)
    log_depth = affine.log_depth(views, pairs.source, pairs.x)
    landing = land(views, pairs, log_depth)
    a, b = four_views[0].camera, four_views[1].camera
    points = (pairs.rays[0] * log_depth[0].exp()[:, None]).float()
    inside = transform_points(transform_points(points, a.world_from_camera), b.camera_from_world)
    pixels, depth = project(inside[None], b.intrinsics[None])
    assert torch.allclose(landing.cells[0].float(), pixels[0], atol=1e-2)
    assert torch.allclose(landing.log_depth[0].exp().float(), depth[0], atol=1e-4)


def test_true_parameters_land_on_the_same_surface(views, four_views):
    pairs = sample_pairs(views, *BOTH, 400)
    affine = exact_affine(views, four_views)
    landing = land(views, pairs, affine.log_depth(views, pairs.source, pairs.x))
    own = affine.log_depth(views, pairs.target, landing.maps[..., 0])
    residual = (own - landing.log_depth)[landing.usable].abs()
    assert float(residual.median()) < 1e-3
    assert float(landing.cosine[landing.usable].median()) > 0.999


def test_motion_and_stretch_are_derivatives_by_the_depth(views, four_views):
    pairs = sample_pairs(views, *BOTH, 50)
    log_depth = exact_affine(views, four_views).log_depth(views, pairs.source, pairs.x)
    step = 1e-5
    here, above, below = (land(views, pairs, log_depth + s) for s in (0.0, step, -step))
    assert torch.allclose(here.motion, (above.cells - below.cells) / (2 * step), atol=1e-3)
    assert torch.allclose(here.stretch, (above.log_depth - below.log_depth) / (2 * step), atol=1e-5)


def test_what_lands_behind_the_other_camera_is_not_visible(views):
    pairs = sample_pairs(views, torch.tensor([0]), torch.tensor([1]), 50)
    behind = views.world_from_camera.clone()
    behind[1, :3, :3] = -behind[1, :3, :3] * torch.tensor([1.0, -1.0, 1.0])  # half a turn about y
    landing = land(replace(views, world_from_camera=behind), pairs, torch.zeros_like(pairs.x).double())
    assert not landing.visible.any()


def test_look_up_at_a_cells_centre_gives_the_cell(views):
    cells = torch.tensor([[[20.5, 10.5], [30.5, 40.5]]]).double()
    maps, _ = look_up(views, torch.tensor([3]), cells)
    assert torch.allclose(maps[0, 0], views.maps[3, 10, 20])
    assert torch.allclose(maps[0, 1], views.maps[3, 40, 30])


def test_look_up_between_cells_is_their_mean(views):
    maps, _ = look_up(views, torch.tensor([3]), torch.tensor([[[21.0, 11.0]]]).double())
    assert torch.allclose(maps[0, 0], views.maps[3, 10:12, 20:22].mean((0, 1)), atol=1e-6)


@pytest.mark.parametrize("cell", [(-3.0, 5.0), (5.0, HEIGHT + 1.0), (WIDTH - 0.2, 5.0), (0.2, 5.0)])
def test_look_up_outside_is_not_inside(views, cell):
    _, inside = look_up(views, torch.tensor([0]), torch.tensor([[cell]]).double())
    assert not inside.any()


def test_the_robust_range_forgives_single_outliers(four_views):
    predictions = [predict(view) for view in four_views]
    predictions[0].depth.values[0, 5, 5] = 50.0
    made = gather_views(check_inputs(predictions, [v.camera for v in four_views], None, None))
    assert float(made.span[0]) == pytest.approx(1.0, abs=0.05)


def test_a_camera_is_no_tensor_of_its_own_size(four_views):
    """Maps and cameras are independent of the pictures' number: two views are enough."""
    camera: Camera = four_views[0].camera
    other = look_from(1.0, 0.0, 0.2)
    made = gather_views(
        check_inputs([predict(see(camera)), predict(see(other))], [camera, other], None, None)
    )
    assert len(made.low) == 2
