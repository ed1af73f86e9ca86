from fractions import Fraction

import pytest

from lotus_core.io.pacing import Loss, Pace

MILLISECONDS = Fraction(1, 1000)


def losses(steps, time_base=MILLISECONDS):
    pace = Pace(time_base)
    return [loss for number, ticks in enumerate(steps, 1) for loss in pace.step(ticks, number)]


def test_an_even_pace_has_no_gap():
    assert losses([42] * 50) == []


def test_rounding_to_milliseconds_is_even():
    assert losses([42, 41, 42, 42, 41] * 10) == []


@pytest.mark.parametrize(("gap", "missing"), [(80, 1), (120, 2), (400, 9)])
def test_a_gap_tells_about_how_many_frames_are_missing(gap, missing):
    assert losses([40] * 10 + [gap] + [40] * 5) == [
        Loss(11, f"about {missing} frames are missing: a gap of {gap / 1000:.2f} s")
    ]


def test_every_gap_is_told():
    assert len(losses(([40] * 9 + [160]) * 3)) == 3


def test_a_gap_before_there_is_a_pace_is_not_told():
    assert losses([40, 40, 40, 160, 40, 40] * 5) == []


def test_a_variable_rate_has_gaps_of_its_own():
    assert losses([33, 50, 33, 20, 100, 33] * 10) == []


def test_after_one_uneven_step_nothing_more_is_said():
    assert losses([40] * 10 + [55] + [40] * 10 + [400]) == []


def test_ticks_of_any_length_count():
    assert losses([3750] * 10 + [11250], Fraction(1, 90000)) == [
        Loss(11, "about 2 frames are missing: a gap of 0.12 s")
    ]
