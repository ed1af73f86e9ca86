"""Uncertainty pictures: 0 is cold, whatever else is in the map."""

from __future__ import annotations

import pytest
import torch

from lotus_core.errors import OptionError, ShapeError
from lotus_core.rendering.colormap import apply_colormap
from lotus_core.rendering.uncertainty import colorize_uncertainty

COLD, WARM = (apply_colormap(torch.tensor(v), "turbo") for v in (0.0, 1.0))


def test_zero_is_cold_and_the_maximum_is_warm():
    found = colorize_uncertainty(torch.tensor([[[0.0, 5.0, 10.0]]]), maximum=10.0)
    assert torch.equal(found[0, 0, 0], COLD)
    assert torch.allclose(found[0, 0, 1], apply_colormap(torch.tensor(0.5), "turbo"))
    assert torch.equal(found[0, 0, 2], WARM)


def test_members_that_agree_everywhere_are_cold_everywhere():
    found = colorize_uncertainty(torch.zeros(2, 4, 4))
    assert found.shape == (2, 4, 4, 3)
    assert torch.equal(found, COLD.expand(2, 4, 4, 3))


def test_evenly_uncertain_map_is_warm_not_cold():
    found = colorize_uncertainty(torch.full((1, 4, 4), 0.2))
    assert torch.equal(found, WARM.expand(1, 4, 4, 3))


def test_range_starts_at_zero_not_at_the_least_value():
    found = colorize_uncertainty(torch.tensor([[[5.0, 10.0]]]), maximum=10.0, colormap="grey")
    assert found[0, 0, :, 0].tolist() == [0.5, 1.0]


def test_one_outlier_does_not_darken_the_rest():
    values = torch.full((1, 50, 50), 1.0)
    values[0, 0, 0] = 1e4
    assert colorize_uncertainty(values, colormap="grey")[0, 25, 25].tolist() == [1.0, 1.0, 1.0]


def test_sequence_scope_compares_images():
    values = torch.stack([torch.full((4, 4), 1.0), torch.full((4, 4), 4.0)])
    found = colorize_uncertainty(values, colormap="grey", scope="sequence")[:, 0, 0, 0]
    assert found.tolist() == pytest.approx([0.25, 1.0], rel=0.05)


def test_reverse_paints_certainty_warm():
    assert torch.equal(colorize_uncertainty(torch.zeros(1, 1, 1), reverse=True)[0, 0, 0], WARM)


def test_invalid_pixels_are_black():
    values = torch.tensor([[[float("nan"), 1.0, 2.0]]])
    found = colorize_uncertainty(values, mask=torch.tensor([[[True, False, True]]]))
    assert found[0, 0, :2].abs().sum() == 0
    assert torch.equal(found[0, 0, 2], WARM)


@pytest.mark.parametrize("maximum", [0.0, -1.0, float("nan")])
def test_maximum_at_or_below_zero_is_refused(maximum):
    with pytest.raises(OptionError, match="maximum must be above 0"):
        colorize_uncertainty(torch.ones(1, 2, 2), maximum=maximum)


def test_map_without_batch_is_refused():
    with pytest.raises(ShapeError, match=r"expected \(B, H, W\)"):
        colorize_uncertainty(torch.ones(2, 2))
