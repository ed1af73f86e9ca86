"""Noise, targets and the way back, against their formulas."""

import math

import pytest
import torch

from lotus_core.training.config import Noise
from lotus_core.training.diffusion import Diffusion

# product of 1 - beta over Stable Diffusion's scaled-linear schedule, in double precision
BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
ALPHAS = (1 - BETAS).cumprod(0)


def latents(seed):
    return torch.randn((3, 4, 2, 2), generator=torch.Generator().manual_seed(seed))


def test_a_fifteenth_of_the_target_leaks_in_at_the_last_time():
    diffusion = Diffusion(Noise())
    noisy = diffusion.add_noise(torch.ones(1, 4, 1, 1), torch.zeros(1, 4, 1, 1), torch.tensor([999]))
    assert noisy[0, 0, 0, 0].item() == pytest.approx(0.0683, abs=5e-5)


@pytest.mark.parametrize("time", [0, 499, 999])
def test_noise_is_added_by_the_schedules_shares(time):
    x0, noise = latents(1), latents(2)
    noisy = Diffusion(Noise()).add_noise(x0, noise, torch.full((3,), time))
    share = ALPHAS[time].item()
    assert torch.allclose(noisy, math.sqrt(share) * x0 + math.sqrt(1 - share) * noise, atol=1e-5)


@pytest.mark.parametrize("prediction", ["x0", "epsilon", "v"])
@pytest.mark.parametrize("time", [20, 999])
def test_the_target_and_the_noisy_latents_give_x0_back(prediction, time):
    diffusion = Diffusion(Noise(prediction=prediction, steps=50))
    x0, noise, times = latents(1), latents(2), torch.full((3,), time)
    noisy, target = diffusion.add_noise(x0, noise, times), diffusion.target(x0, noise, times)
    share = ALPHAS[time].item()
    found = {
        "x0": target,
        "epsilon": (noisy - math.sqrt(1 - share) * target) / math.sqrt(share),
        "v": math.sqrt(share) * noisy - math.sqrt(1 - share) * target,
    }[prediction]
    assert torch.allclose(found, x0, atol=2e-4)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(1, [999]), (2, [999, 499]), (4, [999, 749, 499, 249]), (10, list(range(999, 0, -100)))],
)
def test_times_are_evenly_spaced_from_the_last(steps, expected):
    assert Diffusion(Noise(steps=steps)).times.tolist() == expected


def test_every_time_is_trained_with_a_thousand_steps():
    assert Diffusion(Noise(steps=1000)).times.tolist() == list(range(999, -1, -1))


def test_one_step_always_draws_the_last_time_and_many_draw_all():
    generator = torch.Generator().manual_seed(0)
    assert set(Diffusion(Noise()).draw_times(20, generator).tolist()) == {999}
    assert set(Diffusion(Noise(steps=4)).draw_times(200, generator).tolist()) == {999, 749, 499, 249}


def test_one_step_of_x0_returns_the_networks_output_as_it_is():
    asked = []

    def predict(noisy, time):
        asked.append((noisy.clone(), time))
        return torch.full_like(noisy, 0.25)

    noise = latents(4)
    found = Diffusion(Noise()).denoise(predict, noise)
    assert torch.allclose(found, torch.full_like(noise, 0.25), atol=1e-6)
    assert [time for _, time in asked] == [999]
    assert torch.equal(asked[0][0], noise)


@pytest.mark.parametrize("prediction", ["x0", "epsilon", "v"])
@pytest.mark.parametrize("steps", [1, 7])
def test_a_network_that_knows_the_answer_finds_it(prediction, steps):
    diffusion = Diffusion(Noise(prediction=prediction, steps=steps))
    x0 = latents(5)

    def predict(noisy, time):
        # the noise that explains what is seen, if x0 is the truth
        share = ALPHAS[time].item()
        noise = (noisy - math.sqrt(share) * x0) / math.sqrt(1 - share)
        return diffusion.target(x0, noise, torch.full((3,), time))

    found = diffusion.denoise(predict, latents(6))
    assert torch.allclose(found, x0, atol=2e-3)


def test_a_thousand_trained_times_are_inferred_in_fifty():
    count = 0

    def predict(noisy, time):
        nonlocal count
        count += 1
        return noisy

    Diffusion(Noise(steps=1000)).denoise(predict, latents(1))
    assert count == 50
