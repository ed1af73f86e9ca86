"""Exact rewritings of Lotus's two networks for the one step that they are used for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .options import Folds
from .unet import FoldedOneStep
from .vae import FoldedCodec

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from torch import Tensor

__all__ = ["FoldedCodec", "FoldedOneStep", "Folds", "fold_unet", "fold_vae"]


@torch.no_grad()
def fold_unet(unet: UNet2DConditionModel, prompt_embeds: Tensor, folds: Folds | None = None) -> FoldedOneStep:
    """Return the denoiser of one checkpoint for one prompt, both tasks, at t = 999.

    Constants are computed and kept in float32, whatever dtype the checkpoint is stored in, so that a network
    that computes in float32 loses nothing: fold first, then cast the result (`.to(dtype)`) before its first use.
    Leaves that no fold changes are shared with `unet`, not copied: drop it.

    Args:
        unet: The diffusers UNet, on the CPU.
        prompt_embeds: (1, T, C) float: the text encoder's output for the prompt.
        folds: Which folds to apply; None for all.

    Raises:
        ArchitectureError: Another network than Lotus's.
        ShapeError: `prompt_embeds` of another width.
    """
    return FoldedOneStep(unet, prompt_embeds, folds or Folds()).eval().requires_grad_(False)


@torch.no_grad()
def fold_vae(vae: AutoencoderKL, folds: Folds | None = None) -> FoldedCodec:
    """Return the codec between pixels and scaled latents; see `fold_unet` for what is shared and in which dtype.

    Args:
        vae: The diffusers autoencoder, on the CPU.
        folds: Which folds to apply; None for all.

    Raises:
        ArchitectureError: Another network than Stable Diffusion's autoencoder.
    """
    return FoldedCodec(vae, folds or Folds()).eval().requires_grad_(False)
