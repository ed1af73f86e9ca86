"""How many bytes one stage of a run takes, and how many pictures fit at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Stage = Literal["encode", "denoise", "decode"]


@dataclass(frozen=True)
class Widths:
    """The widths that activations scale with.

    Attributes:
        vae: Channels of the VAE's full-resolution blocks (128 in Stable Diffusion 2).
        unet: Channels of the UNet's full-resolution blocks (320).
        unet_heads: Attention heads there (5).
    """

    vae: int
    unet: int
    unet_heads: int


_PER_PIXEL = {"encode": 9.0, "decode": 12.5}
"""Live full-resolution activations of the VAE, in units of its width (measured on the SD2 VAE)."""
_UNET_PER_LATENT = 18.0
"""Live full-resolution activations of the UNet, in units of its width."""
FIXED_BYTES = 32 * 2**20
"""Workspaces that do not grow with the picture."""


def activation_bytes(
    stage: Stage, widths: Widths, batch: int, latent_h: int, latent_w: int, itemsize: int
) -> int:
    """Return an estimate of the peak bytes of activations of one stage, never far under the measured peak.

    Args:
        stage: Which stage.
        widths: The model's widths.
        batch: Pictures at once.
        latent_h: Height of the latents.
        latent_w: Width of the latents.
        itemsize: Bytes per number in the compute type.
    """
    cells = batch * latent_h * latent_w
    if stage == "denoise":
        elements = cells * _UNET_PER_LATENT * widths.unet
    else:
        elements = cells * 64 * _PER_PIXEL[stage] * widths.vae
    return int(elements * itemsize) + FIXED_BYTES


def fitting_batch(
    widths: Widths, latent_h: int, latent_w: int, itemsizes: tuple[int, int], free: int, limit: int
) -> int:
    """Return how many pictures fit into `free` bytes at every stage, from 1 to `limit`.

    Args:
        widths: The model's widths.
        latent_h: Height of the latents.
        latent_w: Width of the latents.
        itemsizes: Bytes per number of the UNet and of the VAE.
        free: Bytes that activations may take.
        limit: Upper bound, usually the number of pictures left.
    """
    unet_size, vae_size = itemsizes
    budget = max(0, int(free * 0.8) - FIXED_BYTES)
    worst = max(
        activation_bytes("encode", widths, 1, latent_h, latent_w, vae_size),
        activation_bytes("denoise", widths, 1, latent_h, latent_w, unet_size),
        activation_bytes("decode", widths, 1, latent_h, latent_w, vae_size),
    )
    return max(1, min(limit, budget // max(1, worst - FIXED_BYTES)))
