"""A Lotus model with random weights for the simulated card: a UNet of 549 MB in fp32 once folded, a VAE of 23 MB."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

UNET_WIDTHS = (160, 320, 512, 512)
VAE_WIDTHS = (64, 64, 128, 128)
CONTEXT = 256


def parts(pack_module: Any, *, unet_widths: tuple[int, ...] = UNET_WIDTHS, seed: int = 0) -> Any:
    """LoadedParts of a discriminative depth model; `pack_module` imports a module of the pack."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(
            sample_size=96,
            in_channels=4,
            out_channels=4,
            block_out_channels=unet_widths,
            layers_per_block=2,
            down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
            up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
            attention_head_dim=4,
            cross_attention_dim=CONTEXT,
            use_linear_projection=True,
            class_embed_type="projection",
            projection_class_embeddings_input_dim=4,
        )
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=VAE_WIDTHS,
            layers_per_block=2,
            latent_channels=4,
            norm_num_groups=32,
        )
        prompt = torch.randn(1, 2, CONTEXT)
    for module in (unet, vae):
        module.eval().requires_grad_(False)
    info = pack_module("lotus_core.types").ModelInfo(
        name="random",
        mode="d",
        output="depth",
        default_resolution=768,
        source="memory",
        vae_source="memory",
        unet_parameters=sum(parameter.numel() for parameter in unet.parameters()),
        cross_attention_dim=CONTEXT,
    )
    return pack_module("lotus_core.loading.checkpoint").LoadedParts(unet, vae, prompt, info)
