"""The autoencoder between pixels and scaled latents, with what is not needed folded away."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...conventions import LATENT_STRIDE
from ..latent_codec import Codec
from .attention import PixelAttention
from .convolution import convolve
from .leaves import convolution, wide_bias, wide_weight
from .options import Folds
from .requirements import check_vae
from .resnet import ResnetBlock
from .upsampling import PhaseUpsample, PlainUpsample
from .workspace import Workspace

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL


_PIECE_PIXELS = 1 << 16
"""Pixels that the CPU takes at once, 256x256. Larger batches were measured up to 1.2x slower per image."""


class FoldedCodec(Codec):
    """An autoencoder built of this package's own blocks.

    All weights live in `nn.Linear`, `nn.Conv2d` and `nn.GroupNorm` leaves. Those that no fold changes are the
    leaves of the autoencoder that was folded, not copies: drop that one afterwards.

    Args:
        vae: The diffusers autoencoder.
        folds: Which folds to apply.
    """

    def __init__(self, vae: AutoencoderKL, folds: Folds) -> None:
        super().__init__()
        check_vae(vae)
        self.folds = folds
        self.scaling_factor = float(vae.config["scaling_factor"])
        self.latent_channels = int(vae.config["latent_channels"])
        self.encoder = _Encoder(vae.encoder, folds)
        self.decoder = _Decoder(vae.decoder, folds)
        self.quant, self.post_quant = vae.quant_conv, vae.post_quant_conv
        if folds.codec:
            self.encoder.conv_out = _mean_only(vae, self.scaling_factor)
            self.decoder.conv_in = _from_scaled(vae, self.scaling_factor)
            self.quant = self.post_quant = None

    def _encode(self, rgb: Tensor) -> Tensor:
        return _in_pieces(self._encode_piece, rgb, rgb.shape[2] * rgb.shape[3])

    def _decode(self, x0: Tensor) -> Tensor:
        return _in_pieces(self._decode_piece, x0, x0.shape[2] * x0.shape[3] * LATENT_STRIDE**2)

    def _encode_piece(self, rgb: Tensor) -> Tensor:
        latents = self.encoder(rgb.contiguous(memory_format=self._layout), Workspace(self.folds.filtering))
        if not self.folds.codec:
            latents = latents if self.quant is None else self.quant(latents)
            latents = latents[:, : self.latent_channels] * self.scaling_factor
        return latents.contiguous()

    def _decode_piece(self, x0: Tensor) -> Tensor:
        if self.folds.codec:
            x0 = F.pad(
                x0, (0, 0, 0, 0, 0, 1), value=1.0
            )  # the channel that carries the biases, see `_from_scaled`
        else:
            x0 = x0 / self.scaling_factor
            x0 = x0 if self.post_quant is None else self.post_quant(x0)
        return self.decoder(
            x0.contiguous(memory_format=self._layout), Workspace(self.folds.filtering)
        ).contiguous()

    @property
    def _layout(self) -> torch.memory_format:
        return torch.channels_last if self.folds.channels_last else torch.contiguous_format


def _in_pieces(compute: Callable[[Tensor], Tensor], images: Tensor, pixels: int) -> Tensor:
    """Return the result for a batch: on the CPU piece by piece, so that a layer's result is still cached for the next.

    Args:
        compute: Takes and returns a batch.
        images: (B, ...).
        pixels: Pixels of one image.
    """
    count = max(1, _PIECE_PIXELS // pixels)
    if images.device.type != "cpu" or images.shape[0] <= count:
        return compute(images)
    return torch.cat([compute(piece) for piece in images.split(count)])


class _Encoder(nn.Module):
    def __init__(self, encoder: Any, folds: Folds) -> None:
        super().__init__()
        self.conv_in = encoder.conv_in
        self.stages = nn.ModuleList(
            nn.ModuleList(ResnetBlock(r, in_place=True) for r in block.resnets)
            for block in encoder.down_blocks
        )
        self.downsample = nn.ModuleList(b.downsamplers[0].conv for b in encoder.down_blocks if b.downsamplers)
        self.middle = _Middle(encoder.mid_block, folds)
        self.norm_out, self.conv_out = encoder.conv_norm_out, encoder.conv_out

    def forward(self, x: Tensor, work: Workspace) -> Tensor:
        x = self.conv_in(x)
        for i, stage in enumerate(self.stages):
            for resnet in stage:  # pyright: ignore
                x = resnet(x, work)
            if i < len(self.downsample):
                x = self.downsample[i](F.pad(x, (0, 1, 0, 1)))
        return convolve(self.conv_out, self.middle(x, work), work, norm=self.norm_out)


class _Decoder(nn.Module):
    def __init__(self, decoder: Any, folds: Folds) -> None:
        super().__init__()
        self.conv_in = decoder.conv_in
        self.middle = _Middle(decoder.mid_block, folds)
        self.stages = nn.ModuleList(
            nn.ModuleList(ResnetBlock(r, in_place=True) for r in block.resnets) for block in decoder.up_blocks
        )
        upsampler = PhaseUpsample if folds.upsample else PlainUpsample
        self.upsample = nn.ModuleList(
            upsampler(b.upsamplers[0].conv) for b in decoder.up_blocks if b.upsamplers
        )
        self.norm_out, self.conv_out = decoder.conv_norm_out, decoder.conv_out

    def forward(self, x: Tensor, work: Workspace) -> Tensor:
        x = self.middle(self.conv_in(x), work)
        for i, stage in enumerate(self.stages):
            for resnet in stage:  # pyright: ignore
                x = resnet(x, work)
            if i < len(self.upsample):
                x = self.upsample[i](x, work)
        return convolve(self.conv_out, x, work, norm=self.norm_out)


class _Middle(nn.Module):
    def __init__(self, block: Any, folds: Folds) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(ResnetBlock(r, in_place=True) for r in block.resnets)
        self.attentions = nn.ModuleList(
            nn.Identity() if a is None else PixelAttention(a, joined=folds.attention)
            for a in block.attentions
        )

    def forward(self, x: Tensor, work: Workspace) -> Tensor:
        x = self.resnets[0](x, work)
        for attention, resnet in zip(self.attentions, self.resnets[1:], strict=True):
            x = resnet(attention(x), work)
        return x


def _mean_only(vae: AutoencoderKL, scaling_factor: float) -> nn.Conv2d:
    """Return the encoder's last convolution, straight to scaled latents: the quantising 1x1 one comes after it."""
    last, keep = vae.encoder.conv_out, int(vae.config["latent_channels"])
    weight, bias = wide_weight(last), wide_bias(last)
    if vae.quant_conv is not None:
        quant = wide_weight(vae.quant_conv)[:keep, :, 0, 0]
        weight = torch.einsum("po,ocuv->pcuv", quant, weight)
        bias = quant @ bias + wide_bias(vae.quant_conv)[:keep]
    weight, bias = weight[:keep] * scaling_factor, bias[:keep] * scaling_factor
    return convolution(weight, bias, padding=1)


def _from_scaled(vae: AutoencoderKL, scaling_factor: float) -> nn.Conv2d:
    """Return the decoder's first convolution, straight from scaled latents and a channel of ones.

    The 1x1 convolution before it adds a bias inside the image only, not to the padding around it: as the
    weights of a channel of ones, zero-padded like the others, that bias acts exactly so.
    """
    first = vae.decoder.conv_in
    weight, bias = wide_weight(first), wide_bias(first)
    if vae.post_quant_conv is not None:
        post = wide_weight(vae.post_quant_conv)[:, :, 0, 0]
        ones = torch.einsum("ocuv,c->ouv", weight, wide_bias(vae.post_quant_conv))
        weight = torch.einsum("ocuv,cp->opuv", weight, post)
    else:
        ones = torch.zeros_like(weight[:, 0])
    weight = torch.cat([weight / scaling_factor, ones[:, None]], dim=1)
    return convolution(weight, bias, padding=1)
