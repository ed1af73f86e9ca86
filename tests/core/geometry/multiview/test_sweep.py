from __future__ import annotations

import pytest
import torch

from lotus_core.geometry.multiview.sweep import (
    SWEEP_SIDE,
    _peaks,
    grey_pictures,
    sweep_depths,
)
from lotus_core.geometry.multiview.views import Affine, gather_views
from tests.core.geometry.multiview.solved import all_pairs, exact_affine


@pytest.fixture(scope="module")
def views(inputs):
    return gather_views(inputs)


@pytest.fixture(scope="module")
def grey(inputs, views):
    return grey_pictures(inputs.images, tuple(views.usable.shape[1:]))


@pytest.fixture(scope="module")
def exact(views, four_views):
    return exact_affine(views, four_views)


def depth_ratio(sweep, four_views) -> torch.Tensor:
    """ln of every found depth over the true one at its pixel."""
    truth = []
    for index, (x, y) in zip(sweep.depths.view.tolist(), sweep.depths.pixels.tolist(), strict=True):
        truth.append(four_views[index].depth[int(y), int(x)])
    return (sweep.depths.depth / torch.stack(truth)).log()


def test_grey_pictures_have_one_size_and_the_eyes_weights(inputs, views):
    red = [torch.tensor([1.0, 0.0, 0.0]).expand(30, 40, 3), torch.ones(60, 80, 3)]
    made = grey_pictures(red, (48, 64))
    assert made.shape == (2, SWEEP_SIDE * 48 // 64, SWEEP_SIDE)
    assert torch.allclose(made[0], torch.tensor(0.299), atol=1e-5)
    assert torch.allclose(made[1], torch.tensor(1.0), atol=1e-5)


def test_texture_confirms_the_true_depths(views, grey, exact, four_views):
    sweep = sweep_depths(views, grey, all_pairs(views, 50), exact, reach=0.12, steps=12)
    assert len(sweep.depths.view) >= 10
    ratio = depth_ratio(sweep, four_views)
    assert float(ratio.abs().median()) < 0.01


def test_texture_finds_a_common_error_of_the_scale_that_maps_do_not_see(views, grey, exact, four_views):
    """All views 6 % too near: the patches say how far they really are."""
    near = Affine(exact.log_middle - 0.06, exact.log_shift)
    sweep = sweep_depths(views, grey, all_pairs(views, 50), near, reach=0.25, steps=25)
    assert len(sweep.depths.view) >= 10
    assert abs(float(depth_ratio(sweep, four_views).median())) < 0.01


def test_pictures_of_one_colour_tell_nothing(views, grey, exact):
    sweep = sweep_depths(views, torch.full_like(grey, 0.5), all_pairs(views, 50), exact, reach=0.12, steps=12)
    assert len(sweep.depths.view) == 0
    assert sweep.tried.tolist() == [0, 0, 0, 0]


def test_pictures_of_something_else_agree_nowhere(views, grey, exact):
    noise = torch.rand(grey.shape, generator=torch.Generator().manual_seed(0))
    sweep = sweep_depths(views, noise, all_pairs(views, 50), exact, reach=0.12, steps=12)
    assert int(sweep.tried.sum()) > 100
    assert len(sweep.depths.view) < 0.03 * int(sweep.tried.sum())


def test_exposure_does_not_matter(views, grey, exact):
    pairs = all_pairs(views, 50)
    darker = grey * torch.tensor([1.0, 0.6, 0.8, 0.7])[:, None, None] + 0.05
    plain, other = (sweep_depths(views, g, pairs, exact, reach=0.12, steps=12) for g in (grey, darker))
    shared = min(len(plain.depths.view), len(other.depths.view))
    assert shared > 0.7 * max(len(plain.depths.view), len(other.depths.view))


def test_fewer_patches_are_taken_from_larger_blocks(views, grey, exact):
    pairs = all_pairs(views, 50)
    fine = sweep_depths(views, grey, pairs, exact, reach=0.12, steps=12)
    coarse = sweep_depths(views, grey, pairs, exact, reach=0.12, steps=12, block=14)
    assert 0 < int(coarse.tried.sum()) < 0.5 * int(fine.tried.sum())


def bump(centre: float, width: float, count: int = 25) -> torch.Tensor:
    """Correlations of one patch: a parabola cut off at -0.2 about a step."""
    x = torch.arange(count) - centre
    return (0.95 - (x / width).square()).clamp_min(-0.2)[None]


def test_a_peak_is_found_to_a_fraction_of_a_step():
    """Centre 13.3 of 25 steps, whose middle 12 is no change; a step is 0.01."""
    best, sure = _peaks(bump(13.3, 4.0), 0.01)
    assert bool(sure)
    assert float(best) == pytest.approx(0.013, abs=5e-4)


@pytest.mark.parametrize(
    ("why", "score"),
    [
        ("weak", bump(12.0, 4.0) - 0.3),
        ("at the end of the search", bump(1.0, 4.0)),
        ("an edge along the line of search", bump(12.0, 40.0)),
        ("a repeating pattern", torch.maximum(bump(6.0, 3.0), bump(18.0, 3.0))),
    ],
)
def test_peaks_that_cannot_be_believed_are_not_sure(why, score):
    _, sure = _peaks(score, 0.01)
    assert not bool(sure), why
