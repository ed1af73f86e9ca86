from __future__ import annotations

import pytest
import torch

from lotus_core.geometry.multiview.stereo_fit import _consensus, refit
from lotus_core.geometry.multiview.sweep import grey_pictures
from lotus_core.geometry.multiview.views import Affine, gather_views
from tests.core.geometry.multiview.solved import all_pairs, exact_affine


@pytest.fixture(scope="module")
def views(inputs):
    return gather_views(inputs)


@pytest.fixture(scope="module")
def grey(inputs, views):
    return grey_pictures(inputs.images, tuple(views.usable.shape[1:]))


@pytest.fixture(scope="module")
def pairs(views):
    return all_pairs(views, 200)


def line(shift: float, scale: float, sign: float, count: int = 40):
    """Map values and the ln depths of a surface with this shift and scale."""
    x = torch.linspace(0.02, 0.95, count, dtype=torch.float64)
    return x, scale + sign * (x + shift).log()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_patches_of_one_surface_tell_its_scale_and_shift(sign):
    x, log_depth = line(0.4, 1.2, sign)
    found = _consensus(x, log_depth, 1.0, sign)
    assert found is not None
    shift, scale, followers = found
    assert shift == pytest.approx(0.4, rel=0.02)
    assert scale == pytest.approx(1.2, abs=0.01)
    assert followers == 40


def test_a_third_of_wrong_patches_is_outvoted():
    x, log_depth = line(0.4, 1.2, 1.0)
    log_depth = log_depth.clone()
    log_depth[::3] += torch.linspace(-0.8, 0.9, len(log_depth[::3]), dtype=torch.float64)
    found = _consensus(x, log_depth, 1.0, 1.0)
    assert found is not None
    assert found[0] == pytest.approx(0.4, rel=0.25)
    assert 26 <= found[2] <= 32


def test_patches_at_one_value_give_no_line():
    x = torch.full((20,), 0.5, dtype=torch.float64)
    assert _consensus(x, torch.linspace(0, 1, 20, dtype=torch.float64), 1.0, 1.0) is None


def test_depth_that_falls_where_the_map_rises_gives_no_line():
    x, log_depth = line(0.4, 1.2, 1.0)
    assert _consensus(x, log_depth.flip(0), 1.0, 1.0) is None


def test_a_view_far_off_is_brought_back_by_its_texture(views, grey, pairs, four_views):
    """View 1 starts at twice its distance, its neighbours where they are."""
    exact = exact_affine(views, four_views)
    start = Affine(exact.log_middle + torch.tensor([0.0, 0.7, 0.0, 0.0]), exact.log_shift)
    found, votes = refit(views, grey, pairs, start)
    before, after = ((a.log_middle - exact.log_middle)[1].abs() for a in (start, found))
    assert after <= before
    assert len(votes.view) > 0


def test_right_views_are_not_made_wrong(views, grey, pairs, four_views):
    exact = exact_affine(views, four_views)
    found, _ = refit(views, grey, pairs, exact)
    assert (found.log_middle - exact.log_middle).abs().max() < 0.1


def test_a_view_that_its_neighbours_confirm_is_not_torn_away(views, grey, pairs, four_views, monkeypatch):
    """Patches that follow a wrong line by chance do not outweigh the maps."""
    from lotus_core.geometry.multiview import stereo_fit

    exact = exact_affine(views, four_views)
    start = Affine(exact.log_middle + 0.05, exact.log_shift)
    monkeypatch.setattr(stereo_fit, "FEWEST_VOTES", 1)
    monkeypatch.setattr(stereo_fit, "_consensus", lambda x, *rest: (40.0, -3.0, len(x)))
    found, _ = refit(views, grey, pairs, start)
    assert (found.log_middle - exact.log_middle).abs().max() < 0.1


def test_without_texture_everything_stays(views, grey, pairs, four_views):
    exact = exact_affine(views, four_views)
    found, votes = refit(views, torch.full_like(grey, 0.5), pairs, exact)
    assert torch.equal(found.log_middle, exact.log_middle)
    assert torch.equal(found.log_shift, exact.log_shift)
    assert len(votes.view) == 0
