"""The two halves of a VAE, as training calls them: latents with their uncertainty, and pictures from latents."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor

_LOGVAR_RANGE = (-30.0, 20.0)
"""Source: DiagonalGaussianDistribution of diffusers."""


@dataclass(frozen=True)
class Posterior:
    """What a VAE's encoder says of pictures: independent normal distributions, latents not scaled.

    Attributes:
        mean: (B, 4, H/8, W/8) float, also the mode.
        logvar: (B, 4, H/8, W/8) float, natural logarithm of the variance.
    """

    mean: Tensor
    logvar: Tensor

    @property
    def std(self) -> Tensor:
        """(B, 4, H/8, W/8) float, standard deviation."""
        return torch.exp(0.5 * self.logvar)

    def divergence(self) -> Tensor:
        """Return the mean divergence from the standard normal distribution, a scalar: 0 for mean 0 and variance 1."""
        return 0.5 * (self.mean.square() + self.logvar.exp() - 1 - self.logvar).mean()


def posterior(vae: AutoencoderKL, pictures: Tensor) -> Posterior:
    """Return what the encoder says.

    Args:
        vae: The autoencoder.
        pictures: (B, 3, H, W) float in [-1, 1], in the VAE's type and on its device.
    """
    moments = vae.encoder(pictures)
    if vae.quant_conv is not None:
        moments = vae.quant_conv(moments)
    mean, logvar = moments.float().chunk(2, dim=1)
    return Posterior(mean, logvar.clamp(*_LOGVAR_RANGE))


def decoded(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Return the pictures of latents that are not scaled, (B, 3, 8h, 8w), about [-1, 1]."""
    if vae.post_quant_conv is not None:
        latents = vae.post_quant_conv(latents)
    return vae.decoder(latents)
