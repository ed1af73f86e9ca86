"""One training loss of the reference, on its own batch: latents, masks, prediction, gradients, first AdamW step."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lotus_core.training.config import Noise, Start, Switcher
from lotus_core.training.denoiser import Denoiser, task_labels
from lotus_core.training.diffusion import Diffusion
from lotus_core.training.latents import LatentBatch, encode_pictures, known_cells
from lotus_core.training.networks import starting_parts
from lotus_core.training.protocol import doubled, reconstructed_rows, two_losses

GOLDEN = Path(__file__).parents[2] / "golden"
MODES = ["d", "g"]
REFERENCE_LEARNING_RATE = 3e-5


def arrays(name):
    with np.load(GOLDEN / "golden" / "train" / name, allow_pickle=False) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


@pytest.fixture(scope="module")
def pictures():
    return arrays("batch.npz")


@pytest.fixture(scope="module", params=MODES)
def mode(request):
    return request.param


@pytest.fixture(scope="module")
def golden(mode):
    return arrays(f"mini_{mode}_depth_mask.npz")


@pytest.fixture(scope="module")
def parts(mode):
    return starting_parts(Start(checkpoint=str(GOLDEN / "ckpt" / f"mini-{mode}")), mode, 0)


@pytest.fixture(scope="module")
def latents(parts, pictures):
    known = (pictures["valid_mask_values"] + pictures["sky_mask_values"]) > 0
    return LatentBatch(
        images=encode_pictures(parts.vae, pictures["pixel_values"]),
        annotations=encode_pictures(parts.vae, pictures["depth_values"]),
        known=known_cells(known),
        names=("first", "second"),
    )


@pytest.fixture(scope="module")
def batch(latents, golden, mode):
    rows = reconstructed_rows(Switcher(), 0, 0, 2)
    noise = golden.get("noise", torch.zeros(4, 4, 8, 10))
    return doubled(latents, rows, mode, Diffusion(Noise()), noise, torch.full((4,), 999))


@pytest.fixture(scope="module")
def stepped(parts, batch):
    """The module after the loss's gradient and one step of AdamW."""
    module = Denoiser(parts.unet.train().requires_grad_(True), parts.prompt_embeds)
    optimizer = torch.optim.AdamW(module.parameters(), lr=REFERENCE_LEARNING_RATE, weight_decay=1e-2)
    prediction = module(batch.sample, batch.times, batch.annotations)
    losses = two_losses(prediction, batch)
    (losses.annotation + losses.reconstruction).backward()
    gradients = {name: value.grad.clone() for name, value in module.unet.named_parameters()}
    torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    optimizer.step()
    return prediction.detach(), gradients, module.unet.conv_out.weight.detach(), losses


def difference(ours, reference):
    return (ours.double() - reference.double()).abs().max().item()


def test_the_latents_of_the_doubled_batch_are_the_references(latents, batch, golden):
    assert difference(torch.cat([latents.images, latents.images]), golden["rgb_latents"]) < 2e-5
    assert difference(batch.target, golden["target_latents"]) < 2e-5


def test_one_unknown_pixel_takes_its_whole_cell_as_in_the_reference(latents, golden):
    mask = golden["valid_mask_down_anno"]
    assert torch.equal(latents.known.expand(-1, 4, -1, -1), mask)
    assert 0 < mask.sum() < mask.numel()


def test_the_task_labels_are_the_references(golden):
    assert difference(task_labels(2, 2), golden["task_emb"]) < 1e-6


def test_the_context_is_the_references(parts, golden):
    assert difference(parts.prompt_embeds.expand(4, -1, -1), golden["encoder_hidden_states"]) < 2e-5


def test_the_networks_input_is_the_references(batch, golden):
    assert difference(batch.sample, golden["unet_input"]) < 2e-5


def test_the_noisy_latents_leak_a_fifteenth_of_the_target(mode, batch, golden):
    if mode == "d":
        assert batch.sample.shape[1] == 4
    else:
        assert difference(batch.sample[:, 4:], golden["noisy_latents"]) < 2e-5


def test_the_prediction_is_the_references(stepped, golden):
    assert difference(stepped[0], golden["model_pred"]) < 1e-4


def test_the_losses_are_those_of_the_references_own_numbers(stepped, golden):
    prediction, target, mask = golden["model_pred"], golden["target_latents"], golden["valid_mask_down_anno"]
    square = (prediction - target).square()
    assert stepped[3].annotation.item() == pytest.approx(square[:2][mask].mean().item(), rel=1e-4)
    assert stepped[3].reconstruction.item() == pytest.approx(square[2:].mean().item(), rel=1e-4)


def test_the_gradients_are_the_references(stepped, golden):
    names = [key.removeprefix("grad_") for key in golden if key.startswith("grad_")]
    assert len(names) == 4
    for name in names:
        reference = golden[f"grad_{name}"]
        assert difference(stepped[1][name], reference) < 1e-4 * max(1.0, reference.abs().max().item()), name


def test_the_first_step_of_adamw_is_the_references(stepped, golden):
    assert difference(stepped[2], golden["conv_out_weight_after_step"]) < 1e-6
