"""Networks that training starts from."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from lotus_core.errors import CheckpointError
from lotus_core.training.config import Start
from lotus_core.training.networks import load_vae, set_input_channels, starting_parts
from lotus_core.training.posterior import posterior

MINI = Path(__file__).parents[2] / "golden" / "ckpt"


def small(vae, **more):
    settings = {"channels": (8, 16), "attention": (False, True), "heads": 2, "norm_groups": 4, "context": 8}
    return Start(vae=str(vae), **{**settings, **more})


def test_random_weights_repeat_by_seed_and_leave_torchs_state_alone(vae):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, other, third = (starting_parts(small(vae), "d", seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(one.unet.conv_in.weight, other.unet.conv_in.weight)
    assert torch.equal(one.prompt_embeds, other.prompt_embeds)
    assert not torch.equal(one.unet.conv_in.weight, third.unet.conv_in.weight)


def test_sizes_are_those_of_the_config(vae):
    start = small(vae, channels=(8, 12, 16), attention=(True, False, True), layers_per_block=2)
    unet = starting_parts(start, "d", 0).unet
    assert unet.config["block_out_channels"] == (8, 12, 16)
    assert [type(block).__name__ for block in unet.down_blocks] == [
        "CrossAttnDownBlock2D",
        "DownBlock2D",
        "CrossAttnDownBlock2D",
    ]
    assert len(unet.down_blocks[0].resnets) == 2


def test_a_widened_convolution_says_of_two_equal_inputs_what_it_said_of_one(vae):
    unet = starting_parts(small(vae), "d", 0).unet
    latents = torch.randn(2, 4, 6, 6)
    with torch.no_grad():
        before = unet.conv_in(latents)
        set_input_channels(unet, 8)
        after = unet.conv_in(torch.cat([latents, latents], dim=1))
    assert torch.allclose(before, after, atol=1e-6)
    assert unet.config["in_channels"] == 8


def test_a_generative_model_starts_from_a_discriminative_checkpoint():
    before = load_file(MINI / "mini-d" / "unet" / "diffusion_pytorch_model.safetensors")[
        "conv_in.weight"
    ].float()
    unet = starting_parts(Start(checkpoint=str(MINI / "mini-d")), "g", 0).unet
    assert torch.equal(unet.conv_in.weight, torch.cat([before, before], dim=1) * 0.5)


def test_a_generative_checkpoint_cannot_become_discriminative():
    with pytest.raises(CheckpointError, match="8 input channels cannot become one of 4"):
        starting_parts(Start(checkpoint=str(MINI / "mini-g")), "d", 0)


def test_stable_diffusion_gets_a_task_switcher_and_keeps_its_weights(tmp_path):
    """A UNet without class embedding, as Stable Diffusion 2 has it."""
    folder = tmp_path / "sd2"
    shutil.copytree(MINI / "mini-d", folder)
    config = json.loads((folder / "unet" / "config.json").read_text())
    config.update(class_embed_type=None, projection_class_embeddings_input_dim=None)
    (folder / "unet" / "config.json").write_text(json.dumps(config))
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = {key: value for key, value in load_file(file).items() if not key.startswith("class_embedding")}
    save_file(tensors, file, {"format": "pt"})
    unet = starting_parts(Start(checkpoint=str(folder)), "g", 0).unet
    assert isinstance(unet, UNet2DConditionModel)
    assert unet.class_embedding is not None
    assert torch.equal(unet.conv_out.weight, tensors["conv_out.weight"].float())
    again = starting_parts(Start(checkpoint=str(folder)), "g", 0).unet
    assert torch.equal(unet.class_embedding.linear_1.weight, again.class_embedding.linear_1.weight)


def test_pickled_weights_are_not_opened(tmp_path):
    folder = tmp_path / "vae"
    shutil.copytree(MINI / "mini-d" / "vae", folder)
    (folder / "diffusion_pytorch_model.safetensors").rename(folder / "diffusion_pytorch_model.bin")
    with pytest.raises(CheckpointError, match="only safetensors are read"):
        load_vae(folder)


def test_a_folder_without_a_network_says_so(tmp_path):
    with pytest.raises(CheckpointError, match="holds no AutoencoderKL"):
        load_vae(tmp_path)


def test_the_vae_is_frozen():
    assert not any(parameter.requires_grad for parameter in load_vae(MINI / "mini-d" / "vae").parameters())


def test_the_posterior_is_diffusers_own():
    vae = load_vae(MINI / "mini-d" / "vae")
    pictures = torch.rand(1, 3, 16, 24) * 2 - 1
    with torch.no_grad():
        ours, theirs = posterior(vae, pictures), vae.encode(pictures).latent_dist
    assert torch.allclose(ours.mean, theirs.mean, atol=1e-6)
    assert torch.allclose(ours.std, theirs.std, atol=1e-6)
    expected = theirs.kl().sum() / ours.mean.numel()
    assert ours.divergence().item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"checkpoint": "x", "channels": (8,)}, "either checkpoint, or channels"),
        ({}, "either checkpoint, or channels"),
        ({"channels": (8, 16), "attention": (True,), "vae": "v"}, "true or false for each of channels"),
        ({"channels": (8,), "attention": (True,)}, "need vae"),
    ],
)
def test_contradictions_of_the_start_are_told(settings, message):
    with pytest.raises(ValueError, match=message):
        Start(**settings)
