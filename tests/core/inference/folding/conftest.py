"""Small random networks with Lotus's topology."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from lotus_core.inference.folding import convolution


def random_unet(mode: str, *, linear_projection: bool = True) -> UNet2DConditionModel:
    torch.manual_seed(3)
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=8 if mode == "g" else 4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(8, 16, 16),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=(1, 2, 2),
        cross_attention_dim=12,
        use_linear_projection=linear_projection,
        class_embed_type="projection",
        projection_class_embeddings_input_dim=4,
    )
    return disturbed(unet)


def random_vae(*, attention: bool = True, quantising: bool = True) -> AutoencoderKL:
    torch.manual_seed(4)
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=4,
        mid_block_add_attention=attention,
        use_quant_conv=quantising,
        use_post_quant_conv=quantising,
    )
    return disturbed(vae)


def disturbed(model):
    """Move norms and biases away from their special initial values (ones and zeros hide mistakes)."""
    generator = torch.Generator().manual_seed(5)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            noise = torch.rand(parameter.shape, generator=generator) - 0.5
            parameter.data = 0.4 * noise + (1.0 if "norm" in name and name.endswith("weight") else 0.0)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="session", params=["d", "g"])
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["annotation", "reconstruction"])
def task(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def double_unets() -> dict[str, UNet2DConditionModel]:
    """Random UNets by mode, float64. Shared: do not modify."""
    return {mode: random_unet(mode).double() for mode in "dg"}


@pytest.fixture(scope="session")
def double_vae() -> AutoencoderKL:
    """A random autoencoder, float64. Shared: do not modify."""
    return random_vae().double()


@pytest.fixture
def always_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let minimal filtering take convolutions of every size, not only those where it is quicker."""
    monkeypatch.setattr(convolution, "_MIN_PIXELS", 1)
    monkeypatch.setattr(convolution, "_MIN_CHANNELS", 1)
