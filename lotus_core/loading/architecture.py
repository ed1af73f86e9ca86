"""The sizes of a UNet, read from the shapes of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..conventions import LATENT_CHANNELS, Mode
from ..errors import ArchitectureError
from .header import Shape

SD2_CHANNELS: Final = (320, 640, 1280, 1280)
SD2_HEADS: Final = (5, 10, 20, 20)
SD2_CONTEXT: Final = 1024
SD2_NORM_GROUPS: Final = 32
"""Stable Diffusion 2's UNet: attention heads 64 wide, prompt embeddings 1024 wide, 32 norm groups. Source: its
unet/config.json."""

TASK_LABEL_CHANNELS: Final = 4
"""Length of the task switcher's label, [sin a, sin b, cos a, cos b]."""


@dataclass(frozen=True)
class UNetArchitecture:
    """What the shapes of a Lotus UNet's weights say.

    Attributes:
        in_channels: 4 (discriminative) or 8 (generative).
        block_out_channels: Width of each level, finest first.
        layers_per_block: ResNet blocks per level on the way down.
        attention: Whether each level has attention, finest first.
        transformer_layers: Transformer layers in each attention block, per level; the deepest level's is the
            middle block's.
        cross_attention_dim: Width of the prompt embedding.
        linear_projection: Whether attention blocks are entered through linear layers (not 1x1 convolutions).
    """

    in_channels: int
    block_out_channels: tuple[int, ...]
    layers_per_block: int
    attention: tuple[bool, ...]
    transformer_layers: tuple[int, ...]
    cross_attention_dim: int
    linear_projection: bool

    @property
    def mode(self) -> Mode:
        """Generative ("g") where noise is concatenated to the image latents, else "d"."""
        return "g" if self.in_channels == 2 * LATENT_CHANNELS else "d"

    def config(self) -> dict[str, Any]:
        """Return the arguments of diffusers' UNet2DConditionModel that shapes determine."""
        down = tuple("CrossAttnDownBlock2D" if has else "DownBlock2D" for has in self.attention)
        up = tuple("CrossAttnUpBlock2D" if has else "UpBlock2D" for has in reversed(self.attention))
        return {
            "in_channels": self.in_channels,
            "out_channels": LATENT_CHANNELS,
            "block_out_channels": self.block_out_channels,
            "layers_per_block": self.layers_per_block,
            "down_block_types": down,
            "up_block_types": up,
            "transformer_layers_per_block": self.transformer_layers,
            "cross_attention_dim": self.cross_attention_dim,
            "use_linear_projection": self.linear_projection,
            "class_embed_type": "projection",
            "projection_class_embeddings_input_dim": TASK_LABEL_CHANNELS,
        }


def unet_architecture(shapes: Mapping[str, Shape], name: str) -> UNetArchitecture:
    """Read a Lotus UNet's sizes from its weights.

    Args:
        shapes: Shape of each tensor by diffusers key.
        name: The file's name, for messages.

    Raises:
        ArchitectureError: A tensor that every Lotus UNet has is missing or of an impossible shape.
    """
    levels = _count(shapes, "down_blocks.{}.resnets.0.conv1.weight")
    layers = _count(shapes, "down_blocks.0.resnets.{}.conv1.weight")
    if not levels or not layers:
        raise _not_a_unet(name, "no down_blocks")
    attention = tuple(f"down_blocks.{i}.attentions.0.norm.weight" in shapes for i in range(levels))
    depths = [_transformer_layers(shapes, f"down_blocks.{i}") if attention[i] else 1 for i in range(levels)]
    depths[-1] = _transformer_layers(shapes, "mid_block")
    conv_in = _shape(shapes, "conv_in.weight", 4, name)
    context = _shape(shapes, "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight", 2, name)
    projection = shapes.get("mid_block.attentions.0.proj_in.weight", ())
    return UNetArchitecture(
        in_channels=conv_in[1],
        block_out_channels=tuple(
            _shape(shapes, f"down_blocks.{i}.resnets.0.conv1.weight", 4, name)[0] for i in range(levels)
        ),
        layers_per_block=layers,
        attention=attention,
        transformer_layers=tuple(depths),
        cross_attention_dim=context[1],
        linear_projection=len(projection) == 2,
    )


def _count(shapes: Mapping[str, Shape], template: str) -> int:
    count = 0
    while template.format(count) in shapes:
        count += 1
    return count


def _transformer_layers(shapes: Mapping[str, Shape], block: str) -> int:
    return max(1, _count(shapes, f"{block}.attentions.0.transformer_blocks.{{}}.norm1.weight"))


def _shape(shapes: Mapping[str, Shape], key: str, rank: int, name: str) -> Shape:
    shape = shapes.get(key)
    if shape is None or len(shape) != rank or 0 in shape:
        raise _not_a_unet(name, f"no {key}" if shape is None else f"{key} of shape {list(shape)}")
    return shape


def _not_a_unet(name: str, found: str) -> ArchitectureError:
    return ArchitectureError(
        f"{name} is not a complete Lotus UNet",
        path=name,
        found=found,
        remedy="choose the UNet of a Lotus checkpoint",
    )
