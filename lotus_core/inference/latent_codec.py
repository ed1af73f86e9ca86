"""Pixels to scaled latents and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from ..conventions import LATENT_STRIDE
from ..errors import ShapeError

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL


class Codec(nn.Module):
    """What every codec of this library does: `encode` and `decode`.

    Attributes:
        scaling_factor: Latents are the posterior's mode times this.
        latent_channels: Channels of the latents, 4.
    """

    scaling_factor: float
    latent_channels: int

    def encode(self, rgb: Tensor) -> Tensor:
        """Return the scaled latents of images, deterministically.

        Args:
            rgb: (B, 3, H, W) float in [-1, 1], H and W multiples of 8.

        Returns:
            (B, 4, H / 8, W / 8): the posterior's mode (its mean) times the scaling factor.

        Raises:
            ShapeError: Not three channels, or a side that is no multiple of 8.
        """
        self._check_rgb(rgb)
        return self._encode(rgb)

    def decode(self, x0: Tensor) -> Tensor:
        """Return the pixels of scaled latents.

        Args:
            x0: (B, 4, h, w) float, scaled latents.

        Returns:
            (B, 3, 8 h, 8 w), about [-1, 1], not clamped.

        Raises:
            ShapeError: Another number of channels.
        """
        self._check_latents(x0)
        return self._decode(x0)

    def _encode(self, rgb: Tensor) -> Tensor:
        raise NotImplementedError

    def _decode(self, x0: Tensor) -> Tensor:
        raise NotImplementedError

    def _check_rgb(self, rgb: Tensor) -> None:
        if rgb.ndim != 4 or rgb.shape[1] != 3:
            raise ShapeError("rgb", rgb.shape, "(B, 3, H, W)", remedy="move the channels to the second place")
        if rgb.shape[2] % LATENT_STRIDE or rgb.shape[3] % LATENT_STRIDE:
            raise ShapeError(
                "rgb",
                rgb.shape,
                f"(B, 3, H, W) with H and W multiples of {LATENT_STRIDE}",
                remedy="pad it first",
            )

    def _check_latents(self, x0: Tensor) -> None:
        if x0.ndim != 4 or x0.shape[1] != self.latent_channels:
            raise ShapeError(
                "x0",
                x0.shape,
                f"(B, {self.latent_channels}, h, w)",
                remedy="pass the latents that encode returns",
            )


class LatentCodec(Codec):
    """A diffusers AutoencoderKL as it is.

    Args:
        vae: The autoencoder; its config states the scaling factor.
    """

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae
        self.scaling_factor = float(vae.config["scaling_factor"])
        self.latent_channels = int(vae.config["latent_channels"])

    def _encode(self, rgb: Tensor) -> Tensor:
        moments = self.vae.encoder(rgb)
        if self.vae.quant_conv is not None:
            moments = self.vae.quant_conv(moments)
        return moments[:, : self.latent_channels] * self.scaling_factor

    def _decode(self, x0: Tensor) -> Tensor:
        x0 = x0 / self.scaling_factor
        if self.vae.post_quant_conv is not None:
            x0 = self.vae.post_quant_conv(x0)
        return self.vae.decoder(x0)
