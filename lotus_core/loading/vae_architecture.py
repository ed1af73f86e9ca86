"""The sizes of a VAE, read from the shapes of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..conventions import LATENT_CHANNELS
from ..errors import ArchitectureError
from .header import Shape

SD_VAE_CHANNELS: Final = (128, 256, 512, 512)
SD_VAE_NORM_GROUPS: Final = 32
"""Stable Diffusion's VAE. Source: vae/config.json of stable-diffusion-2."""


@dataclass(frozen=True)
class VaeArchitecture:
    """What the shapes of a VAE's weights say.

    Attributes:
        block_out_channels: Width of each level, finest first.
        layers_per_block: ResNet blocks per level of the encoder.
        mid_attention: Whether the middle blocks have attention.
        quant_conv: Whether a 1x1 convolution follows the encoder.
        post_quant_conv: Whether one precedes the decoder.
    """

    block_out_channels: tuple[int, ...]
    layers_per_block: int
    mid_attention: bool
    quant_conv: bool
    post_quant_conv: bool

    def config(self) -> dict[str, Any]:
        """Return the arguments of diffusers' AutoencoderKL that shapes determine."""
        levels = len(self.block_out_channels)
        config: dict[str, Any] = {
            "in_channels": 3,
            "out_channels": 3,
            "latent_channels": LATENT_CHANNELS,
            "block_out_channels": self.block_out_channels,
            "layers_per_block": self.layers_per_block,
            "down_block_types": ("DownEncoderBlock2D",) * levels,
            "up_block_types": ("UpDecoderBlock2D",) * levels,
        }
        # Newer arguments of AutoencoderKL: named only where they differ from what every version builds.
        optional = {
            "mid_block_add_attention": self.mid_attention,
            "use_quant_conv": self.quant_conv,
            "use_post_quant_conv": self.post_quant_conv,
        }
        return config | {key: False for key, present in optional.items() if not present}


def vae_architecture(shapes: Mapping[str, Shape], name: str) -> VaeArchitecture:
    """Read a VAE's sizes from its weights.

    Args:
        shapes: Shape of each tensor by diffusers key.
        name: The file's name, for messages.

    Raises:
        ArchitectureError: Not an image VAE of 4 latent channels.
    """
    widths: list[int] = []
    while (shape := shapes.get(f"encoder.down_blocks.{len(widths)}.resnets.0.conv1.weight")) is not None:
        widths.append(shape[0] if shape else 0)
    layers = 0
    while f"encoder.down_blocks.0.resnets.{layers}.conv1.weight" in shapes:
        layers += 1
    ends = [
        shapes.get(f"{end}.weight", ()) for end in ("encoder.conv_in", "decoder.conv_in", "decoder.conv_out")
    ]
    if not widths or any(len(end) != 4 for end in ends):
        raise _refuse(
            name, "no encoder and decoder", "choose the VAE of a Lotus or Stable Diffusion 2 checkpoint"
        )
    (_, image, _, _), (_, latent, _, _), (out, _, _, _) = ends
    if latent != LATENT_CHANNELS or image != 3 or out != 3:
        raise _refuse(
            name,
            f"{image} image channels, {latent} latent channels",
            "take Stable Diffusion's VAE of 3 image and 4 latent channels; those of SD3, Flux or video models differ",
        )
    return VaeArchitecture(
        block_out_channels=tuple(widths),
        layers_per_block=layers,
        mid_attention="encoder.mid_block.attentions.0.group_norm.weight" in shapes,
        quant_conv="quant_conv.weight" in shapes,
        post_quant_conv="post_quant_conv.weight" in shapes,
    )


def _refuse(name: str, found: str, remedy: str) -> ArchitectureError:
    return ArchitectureError(f"{name} is not a VAE that Lotus can use", path=name, found=found, remedy=remedy)
