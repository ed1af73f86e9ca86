"""Random looks of a picture."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lotus_core.training.appearance import vary_appearance
from lotus_core.training.sheets import rows_of_pictures


def generator(seed):
    return torch.Generator().manual_seed(seed)


def picture(seed=0, height=12, width=16):
    return torch.rand((3, height, width), generator=generator(seed)) * 2 - 1


def test_without_strength_nothing_changes():
    assert vary_appearance(picture(), 0.0, generator(1)) is not None
    assert torch.equal(vary_appearance(picture(), 0.0, generator(1)), picture())


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), strength=st.floats(0.01, 1.0))
def test_pixels_stay_in_range_and_finite(seed, strength):
    varied = vary_appearance(picture(seed), strength, generator(seed))
    assert varied.shape == (3, 12, 16)
    assert varied.isfinite().all()
    assert varied.min() >= -1
    assert varied.max() <= 1


def test_a_seed_is_a_look():
    assert torch.equal(
        vary_appearance(picture(), 1.0, generator(4)), vary_appearance(picture(), 1.0, generator(4))
    )
    assert not torch.equal(
        vary_appearance(picture(), 1.0, generator(4)), vary_appearance(picture(), 1.0, generator(5))
    )


def test_black_and_white_extremes_do_not_break_it():
    for level in (-1.0, 1.0):
        varied = vary_appearance(torch.full((3, 8, 8), level), 1.0, generator(2))
        assert varied.isfinite().all()


def test_brighter_areas_stay_brighter():
    """Geometry shows through light and shade: their order survives in nearly every look."""
    steps = torch.linspace(-0.8, 0.8, 8)[None, None].expand(3, 8, 8).repeat_interleave(4, -1).contiguous()
    rising = 0
    for seed in range(50):
        means = vary_appearance(steps, 0.7, generator(seed)).mean((0, 1)).view(8, 4).mean(1)
        rising += bool((means.diff() > -0.02).all())
    assert rising >= 48


def test_some_pictures_turn_grey_and_most_keep_colour():
    grey = 0
    for seed in range(200):
        varied = vary_appearance(picture(seed, 4, 4), 1.0, generator(seed))
        spread = (varied.amax(0) - varied.amin(0)).mean()
        grey += bool(spread < 0.15)
    assert 5 <= grey <= 50


def test_a_little_strength_changes_a_little():
    small = (vary_appearance(picture(), 0.05, generator(9)) - picture()).abs().mean()
    large = (vary_appearance(picture(), 1.0, generator(9)) - picture()).abs().mean()
    assert small < 0.06
    assert small < large


def test_a_sheet_has_its_pictures_in_rows_with_white_gaps():
    black, white = torch.full((2, 3, 4, 6), -1.0), torch.full((2, 3, 4, 6), 1.0)
    sheet = rows_of_pictures([black, white])
    assert sheet.shape == (3, 2 * 6, 2 * 8)
    assert sheet[:, :4, :6].max() == 0.0
    assert sheet[:, 6:, :].min() == 1.0
    assert sheet[:, 4:6].min() == 1.0


@pytest.mark.parametrize("value", [-5.0, 5.0])
def test_a_sheet_is_clipped(value):
    sheet = rows_of_pictures([torch.full((1, 3, 2, 2), value)])
    assert sheet[0, 0, 0] == (0.0 if value < 0 else 1.0)
