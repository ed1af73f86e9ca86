from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lotus_core.geometry.anchors import DepthAnchors
from lotus_core.geometry.multiview.bundle import (
    COARSE,
    FINE,
    adjust,
    depth_residual,
    masked_median,
    support,
)
from lotus_core.geometry.multiview.views import Affine, gather_views, land
from tests.core.geometry.multiview.solved import all_pairs, exact_affine, flat_prior


@pytest.fixture(scope="module")
def views(inputs):
    return gather_views(inputs)


@pytest.fixture(scope="module")
def pairs(views):
    return all_pairs(views)


@pytest.fixture(scope="module")
def exact(views, four_views):
    return exact_affine(views, four_views)


def anchors_of(views, four_views, count=40, factor=1.0) -> DepthAnchors:
    """True depths of some pixels of every view, times a factor."""
    generator = torch.Generator().manual_seed(1)
    index, pixels, depth = [], [], []
    for number, view in enumerate(four_views):
        row, column = views.usable[number].nonzero(as_tuple=True)
        chosen = torch.randperm(len(row), generator=generator)[:count]
        index.append(torch.full((count,), number))
        pixels.append(torch.stack([column[chosen], row[chosen]], dim=-1) + 0.5)
        depth.append(view.depth[row[chosen], column[chosen]] * factor)
    return DepthAnchors(torch.cat(index), torch.cat(pixels), torch.cat(depth))


def errors(found: Affine, exact: Affine) -> tuple[float, float]:
    return (
        float((found.log_middle - exact.log_middle).abs().max()),
        float((found.log_shift - exact.log_shift).abs().max()),
    )


def test_true_parameters_have_no_residual(views, pairs, exact):
    landing = land(views, pairs, exact.log_depth(views, pairs.source, pairs.x))
    residual = depth_residual(views, pairs, exact, landing)[landing.usable]
    assert float(residual.abs().median()) < 1e-3


def test_a_view_twice_as_far_has_a_residual_of_ln_2(views, pairs, exact):
    """Seen from another view, its own depth is ln 2 larger than what the exact one lands with."""
    far = replace(exact, log_middle=exact.log_middle + torch.tensor([0.0, 0.6931, 0.0, 0.0]))
    into = pairs.of((pairs.target == 1) & (pairs.source == 2))
    landing = land(views, into, far.log_depth(views, into.source, into.x))
    residual = depth_residual(views, into, far, landing)[landing.usable]
    assert float(residual.median()) == pytest.approx(0.693, abs=2e-3)


def test_true_parameters_stay(views, pairs, exact):
    found = adjust(views, pairs, exact, flat_prior(views), None, FINE)
    assert max(errors(found, exact)) < 0.01


def test_a_rough_start_is_brought_to_the_truth(views, pairs, exact):
    start = Affine(
        exact.log_middle + torch.tensor([0.06, -0.05, 0.04, -0.06]),
        exact.log_shift + torch.tensor([0.15, -0.1, 0.1, -0.15]),
    )
    found = adjust(views, pairs, start, flat_prior(views), None, COARSE)
    middle, shift = errors(found, exact)
    assert middle < 0.01
    assert shift < 0.03


def test_anchors_fix_the_common_scale(views, pairs, exact, four_views):
    """All depths 3 % too large against the anchors: the anchors' unit wins where the maps leave it open."""
    start = Affine(exact.log_middle + 0.03, exact.log_shift)
    anchors = anchors_of(views, four_views)
    free = adjust(views, pairs, start, flat_prior(views), None, FINE)
    held = adjust(views, pairs, start, flat_prior(views), anchors, FINE)
    middle, shift = errors(held, exact)
    assert middle < 3e-3
    assert shift < 0.02
    assert middle <= errors(free, exact)[0] + 1e-4


def test_wrong_anchors_among_right_ones_are_outvoted(views, pairs, exact, four_views):
    anchors = anchors_of(views, four_views)
    anchors.depth[::4] *= 1.6
    found = adjust(views, pairs, exact, flat_prior(views), anchors, FINE)
    assert errors(found, exact)[0] < 5e-3


def test_an_anchor_on_an_unusable_pixel_is_left_out(views, pairs, exact):
    corner = DepthAnchors(torch.tensor([0]), torch.tensor([[0.5, 0.5]]), torch.tensor([100.0]))
    found = adjust(views, pairs, exact, flat_prior(views), corner, FINE)
    assert errors(found, exact)[0] < 0.01


def test_no_anchors_at_all_are_like_none(views, pairs, exact):
    empty = DepthAnchors(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 2), torch.zeros(0))
    a = adjust(views, pairs, exact, flat_prior(views), empty, FINE)
    b = adjust(views, pairs, exact, flat_prior(views), None, FINE)
    assert torch.equal(a.log_middle, b.log_middle)


def test_the_prior_holds_shifts_that_nothing_else_fixes(views, exact):
    """Without a single usable sample, shifts go to the least cost of the prior and scales stay."""
    pairs = all_pairs(views, 50)
    blind = replace(pairs, usable=torch.zeros_like(pairs.usable))
    prior = flat_prior(views)
    bowl = 20 * (prior.grid - 0.5).square().expand(4, -1)
    start = Affine(exact.log_middle, torch.full((4,), 0.4, dtype=torch.float64))
    found = adjust(views, blind, start, replace(prior, cost=bowl), None, COARSE)
    assert torch.allclose(found.log_shift, torch.full((4,), 0.5, dtype=torch.float64), atol=0.02)
    assert torch.allclose(found.log_middle, exact.log_middle, atol=1e-3)


def test_support_is_high_for_the_truth_and_falls_for_a_wrong_view(views, pairs, exact):
    wrong = replace(exact, log_middle=exact.log_middle + torch.tensor([0.0, 0.3, 0.0, 0.0]))
    assert support(views, pairs, exact, 1) > 0.4  # of all samples; some leave the other picture
    assert support(views, pairs, wrong, 1) < 0.3 * support(views, pairs, exact, 1)


def test_masked_median_takes_the_lower_middle_of_what_counts():
    values = torch.tensor([[5.0, 1.0, 9.0, 2.0], [4.0, 3.0, 2.0, 1.0], [7.0, 7.0, 7.0, 7.0]])
    mask = torch.tensor([[True, True, True, False], [True, True, True, True], [False] * 4])
    assert masked_median(values, mask).tolist() == [5.0, 2.0, 0.0]
