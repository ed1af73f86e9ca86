"""Depth pictures: near is white or warm, whatever the kind."""

from __future__ import annotations

import pytest
import torch

from lotus_core.errors import OptionError, ShapeError
from lotus_core.rendering.colormap import apply_colormap
from lotus_core.rendering.depth import colorize_depth, depth_hint, nearness
from lotus_core.rendering.ranges import ValueRange

UNIT = ValueRange(torch.tensor([0.0]), torch.tensor([1.0]))


def one_row(*values: float) -> torch.Tensor:
    return torch.tensor(values).reshape(1, 1, -1)


def test_disparity_is_painted_as_it_is():
    found = nearness(one_row(0.0, 0.25, 1.0), "disparity", value_range=UNIT)
    assert found.flatten().tolist() == [0.0, 0.25, 1.0]


def test_depth_is_painted_as_one_minus_itself():
    found = nearness(one_row(0.0, 0.25, 1.0), "depth", value_range=UNIT)
    assert found.flatten().tolist() == [1.0, 0.75, 0.0]


def test_depth_and_its_negation_as_disparity_give_one_picture():
    depth = torch.rand(2, 13, 17, generator=torch.Generator().manual_seed(1))
    as_depth = depth_hint(depth, "depth")
    as_disparity = depth_hint(3.0 - depth, "disparity")
    assert torch.allclose(as_depth, as_disparity, atol=1e-5)


@pytest.mark.parametrize("kind", ["depth", "disparity"])
def test_positive_scale_and_shift_change_no_hint(kind):
    values = torch.rand(1, 13, 17, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(depth_hint(values, kind), depth_hint(values * 40.0 - 7.0, kind), atol=1e-5)


def test_hint_has_three_equal_channels():
    found = depth_hint(torch.rand(2, 5, 7, generator=torch.Generator().manual_seed(0)), "disparity")
    assert found.shape == (2, 5, 7, 3)
    assert found.dtype == torch.float32
    assert torch.equal(found[..., 0], found[..., 1])
    assert torch.equal(found[..., 0], found[..., 2])


def test_hint_uses_the_whole_range_of_a_faint_map():
    found = depth_hint(torch.linspace(0.50, 0.51, 1000).reshape(1, 10, 100), "disparity")
    assert (found.min().item(), found.max().item()) == (0.0, 1.0)


@pytest.mark.parametrize("kind", ["depth", "disparity"])
def test_constant_map_is_mid_grey(kind):
    assert torch.equal(depth_hint(torch.full((1, 4, 4), 0.9), kind), torch.full((1, 4, 4, 3), 0.5))


@pytest.mark.parametrize("kind", ["depth", "disparity"])
def test_invalid_pixels_are_black_as_if_infinitely_far(kind):
    values = one_row(0.1, float("nan"), 0.9, 0.5)
    found = depth_hint(values, kind, mask=torch.tensor([[[True, True, True, False]]]), value_range=UNIT)
    assert found[0, 0, 1].tolist() == [0.0, 0.0, 0.0]
    assert found[0, 0, 3].tolist() == [0.0, 0.0, 0.0]


def test_masked_pixels_do_not_stretch_the_range():
    values = one_row(0.0, 0.5, 1.0, 100.0)
    mask = values < 10
    found = nearness(values, "disparity", mask=mask, percentiles=(0.0, 100.0))
    assert found.flatten().tolist() == [0.0, 0.5, 1.0, 0.0]


def test_image_scope_stretches_each_and_sequence_scope_all():
    values = torch.cat([one_row(0.0, 0.5), one_row(0.0, 1.0)])
    each = nearness(values, "disparity", percentiles=(0.0, 100.0))
    assert each.flatten().tolist() == [0.0, 1.0, 0.0, 1.0]
    together = nearness(values, "disparity", percentiles=(0.0, 100.0), scope="sequence")
    assert together.flatten().tolist() == [0.0, 0.5, 0.0, 1.0]


def test_given_range_is_used_for_frames_of_one_clip():
    clip = ValueRange(torch.tensor([0.0]), torch.tensor([4.0]))
    assert nearness(one_row(1.0, 2.0), "disparity", value_range=clip).flatten().tolist() == [0.25, 0.5]
    assert nearness(one_row(1.0, 2.0), "depth", value_range=clip).flatten().tolist() == [0.75, 0.5]


def test_near_is_red_in_spectral_and_turbo():
    for colormap in ("spectral", "turbo"):
        far, near = colorize_depth(one_row(0.0, 1.0), "disparity", colormap=colormap, value_range=UNIT)[0, 0]
        assert near[0] > near[2]
        assert far[2] > far[0]


def test_near_is_red_for_depth_too():
    near, far = colorize_depth(one_row(0.0, 1.0), "depth", colormap="spectral", value_range=UNIT)[0, 0]
    assert torch.allclose(near, apply_colormap(torch.tensor(1.0), "spectral"))
    assert torch.allclose(far, apply_colormap(torch.tensor(0.0), "spectral"))


def test_grey_is_the_hint():
    values = torch.rand(1, 6, 5, generator=torch.Generator().manual_seed(4))
    assert torch.allclose(
        colorize_depth(values, "depth", colormap="grey"), depth_hint(values, "depth"), atol=1e-6
    )


def test_reverse_swaps_near_and_far():
    values = torch.rand(1, 6, 5, generator=torch.Generator().manual_seed(4))
    reverse = colorize_depth(values, "depth", colormap="turbo", reverse=True)
    assert torch.allclose(reverse, colorize_depth(values, "disparity", colormap="turbo"), atol=1e-5)


def test_invalid_pixels_stay_black_in_colour_and_reverse():
    mask = torch.tensor([[[True, False]]])
    for reverse in (False, True):
        found = colorize_depth(one_row(0.2, 0.4), "disparity", mask=mask, reverse=reverse, value_range=UNIT)
        assert found[0, 0, 1].tolist() == [0.0, 0.0, 0.0]


def test_unknown_kind_is_refused():
    with pytest.raises(OptionError, match=r'kind must be "depth" .high = far. or "disparity" .high = near.'):
        depth_hint(torch.zeros(1, 2, 2), "metric")  # type: ignore[arg-type]


def test_single_map_without_batch_is_refused():
    with pytest.raises(ShapeError, match=r"values has shape \(4, 4\), expected \(B, H, W\)"):
        depth_hint(torch.zeros(4, 4), "depth")
