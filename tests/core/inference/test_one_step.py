from __future__ import annotations

import pytest
import torch

from lotus_core.errors import ShapeError
from lotus_core.inference.one_step import OneStep, PlainOneStep

TASKS = {"anno": "annotation", "recon": "reconstruction"}


@pytest.mark.parametrize("mode", ["d", "g"])
@pytest.mark.parametrize("side", ["anno", "recon"])
def test_matches_the_reference(golden_case, mini_unets, mode, side):
    step = PlainOneStep(mini_unets[mode], golden_case.input("prompt_embeds"))
    with torch.inference_mode():
        x0 = step(golden_case.sample(mode), TASKS[side])
    torch.testing.assert_close(x0, golden_case.output(mode, side, "unet_out"), atol=1e-4, rtol=0)


def test_the_task_defaults_to_the_annotation(golden_case, mini_unets):
    step = PlainOneStep(mini_unets["d"], golden_case.input("prompt_embeds"))
    sample = golden_case.sample("d")
    with torch.inference_mode():
        assert torch.equal(step(sample), step(sample, "annotation"))


def test_the_two_tasks_differ(golden_case, mini_unets):
    step = PlainOneStep(mini_unets["d"], golden_case.input("prompt_embeds"))
    sample = golden_case.sample("d")
    with torch.inference_mode():
        assert (step(sample, "annotation") - step(sample, "reconstruction")).abs().max() > 1e-2


def test_every_image_of_a_batch_is_computed_alone(golden_case, mini_unets):
    step = PlainOneStep(mini_unets["d"], golden_case.input("prompt_embeds"))
    batch = torch.cat([golden_case.sample("d"), golden_case.sample("d").flip(-1)])
    with torch.inference_mode():
        torch.testing.assert_close(step(batch)[1:], step(batch[1:]), atol=2e-5, rtol=0)


@pytest.mark.parametrize(("mode", "channels"), [("d", 4), ("g", 8)])
def test_states_how_many_channels_it_takes(golden_case, mini_unets, mode, channels):
    step = PlainOneStep(mini_unets[mode], golden_case.input("prompt_embeds"))
    assert isinstance(step, OneStep)
    assert step.in_channels == channels


def test_refuses_latents_without_noise_for_a_generative_model(golden_case, mini_unets):
    step = PlainOneStep(mini_unets["g"], golden_case.input("prompt_embeds"))
    with pytest.raises(
        ShapeError, match=r"sample has shape \(1, 4, 8, 8\), expected \(B, 8, h, w\).*append noise"
    ):
        step(torch.zeros(1, 4, 8, 8))


def test_refuses_noise_for_a_discriminative_model(golden_case, mini_unets):
    step = PlainOneStep(mini_unets["d"], golden_case.input("prompt_embeds"))
    with pytest.raises(ShapeError, match="image latents alone"):
        step(torch.zeros(1, 8, 8, 8))


@pytest.mark.parametrize("shape", [(1, 2, 32), (2, 2, 64), (2, 64)])
def test_refuses_a_prompt_of_another_width_or_batch(mini_unets, shape):
    with pytest.raises(ShapeError, match=r"prompt_embeds has shape .* expected \(1, T, 64\)"):
        PlainOneStep(mini_unets["d"], torch.zeros(shape))


def test_the_prompt_is_no_checkpoint_key(golden_case, mini_unets):
    step = PlainOneStep(mini_unets["d"], golden_case.input("prompt_embeds"))
    assert not any("prompt" in key for key in step.state_dict())


def test_a_longer_prompt_changes_the_map(golden_case, mini_unets):
    short = golden_case.input("prompt_embeds")
    longer = torch.cat([short, torch.randn(1, 5, 64, generator=torch.Generator().manual_seed(0))], dim=1)
    sample = golden_case.sample("d")
    with torch.inference_mode():
        a, b = (PlainOneStep(mini_unets["d"], p)(sample) for p in (short, longer))
    assert b.shape == a.shape
    assert (a - b).abs().max() > 1e-3
