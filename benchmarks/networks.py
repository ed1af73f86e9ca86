"""Networks of Lotus's size without their weights, to measure what does not depend on values."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from lotus_core.inference.folding import fold_unet, fold_vae
from lotus_core.inference.latent_codec import Codec
from lotus_core.inference.memory import Widths
from lotus_core.inference.one_step import OneStep

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

SD2 = Widths(vae=(128, 256, 512, 512), unet=(320, 640, 1280, 1280))
MINI = Widths(vae=(32, 32, 64, 64), unet=(32, 64, 64, 64))
"""Widths of the reference's small random checkpoints."""
CONTEXT = 1024


@dataclass(frozen=True)
class Networks:
    """The two networks of a model, folded for their one step.

    Attributes:
        unet: The one step.
        codec: The latent codec.
        widths: Their widths.
    """

    unet: OneStep
    codec: Codec
    widths: Widths


def weightless(widths: Widths) -> Networks:
    """Return folded networks of Stable Diffusion 2's architecture on the meta device."""
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # initialising tensors without storage does nothing, and says so
        unet, codec = fold_unet(plain_unet(widths), torch.zeros(1, 2, CONTEXT)), fold_vae(plain_vae(widths))
    return Networks(unet, codec, widths)


def plain_unet(widths: Widths, in_channels: int = 4) -> UNet2DConditionModel:
    """Return a UNet as diffusers builds it, heads 64 numbers wide as in Stable Diffusion 2 where that divides."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    levels = len(widths.unet)
    return UNet2DConditionModel(
        sample_size=96,
        in_channels=in_channels,
        out_channels=4,
        block_out_channels=widths.unet,
        layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D",) * (levels - 1) + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (levels - 1),
        attention_head_dim=tuple(max(1, width // 64) for width in widths.unet),
        cross_attention_dim=CONTEXT,
        use_linear_projection=True,
        class_embed_type="projection",
        projection_class_embeddings_input_dim=4,
    ).eval()


def plain_vae(widths: Widths) -> AutoencoderKL:
    """Return an autoencoder as diffusers builds it."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    levels = len(widths.vae)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=widths.vae,
        layers_per_block=2,
        latent_channels=4,
        norm_num_groups=32,
    ).eval()


def refilled(module: nn.Module, device: str, dtype: torch.dtype) -> nn.Module:
    """Give a module, in place, empty weights of the same shapes and layouts on a device; returns it."""
    for part in module.modules():
        for name, weight in part.named_parameters(recurse=False):
            empty = torch.empty_strided(weight.shape, weight.stride(), dtype=dtype, device=device)
            setattr(part, name, nn.Parameter(empty, requires_grad=False))
        for name, buffer in part.named_buffers(recurse=False):
            setattr(part, name, torch.empty(buffer.shape, dtype=dtype, device=device))
    return module
