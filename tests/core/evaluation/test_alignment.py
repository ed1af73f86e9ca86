"""Scale and shift: worked by hand, and what must not change them."""

from __future__ import annotations

import pytest
import torch

from lotus_core.errors import InputError, ShapeError
from lotus_core.evaluation.alignment import LEAST_DISPARITY, align_depth, fit_scale_shift

ALL = torch.ones(2, 2, dtype=torch.bool)


def random_map(seed: int, height: int = 6, width: int = 7) -> torch.Tensor:
    return torch.rand(height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_four_points_on_a_line_are_met_exactly():
    values = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    scale, shift = fit_scale_shift(values, 2.0 * values + 3.0, ALL)
    assert (scale, shift) == pytest.approx((2.0, 3.0), abs=1e-12)


def test_least_squares_worked_on_paper():
    # x = 0, 0, 1, 1 and y = 0, 2, 3, 7: the line through the means (0, 1) and (1, 5).
    values, target = torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.0, 2.0], [3.0, 7.0]])
    assert fit_scale_shift(values, target, ALL) == pytest.approx((4.0, 1.0), abs=1e-12)


def test_unused_pixels_do_not_count_even_if_they_are_nan():
    values = torch.tensor([[0.0, 1.0], [float("nan"), 3.0]])
    target = torch.tensor([[1.0, 3.0], [5.0, float("inf")]])
    use = torch.tensor([[True, True], [False, False]])
    assert fit_scale_shift(values, target, use) == pytest.approx((2.0, 1.0))


def test_equal_values_become_the_mean_truth():
    assert fit_scale_shift(torch.full((2, 2), 0.3), torch.tensor([[1.0, 2.0], [3.0, 6.0]]), ALL) == (0.0, 3.0)


def test_a_single_pixel_is_met_by_the_shift():
    use = torch.tensor([[True, False], [False, False]])
    assert fit_scale_shift(torch.full((2, 2), 0.5), torch.full((2, 2), 7.0), use) == (0.0, 7.0)


def test_no_pixel_is_refused():
    with pytest.raises(InputError, match="no pixel has a truth to align with: leave this image out"):
        fit_scale_shift(torch.zeros(2, 2), torch.zeros(2, 2), ~ALL)


def test_maps_of_different_sizes_are_refused():
    with pytest.raises(ShapeError, match=r"target has shape \(2, 3\), expected \(2, 2\)"):
        fit_scale_shift(torch.zeros(2, 2), torch.zeros(2, 3), ALL)


def test_depth_is_fitted_in_depth():
    values = torch.tensor([[0.0, 0.25], [0.5, 1.0]])
    aligned = align_depth(values, 4.0 * values + 2.0, ALL, "depth")
    assert torch.allclose(aligned.depth, (4.0 * values + 2.0).double())
    assert (aligned.scale, aligned.shift) == pytest.approx((4.0, 2.0))


def test_disparity_is_fitted_in_disparity_and_inverted():
    # depths 1, 2, 4 and 5 m are disparities 1, 0.5, 0.25 and 0.2
    depth = torch.tensor([[1.0, 2.0], [4.0, 5.0]])
    values = (1.0 / depth - 0.2) / 0.8
    aligned = align_depth(values, depth, ALL, "disparity")
    assert torch.allclose(aligned.depth, depth.double(), rtol=1e-6)
    assert (aligned.scale, aligned.shift) == pytest.approx((0.8, 0.2), rel=1e-6)


def test_a_disparity_below_the_least_becomes_the_farthest_depth():
    depth = torch.tensor([[1.0, 2.0], [4.0, 100.0]])
    values = torch.tensor([[1.0, 0.5], [0.25, -3.0]])
    use = torch.tensor([[True, True], [True, False]])
    aligned = align_depth(values, depth, use, "disparity")
    assert float(aligned.depth[1, 1]) == pytest.approx(1.0 / LEAST_DISPARITY)


@pytest.mark.parametrize("kind", ["depth", "disparity"])
@pytest.mark.parametrize(("factor", "offset"), [(3.0, 0.0), (0.01, 5.0), (-2.0, 1.0)])
def test_the_aligned_depth_does_not_depend_on_the_predictions_scale_and_shift(kind, factor, offset):
    values, depth = random_map(1), 1.0 + 9.0 * random_map(2)
    use = random_map(3) > 0.2
    once = align_depth(values, depth, use, kind).depth
    again = align_depth(factor * values + offset, depth, use, kind).depth
    assert torch.allclose(once, again, rtol=1e-8)


def test_the_fit_of_a_large_map_uses_its_nearest_samples():
    # every second pixel of a 4x4 map, from the upper left: only those lie on the line
    values = torch.arange(16.0).reshape(4, 4)
    target = torch.full((4, 4), 1e6)
    target[::2, ::2] = 2.0 * values[::2, ::2] + 1.0
    aligned = align_depth(values, target, torch.ones(4, 4, dtype=torch.bool), "depth", max_side=2)
    assert (aligned.scale, aligned.shift) == pytest.approx((2.0, 1.0))
    assert aligned.depth.shape == (4, 4)


def test_a_map_that_is_small_enough_is_used_whole():
    values, depth = random_map(4), 1.0 + random_map(5)
    use = torch.ones_like(values, dtype=torch.bool)
    whole = align_depth(values, depth, use, "depth")
    assert align_depth(values, depth, use, "depth", max_side=7).scale == whole.scale
