"""Full-size networks with random weights: what a benchmark of time and memory needs, without a download."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

PROMPT_WIDTH = 1024


@dataclass(frozen=True)
class Networks:
    """What every contender starts from: unchanged diffusers modules in float32, contiguous.

    Attributes:
        unet: Lotus's UNet (UNet2DConditionModel).
        vae: Its autoencoder (AutoencoderKL).
        prompt_embeds: (1, 2, 1024) float32.
    """

    unet: Any
    vae: Any
    prompt_embeds: Tensor

    def twin(self) -> Networks:
        """Return modules of their own on the same weights: casting one does not touch the other."""
        return Networks(_twin(self.unet), _twin(self.vae), self.prompt_embeds)

    def laid_out(self, memory_format: torch.memory_format) -> Networks:
        """Return a twin whose convolution weights are copied into another memory layout; the rest is shared."""
        other = self.twin()
        for module in (other.unet, other.vae):
            module.to(memory_format=memory_format)
        return other


def full_size(mode: str = "d", seed: int = 0) -> Networks:
    """Return networks of Stable Diffusion 2's sizes for Lotus-D ("d") or Lotus-G ("g").

    Weights are uniform with a variance that keeps activations of order one through all layers.
    """
    return Networks(filled(unet_on_meta(mode), seed), filled(vae_on_meta(), seed + 1), random_prompt(seed))


def unet_on_meta(mode: str = "d") -> Any:
    """Return a UNet of 867.6 M parameters without storage."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    sizes: dict[str, Any] = {
        "block_out_channels": (320, 640, 1280, 1280),
        "attention_head_dim": (5, 10, 20, 20),
        "cross_attention_dim": PROMPT_WIDTH,
        "use_linear_projection": True,
        "class_embed_type": "projection",
        "projection_class_embeddings_input_dim": 4,
    }
    with torch.device("meta"):
        return UNet2DConditionModel(
            sample_size=96, in_channels=8 if mode == "g" else 4, out_channels=4, **sizes
        )


def vae_on_meta() -> Any:
    """Return an autoencoder of 83.7 M parameters without storage."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    sizes: dict[str, Any] = {
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
    }
    with torch.device("meta"):
        return AutoencoderKL(
            latent_channels=4, layers_per_block=2, sample_size=768, scaling_factor=0.18215, **sizes
        )


def text_encoder(seed: int = 0) -> nn.Module:
    """Return Stable Diffusion 2's text encoder, 340 M random parameters: what a folded model does not load."""
    from transformers import CLIPTextConfig, CLIPTextModel

    with torch.device("meta"):
        encoder = CLIPTextModel(
            CLIPTextConfig(
                hidden_size=PROMPT_WIDTH,
                intermediate_size=4096,
                num_hidden_layers=23,
                num_attention_heads=16,
                vocab_size=49408,
                projection_dim=512,
            )
        )
    return filled(encoder, seed + 2)


def random_prompt(seed: int = 0) -> Tensor:
    """Return a (1, 2, 1024) stand-in for the text encoder's output for "" (its entries are of order one)."""
    return torch.randn(1, 2, PROMPT_WIDTH, generator=torch.Generator().manual_seed(seed + 3))


def random_image(side: int, batch: int = 1, seed: int = 0) -> Tensor:
    """Return (batch, 3, side, side) smooth random pixels in [-1, 1]."""
    coarse = torch.rand(batch, 3, 9, 9, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")


@torch.no_grad()
def filled(module: Any, seed: int) -> Any:
    """Return a module built on the meta device with random weights on the CPU."""
    module = module.to_empty(device="cpu").eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            if isinstance(part, (nn.GroupNorm, nn.LayerNorm)):
                low, high = (0.8, 1.2) if name == "weight" else (-0.1, 0.1)
            elif parameter.ndim > 1:
                high = 0.7 * math.sqrt(3.0 / parameter[0].numel())  # variance 0.49 / inputs
                low = -high
            else:
                low, high = -0.05, 0.05
            parameter.uniform_(low, high, generator=generator)
        for name, buffer in part.named_buffers(recurse=False):
            if name == "position_ids":  # to_empty() leaves buffers undefined too
                buffer.copy_(torch.arange(buffer.shape[-1]).expand_as(buffer))
    return module


def _twin(module: Any) -> Any:
    """Copy the modules, share the storages."""
    shared = {id(p): nn.Parameter(p.data, requires_grad=False) for p in module.parameters()}
    return copy.deepcopy(module, shared)
