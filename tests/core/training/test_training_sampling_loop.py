"""What a whole trained run does with its noise: the three predictions on a problem whose answer is known."""

import pytest
import torch

from lotus_core.training.config import LotusConfig, Start
from lotus_core.training.latents import LatentBatch
from lotus_core.training.lotus import LotusObjective
from lotus_core.training.networks import starting_parts
from lotus_core.training.objective import MicroStep
from lotus_core.training.sources import open_examples
from tests.core.training.small import lotus_settings

IMAGES = torch.randn((4, 4, 4, 4), generator=torch.Generator().manual_seed(1))


def batch():
    """The annotation is the picture turned upside down in sign: learnt in a moment."""
    return LatentBatch(IMAGES, -IMAGES, torch.ones(4, 1, 4, 4) > 0, ("a", "b", "c", "d"))


def trained(latents, vae, steps=60, **settings):
    config = LotusConfig.model_validate(lotus_settings(latents, vae, **settings))
    wide = Start(vae=str(vae), channels=(16, 32), attention=(False, True), heads=2, norm_groups=4, context=8)
    parts = starting_parts(wide, config.mode, 0)
    made = LotusObjective(config, open_examples(config.data, config.target), parts)
    optimizer = torch.optim.AdamW(made.module.parameters(), lr=3e-3)
    for step in range(steps):
        loss = made.losses(made.module, batch(), MicroStep(step, step)).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    made.module.eval()
    return made


def error(found, truth):
    return (found - truth).square().mean().item() / truth.square().mean().item()


@pytest.fixture(scope="module")
def one_step(latents, vae):
    return trained(latents, vae, mode="g")


def test_a_trained_model_paints_the_annotation(one_step):
    noise = torch.randn((4, 4, 4, 4), generator=torch.Generator().manual_seed(7))
    assert error(one_step.predict(IMAGES, noise), -IMAGES) < 0.5


def test_the_flipped_switch_paints_the_picture(one_step):
    noise = torch.randn((4, 4, 4, 4), generator=torch.Generator().manual_seed(7))
    painted = one_step.predict(IMAGES, noise, reconstruct=True)
    assert error(painted, IMAGES) < 0.5
    assert error(painted, -IMAGES) > 1.5


def test_another_noise_changes_an_x0_prediction_little(one_step):
    noises = [torch.randn((4, 4, 4, 4), generator=torch.Generator().manual_seed(seed)) for seed in (7, 8)]
    one, other = (one_step.predict(IMAGES, noise) for noise in noises)
    assert not torch.equal(one, other)
    assert (one - other).square().mean() < 0.5 * IMAGES.square().mean()


def test_predicting_the_noise_varies_more_with_the_noise_than_predicting_the_annotation(
    latents, vae, one_step
):
    """At t = 999 x0 is read off a prediction of the noise by dividing by 0.068: its errors grow fifteenfold."""
    epsilon = trained(latents, vae, mode="g", noise={"prediction": "epsilon"})
    noises = [torch.randn((4, 4, 4, 4), generator=torch.Generator().manual_seed(seed)) for seed in (7, 8)]

    def variance(made):
        one, other = (made.predict(IMAGES, noise) for noise in noises)
        return (one - other).square().mean().item()

    assert variance(epsilon) > 2 * variance(one_step)


def test_many_steps_are_as_many_calls_of_the_network(latents, vae, one_step):
    config = LotusConfig.model_validate(
        lotus_settings(latents, vae, mode="g", noise={"prediction": "v", "steps": 5})
    )
    parts = starting_parts(config.start, "g", 0)
    made = LotusObjective(config, open_examples(config.data, config.target), parts)
    times = []
    made.module.register_forward_hook(lambda _, inputs, __: times.append(inputs[1].unique().tolist()))
    found = made.predict(IMAGES, torch.randn(4, 4, 4, 4))
    assert times == [[999], [799], [599], [399], [199]]
    assert found.shape == IMAGES.shape
    assert found.isfinite().all()


def test_prediction_draws_nothing_from_torchs_own_state(one_step):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    one_step.predict(IMAGES, torch.zeros(4, 4, 4, 4))
    assert torch.equal(torch.rand(2), expected)
