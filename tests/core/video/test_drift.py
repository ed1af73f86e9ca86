import math

import pytest
import torch

from lotus_core.video import drift
from lotus_core.video.drift import MOVING_CAMERA, STILL_CAMERA, TrendPrior, split_drift


def jitter(count, sd, seed=0):
    return sd * torch.randn(count, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("count", [3, 4, 5, 30])
def test_the_banded_solver_agrees_with_a_dense_one(count):
    data, slope, bend = 2.0, 3.0, 5.0
    identity = torch.eye(count, dtype=torch.float64)
    first = identity[1:] - identity[:-1]
    second = first[1:] - first[:-1]
    matrix = data * identity + slope * first.T @ first + bend * second.T @ second
    values = torch.randn(count, dtype=torch.float64, generator=torch.Generator().manual_seed(count))
    expected = torch.linalg.solve(matrix, data * values)
    found = drift._solve_pentadiagonal(values.tolist(), data, slope, bend)
    torch.testing.assert_close(torch.tensor(found, dtype=torch.float64), expected)


def test_trend_and_drift_of_pure_jitter_add_up_and_the_trend_is_small():
    series = jitter(72, 0.1)
    trend, found = split_drift(series, MOVING_CAMERA)
    assert trend.square().mean().sqrt() < 0.03
    torch.testing.assert_close(trend + found, series, atol=1e-3, rtol=0)


def test_a_straight_creep_without_jitter_is_all_trend():
    """What the fits get wrong every frame alike: 0.3 % a frame, 21 % over the clip."""
    series = 0.003 * torch.arange(72, dtype=torch.float64)
    trend, found = split_drift(series, MOVING_CAMERA)
    torch.testing.assert_close(trend, series, atol=1e-4, rtol=0)
    assert found.abs().max() < 1e-4


def test_jitter_on_a_creep_is_drift_and_the_creep_is_not():
    creep = 0.003 * torch.arange(72, dtype=torch.float64)
    noise = jitter(72, 0.1, seed=3)
    _, found = split_drift(creep + noise, MOVING_CAMERA)
    assert (found - noise).square().mean().sqrt() < 0.03
    assert (
        abs(float(found[-8:].mean() - found[:8].mean()) - float(noise[-8:].mean() - noise[:8].mean())) < 0.06
    )


def test_a_bend_is_followed():
    t = torch.linspace(0, math.pi, 72, dtype=torch.float64)
    creep, noise = 0.15 * torch.sin(t), jitter(72, 0.05, seed=4)
    trend, _ = split_drift(creep + noise, MOVING_CAMERA)
    assert (trend - creep).square().mean().sqrt() < 0.03


def test_a_still_camera_keeps_slow_drift_as_the_networks():
    ramp = 0.003 * torch.arange(72, dtype=torch.float64)
    series = ramp + jitter(72, 0.05, seed=5)
    _, still = split_drift(series, STILL_CAMERA)
    _, moving = split_drift(series, MOVING_CAMERA)
    assert float(still[-10:].mean() - still[:10].mean()) > 0.13
    assert float(moving[-10:].mean() - moving[:10].mean()) < 0.08


def test_jitter_of_the_fits_own_size_is_left_alone():
    series = jitter(72, 0.0003, seed=6)
    _, found = split_drift(series, MOVING_CAMERA)
    assert found.abs().max() < 5e-5


def test_real_jitter_is_hardly_shrunk():
    series = jitter(72, 0.05, seed=7)
    trend, found = split_drift(series, MOVING_CAMERA)
    torch.testing.assert_close(found, series - trend, atol=3e-4, rtol=0)


@pytest.mark.parametrize("count", [1, 2])
def test_a_very_short_shot_keeps_its_mean(count):
    series = torch.tensor([0.1, 0.3], dtype=torch.float64)[:count]
    trend, found = split_drift(series, MOVING_CAMERA)
    assert float(found.sum()) == pytest.approx(0.0, abs=1e-12)
    torch.testing.assert_close(trend + found, series)


def test_nothing_gives_nothing():
    trend, found = split_drift(torch.empty(0), MOVING_CAMERA)
    assert trend.shape == found.shape == (0,)


def test_a_long_clip_is_solved_in_linear_time():
    """5,000 frames: a dense solve would need a matrix of 200 MB."""
    series = jitter(5000, 0.1, seed=8)
    trend, found = split_drift(series, TrendPrior(3e-3, 1.2e-3))
    assert len(trend) == len(found) == 5000
    assert torch.isfinite(trend).all()
