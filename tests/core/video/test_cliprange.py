import pytest
import torch

from lotus_core.video.cliprange import ClipRange
from lotus_core.video.stabilize import Corrections


def plain(count):
    return Corrections(torch.ones(count), torch.zeros(count), (0,))


def collected(maps):
    collector = ClipRange()
    for values in maps:
        collector.push(values)
    return collector


def test_percentiles_of_an_even_ramp_are_its_one_and_99_percent():
    found = collected([torch.linspace(0, 1, 10001).view(1, -1)]).range(plain(1))
    assert float(found.low) == pytest.approx(0.01, abs=0.008)
    assert float(found.high) == pytest.approx(0.99, abs=0.008)


def test_one_range_covers_all_frames():
    maps = [torch.full((10, 10), 0.2), torch.full((10, 10), 0.7)]
    found = collected(maps).range(plain(2))
    assert found.low.shape == found.high.shape == (1,)
    assert (float(found.low), float(found.high)) == pytest.approx((0.2, 0.7))


def test_extremes_are_exact_however_small():
    values = torch.full((300, 400), 0.5)
    values[7, 9], values[11, 3] = 0.031, 0.977
    found = collected([values]).range(plain(1), (0.0, 100.0))
    assert (float(found.low), float(found.high)) == pytest.approx((0.031, 0.977))


def test_the_range_is_that_of_the_corrected_clip():
    maps = [torch.linspace(0, 1, 500).view(20, 25)] * 2
    corrections = Corrections(torch.tensor([1.0, 0.5]), torch.tensor([0.0, 1.0]), (0,))
    found = collected(maps).range(corrections, (0.0, 100.0))
    assert (float(found.low), float(found.high)) == pytest.approx((0.0, 1.5))


def test_it_agrees_with_the_percentiles_of_all_pixels():
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(12, 60, 80, generator=generator).square()
    corrections = Corrections(torch.linspace(0.8, 1.2, 12), torch.linspace(-0.1, 0.1, 12), (0,))
    every = corrections.apply(maps).flatten()
    found = collected(maps).range(corrections, (5.0, 95.0))
    expected = torch.quantile(every, torch.tensor([0.05, 0.95]))
    assert float(found.low) == pytest.approx(float(expected[0]), abs=0.01)
    assert float(found.high) == pytest.approx(float(expected[1]), abs=0.01)


def test_a_small_bright_object_on_a_flat_clip_is_not_lost():
    values = torch.full((100, 100), 0.3)
    values[:2, :2] = 0.9
    found = collected([values]).range(plain(1))
    assert (float(found.low), float(found.high)) == pytest.approx((0.3, 0.9))


def test_one_pixel_has_a_range():
    found = collected([torch.tensor([[0.4]])]).range(plain(1))
    assert float(found.low) == float(found.high) == pytest.approx(0.4)


def test_states_are_appended_in_order():
    maps = [torch.full((4, 4), v) for v in (0.1, 0.2, 0.3, 0.4)]
    whole = collected(maps)
    restored = ClipRange()
    restored.restore(collected(maps[:2]).state())
    restored.restore(whole.state(start=2))
    restored.restore({})
    ends = restored.range(plain(4), (0.0, 100.0))
    assert (float(ends.low), float(ends.high)) == pytest.approx((0.1, 0.4))
    assert whole.state(start=4) == {}
