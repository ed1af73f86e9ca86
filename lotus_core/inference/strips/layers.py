"""An autoencoder as two rows of layers, each of which can be computed strip by strip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional as F

from ..folding import FoldedCodec
from ..folding.workspace import Workspace
from ..latent_codec import Codec, LatentCodec


@dataclass(frozen=True)
class Convolution:
    """``conv(silu(norm(x)))``, or ``conv(x)`` without a norm; 3x3 with padding 1, or 1x1.

    Attributes:
        conv: The leaf.
        norm: Normalisation over the whole map, or None.
    """

    conv: nn.Conv2d
    norm: nn.GroupNorm | None = None


@dataclass(frozen=True)
class Residual:
    """``shortcut(x) + second(first(x))``.

    Attributes:
        first: First convolution.
        second: Second convolution.
        shortcut: 1x1 convolution where the widths differ, else None.
    """

    first: Convolution
    second: Convolution
    shortcut: nn.Conv2d | None


@dataclass(frozen=True)
class Halving:
    """A 3x3 convolution with stride 2 on the map with one row and one column of zeros after its end.

    Attributes:
        conv: The leaf, without padding.
    """

    conv: nn.Conv2d


@dataclass(frozen=True)
class Doubling:
    """Nearest-neighbour 2x and a 3x3 convolution with padding 1.

    Attributes:
        enlarge: (B, C, h, w) -> (B, O, 2h, 2w).
        out_channels: O.
    """

    enlarge: Callable[[Tensor], Tensor]
    out_channels: int


@dataclass(frozen=True)
class Attention:
    """``x + out(attention(norm(x)))`` of all pixels to each other.

    Attributes:
        norm: Normalisation over the whole map.
        projections: Three leaves for queries, keys and values, or one that gives them side by side.
        out: The last leaf.
        heads: Number of heads.
    """

    norm: nn.GroupNorm
    projections: tuple[nn.Module, ...]
    out: nn.Module
    heads: int


Layer = Convolution | Residual | Halving | Doubling | Attention


@dataclass(frozen=True)
class AutoencoderLayers:
    """All that a codec computes.

    Attributes:
        encoder: From (B, 3, H, W) pixels in [-1, 1].
        finish: From the encoder's last map to scaled latents, (B, 4, h, w).
        prepare: From scaled latents to the decoder's first map.
        decoder: To (B, 3, H, W) pixels, about [-1, 1].
    """

    encoder: tuple[Layer, ...]
    finish: Callable[[Tensor], Tensor]
    prepare: Callable[[Tensor], Tensor]
    decoder: tuple[Layer, ...]


def autoencoder_layers(codec: Codec) -> AutoencoderLayers | None:
    """Return the layers of a codec, its own leaves inside; None for a codec of another kind."""
    if isinstance(codec, FoldedCodec):
        return _folded(codec)
    return _plain(codec) if isinstance(codec, LatentCodec) else None


def _folded(codec: FoldedCodec) -> AutoencoderLayers:
    encoder, decoder, joined = codec.encoder, codec.decoder, codec.folds.codec

    def up(upsample: Any) -> Doubling:
        channels = getattr(upsample, "conv", upsample).out_channels
        return Doubling(partial(upsample, work=Workspace(filtering=False)), channels)

    return AutoencoderLayers(
        encoder=(
            Convolution(encoder.conv_in),
            *_levels(encoder.stages, [Halving(_conv(conv)) for conv in encoder.downsample]),
            *_middle(encoder.middle.resnets, encoder.middle.attentions, _folded_attention),
            Convolution(encoder.conv_out, encoder.norm_out),
            *([] if joined else _optional(codec.quant)),
        ),
        finish=_same if joined else partial(_scaled_mode, codec),
        prepare=_with_ones if joined else partial(_unscaled, codec),
        decoder=(
            *([] if joined else _optional(codec.post_quant)),
            Convolution(decoder.conv_in),
            *_middle(decoder.middle.resnets, decoder.middle.attentions, _folded_attention),
            *_levels(decoder.stages, [up(upsample) for upsample in decoder.upsample]),
            Convolution(decoder.conv_out, decoder.norm_out),
        ),
    )


def _plain(codec: LatentCodec) -> AutoencoderLayers:
    encoder: Any = codec.vae.encoder
    decoder: Any = codec.vae.decoder
    downs = [
        Halving(_conv(block.downsamplers[0].conv)) for block in encoder.down_blocks if block.downsamplers
    ]
    ups = [block.upsamplers[0] for block in decoder.up_blocks if block.upsamplers]
    return AutoencoderLayers(
        encoder=(
            Convolution(encoder.conv_in),
            *_levels([block.resnets for block in encoder.down_blocks], downs),
            *_middle(encoder.mid_block.resnets, encoder.mid_block.attentions, _plain_attention),
            Convolution(encoder.conv_out, encoder.conv_norm_out),
            *_optional(codec.vae.quant_conv),
        ),
        finish=partial(_scaled_mode, codec),
        prepare=partial(_unscaled, codec),
        decoder=(
            *_optional(codec.vae.post_quant_conv),
            Convolution(decoder.conv_in),
            *_middle(decoder.mid_block.resnets, decoder.mid_block.attentions, _plain_attention),
            *_levels(
                [block.resnets for block in decoder.up_blocks],
                [Doubling(up, up.conv.out_channels) for up in ups],
            ),
            Convolution(decoder.conv_out, decoder.conv_norm_out),
        ),
    )


def _levels(levels: Any, between: Sequence[Layer]) -> Iterator[Layer]:
    for i, resnets in enumerate(levels):
        yield from (_residual(resnet) for resnet in resnets)
        if i < len(between):
            yield between[i]


def _middle(resnets: Any, attentions: Any, convert: Callable[[Any], Attention]) -> Iterator[Layer]:
    yield _residual(resnets[0])
    for attention, resnet in zip(attentions, list(resnets)[1:], strict=True):
        if attention is not None and not isinstance(attention, nn.Identity):
            yield convert(attention)
        yield _residual(resnet)


def _residual(block: Any) -> Residual:
    shortcut = block.shortcut if hasattr(block, "shortcut") else block.conv_shortcut
    return Residual(Convolution(block.conv1, block.norm1), Convolution(block.conv2, block.norm2), shortcut)


def _folded_attention(block: Any) -> Attention:
    attention = block.attention
    return Attention(block.norm, tuple(attention.projections), attention.out, attention.heads)


def _plain_attention(block: Any) -> Attention:
    return Attention(block.group_norm, (block.to_q, block.to_k, block.to_v), block.to_out[0], block.heads)


def _optional(conv: nn.Module | None) -> list[Layer]:
    return [] if conv is None else [Convolution(_conv(conv))]


def _conv(module: nn.Module) -> nn.Conv2d:
    return cast("nn.Conv2d", module)


def _same(x: Tensor) -> Tensor:
    return x


def _scaled_mode(codec: Codec, moments: Tensor) -> Tensor:
    return moments[:, : codec.latent_channels] * codec.scaling_factor


def _unscaled(codec: Codec, x0: Tensor) -> Tensor:
    return x0 / codec.scaling_factor


def _with_ones(x0: Tensor) -> Tensor:
    """Append the channel of ones that carries the biases folded into the first convolution."""
    return F.pad(x0, (0, 0, 0, 0, 0, 1), value=1.0)
