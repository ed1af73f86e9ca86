"""Depth errors on a 2x2 map, worked on paper."""

from __future__ import annotations

import math

import pytest
import torch

from lotus_core.errors import InputError, ShapeError
from lotus_core.evaluation.depth_metrics import depth_metrics

ALL = torch.ones(2, 2, dtype=torch.bool)
TRUTH = torch.tensor([[1.0, 2.0], [4.0, 8.0]])
PREDICTED = torch.tensor([[1.0, 1.0], [8.0, 10.0]])
# differences 0, -1, 4, 2; ratios 1, 2, 2, 1.25; ln ratios 0, -ln 2, ln 2, ln 1.25
LN2, LN125 = math.log(2.0), math.log(1.25)


def test_every_metric_of_a_2x2_map():
    m = depth_metrics(PREDICTED, TRUTH, ALL)
    assert m.abs_rel == pytest.approx((0 + 0.5 + 1.0 + 0.25) / 4)
    assert m.sq_rel == pytest.approx((0 + 1 / 2 + 16 / 4 + 4 / 8) / 4)
    assert m.rmse == pytest.approx(math.sqrt((0 + 1 + 16 + 4) / 4))
    assert m.log_rmse == pytest.approx(math.sqrt((0 + LN2**2 + LN2**2 + LN125**2) / 4))
    assert m.log10 == pytest.approx((0 + math.log10(2) + math.log10(2) + math.log10(1.25)) / 4)
    mean = (0 - LN2 + LN2 + LN125) / 4
    assert m.silog == pytest.approx(100 * math.sqrt((2 * LN2**2 + LN125**2) / 4 - mean**2))


def test_thresholds_are_strict():
    # ratios 1, 2, 2 and 1.25: 1.25 itself is not under 1.25; 2 is over 1.25^3 = 1.953
    m = depth_metrics(PREDICTED, TRUTH, ALL)
    assert (m.delta1, m.delta2, m.delta3) == (25.0, 50.0, 50.0)


def test_deltas_count_both_directions():
    truth, predicted = torch.tensor([[10.0, 10.0]]), torch.tensor([[12.0, 8.5]])  # ratios 1.2 and 1.176
    assert depth_metrics(predicted, truth, torch.ones(1, 2, dtype=torch.bool)).delta1 == 100.0


def test_a_perfect_map_has_no_error():
    m = depth_metrics(TRUTH, TRUTH, ALL)
    assert (m.abs_rel, m.sq_rel, m.rmse, m.log_rmse, m.log10, m.silog) == (0, 0, 0, 0, 0, 0)
    assert (m.delta1, m.delta2, m.delta3) == (100.0, 100.0, 100.0)


def test_only_valid_pixels_count():
    valid = torch.tensor([[True, True], [False, False]])
    broken = torch.tensor([[1.0, 1.0], [float("nan"), -1.0]])
    assert depth_metrics(broken, TRUTH, valid).abs_rel == pytest.approx(0.25)


@pytest.mark.parametrize("factor", [0.1, 7.0])
def test_silog_ignores_a_wrong_scale(factor):
    once = depth_metrics(PREDICTED, TRUTH, ALL)
    assert depth_metrics(factor * PREDICTED, TRUTH, ALL).silog == pytest.approx(once.silog)


@pytest.mark.parametrize("factor", [0.125, 8.0])  # powers of two: a ratio of exactly 1.25 stays one
def test_relative_metrics_do_not_depend_on_the_unit(factor):
    once, again = (depth_metrics(f * PREDICTED, f * TRUTH, ALL) for f in (1.0, factor))
    for name in ("abs_rel", "log_rmse", "log10", "delta1", "delta3", "silog"):
        assert getattr(again, name) == pytest.approx(getattr(once, name))
    assert again.rmse == pytest.approx(factor * once.rmse)
    assert again.sq_rel == pytest.approx(factor * once.sq_rel)


def test_no_valid_pixel_is_refused():
    with pytest.raises(InputError, match="no pixel has a true depth"):
        depth_metrics(PREDICTED, TRUTH, ~ALL)


def test_a_depth_that_is_not_positive_is_refused():
    with pytest.raises(InputError, match=r"must be positive to be compared \(found: 0 predicted and 1 true"):
        depth_metrics(torch.zeros(2, 2), TRUTH, ALL)


def test_other_sizes_are_refused():
    with pytest.raises(ShapeError, match="valid has shape"):
        depth_metrics(PREDICTED, TRUTH, torch.ones(2, 3, dtype=torch.bool))
