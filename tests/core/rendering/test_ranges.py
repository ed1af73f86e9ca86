"""Robust ranges: worked percentiles, outliers, masks, constant maps."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lotus_core.errors import OptionError, ShapeError
from lotus_core.rendering.ranges import PERCENTILES, ValueRange, normalize, robust_range, valid_pixels


def ramp(high: int = 100) -> torch.Tensor:
    """0, 1, ..., high in one row, so that percentile p of a ramp to 100 is p."""
    return torch.arange(high + 1, dtype=torch.float32).reshape(1, 1, -1)


def test_stated_percentiles_are_1_and_99():
    assert PERCENTILES == (1.0, 99.0)


def test_default_range_of_a_ramp_to_100_is_1_to_99():
    found = robust_range(ramp())
    assert found.low.tolist() == [1.0]
    assert found.high.tolist() == pytest.approx([99.0])


def test_percentiles_between_two_values_are_interpolated():
    # numpy's default definition: of 0, 10, 20 the 25th percentile lies halfway between the first two
    found = robust_range(torch.tensor([[[0.0, 10.0, 20.0]]]), percentiles=(25.0, 75.0))
    assert (found.low.item(), found.high.item()) == (5.0, 15.0)


def test_percentiles_0_and_100_are_minimum_and_maximum():
    found = robust_range(ramp(), percentiles=(0.0, 100.0))
    assert (found.low.item(), found.high.item()) == (0.0, 100.0)


def test_a_few_outliers_do_not_move_the_range():
    values = torch.linspace(0.4, 0.6, 100 * 100).reshape(1, 100, 100)
    values[0, 0, :50] = 1000.0  # half a percent
    found = robust_range(values)
    assert 0.4 <= found.low.item() < 0.41
    assert 0.59 < found.high.item() <= 0.6


def test_each_image_has_its_own_range():
    found = robust_range(torch.cat([ramp(), ramp() * 10]))
    assert found.low.tolist() == pytest.approx([1.0, 10.0])
    assert found.high.tolist() == pytest.approx([99.0, 990.0])


def test_a_sequence_has_one_range_over_all_its_images():
    first, second = ramp(50)[..., :-1], ramp(100)[..., 50:]  # together 0 ... 100, but for nothing
    values = torch.cat([torch.nn.functional.pad(first, (0, 1), value=25.0), second])
    found = robust_range(values, scope="sequence", percentiles=(0.0, 100.0))
    assert found.low.shape == found.high.shape == (1,)
    assert (found.low.item(), found.high.item()) == (0.0, 100.0)


def test_masked_pixels_do_not_count():
    values = torch.cat([ramp(), torch.full((1, 1, 100), 1e6)], dim=2)
    found = robust_range(values, mask=values < 1e5)
    assert found.low.item() == 1.0
    assert found.high.item() == pytest.approx(99.0)


def test_nan_and_infinity_do_not_count():
    bad = torch.tensor([float("nan"), float("inf"), -float("inf")]).reshape(1, 1, 3)
    found = robust_range(torch.cat([ramp(), bad], dim=2))
    assert found.low.item() == 1.0
    assert found.high.item() == pytest.approx(99.0)


@pytest.mark.parametrize("values", [torch.full((1, 4, 4), float("nan")), torch.zeros(1, 4, 4)])
def test_no_valid_pixel_gives_zero_to_one(values):
    found = robust_range(values, mask=torch.zeros(1, 4, 4, dtype=torch.bool))
    assert (found.low.item(), found.high.item()) == (0.0, 1.0)


def test_constant_map_has_an_empty_range():
    found = robust_range(torch.full((1, 8, 8), 0.3))
    assert found.low.item() == found.high.item() == pytest.approx(0.3)


def test_small_object_before_a_flat_wall_is_not_lost():
    values = torch.zeros(1, 100, 100)
    values[0, 50, 50:55] = 0.7  # 5 of 10,000 pixels: both percentiles fall on the wall
    found = robust_range(values)
    assert (found.low.item(), found.high.item()) == (0.0, pytest.approx(0.7))


def test_one_pixel_map():
    found = robust_range(torch.full((1, 1, 1), 2.0))
    assert found.low.item() == found.high.item() == 2.0


def test_large_map_is_sampled_close_to_the_exact_percentiles():
    values = torch.rand(
        1, 1500, 2000, generator=torch.Generator().manual_seed(3)
    )  # uniform: percentile p is p/100
    found = robust_range(values)
    assert found.low.item() == pytest.approx(0.01, abs=2e-3)
    assert found.high.item() == pytest.approx(0.99, abs=2e-3)


def test_sequence_beyond_the_limit_of_torch_quantile_is_taken():
    values = torch.linspace(0.0, 1.0, 17).reshape(17, 1, 1).expand(17, 1024, 1024)  # 17.8 million elements
    found = robust_range(values, scope="sequence", percentiles=(0.0, 100.0))
    assert (found.low.item(), found.high.item()) == (0.0, 1.0)


def test_range_from_zero_keeps_only_the_upper_percentile():
    found = robust_range(ramp() + 100.0, from_zero=True)
    assert (found.low.item(), found.high.item()) == (0.0, pytest.approx(199.0))


def test_range_from_zero_of_a_map_that_is_zero_but_for_a_speck_reaches_the_speck():
    values = torch.zeros(1, 40, 40)
    values[0, 3, 3] = 0.25
    found = robust_range(values, from_zero=True)
    assert (found.low.item(), found.high.item()) == (0.0, 0.25)


def test_valid_speck_between_the_points_of_the_sampling_grid_is_found():
    values = torch.full((1, 1024, 1024), float("nan"))  # more than 2**18 pixels: every second one is sampled
    values[0, 1, 1], values[0, 1, 3] = 2.0, 5.0
    found = robust_range(values, percentiles=(0.0, 100.0))
    assert (found.low.item(), found.high.item()) == (2.0, 5.0)


def test_half_precision_gives_float32():
    found = robust_range(ramp().half() / 128)
    assert found.low.dtype == found.high.dtype == torch.float32
    assert found.low.item() == pytest.approx(1 / 128)


@settings(max_examples=25, deadline=None)
@given(scale=st.floats(0.01, 100.0), shift=st.floats(-10.0, 10.0), seed=st.integers(0, 1000))
def test_range_follows_scale_and_shift(scale, shift, seed):
    values = torch.rand(1, 9, 11, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    plain, moved = robust_range(values), robust_range(values * scale + shift)
    assert moved.low.item() == pytest.approx(plain.low.item() * scale + shift, abs=1e-3 * max(1.0, scale))
    assert moved.high.item() == pytest.approx(plain.high.item() * scale + shift, abs=1e-3 * max(1.0, scale))


def test_normalize_worked_values():
    values = torch.tensor([[[2.0, 3.0, 4.0, 6.0, 8.0]]])
    found = normalize(values, ValueRange(torch.tensor([3.0]), torch.tensor([7.0])))
    assert found.tolist() == [[[0.0, 0.0, 0.25, 0.75, 1.0]]]


def test_normalize_of_a_constant_map_is_the_middle():
    values = torch.full((2, 3, 3), 5.0)
    found = normalize(values, robust_range(values))
    assert torch.equal(found, torch.full((2, 3, 3), 0.5))


def test_normalize_takes_one_range_for_all_images():
    values = torch.tensor([[[0.0]], [[1.0]]])
    found = normalize(values, ValueRange(torch.tensor([0.0]), torch.tensor([2.0])))
    assert found.flatten().tolist() == [0.0, 0.5]


def test_normalize_takes_one_range_per_image():
    values = torch.tensor([[[1.0]], [[1.0]]])
    found = normalize(values, ValueRange(torch.tensor([0.0, 1.0]), torch.tensor([2.0, 5.0])))
    assert found.flatten().tolist() == [0.5, 0.0]


def test_normalize_refuses_another_number_of_ranges():
    with pytest.raises(ShapeError, match=r"value_range.low has shape \(2,\), expected \(3,\)"):
        normalize(torch.zeros(3, 2, 2), ValueRange(torch.zeros(2), torch.ones(2)))


def test_valid_pixels_are_finite_and_in_the_mask():
    values = torch.tensor([[[1.0, float("nan"), float("inf"), 2.0]]])
    assert valid_pixels(values, None).tolist() == [[[True, False, False, True]]]
    mask = torch.tensor([[[1, 1, 1, 0]]])
    assert valid_pixels(values, mask).tolist() == [[[True, False, False, False]]]


def test_map_with_channels_is_refused_with_advice():
    with pytest.raises(
        ShapeError, match=r"values has shape \(1, 1, 4, 4\), expected \(B, H, W\): pass one channel"
    ):
        robust_range(torch.zeros(1, 1, 4, 4))


def test_mask_of_another_size_is_refused():
    with pytest.raises(
        ShapeError, match=r"mask has shape \(1, 4, 5\), expected \(1, 4, 4\): pass one flag per pixel"
    ):
        robust_range(torch.zeros(1, 4, 4), mask=torch.ones(1, 4, 5))


@pytest.mark.parametrize("percentiles", [(99.0, 1.0), (-1.0, 50.0), (0.0, 101.0), (5.0, 5.0)])
def test_percentiles_out_of_order_are_refused(percentiles):
    with pytest.raises(OptionError, match="percentiles must be two numbers with 0 <= lower < upper <= 100"):
        robust_range(ramp(), percentiles=percentiles)


def test_unknown_scope_is_refused():
    with pytest.raises(OptionError, match=r'scope must be "image" or "sequence" .found: \'clip\''):
        robust_range(ramp(), scope="clip")  # type: ignore[arg-type]
