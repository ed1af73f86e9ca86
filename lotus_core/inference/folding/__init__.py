"""Exact rewritings of Lotus's two networks for the one step that they are used for."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

from .options import Folds
from .unet import FoldedOneStep
from .vae import FoldedCodec

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from torch import Tensor

__all__ = ["FoldedCodec", "FoldedOneStep", "Folds", "fold_unet", "fold_vae"]


Network = TypeVar("Network", bound=nn.Module)


@torch.no_grad()
def fold_unet(
    unet: UNet2DConditionModel,
    prompt_embeds: Tensor,
    folds: Folds | None = None,
    *,
    dtype: torch.dtype | None = None,
) -> FoldedOneStep:
    """Return the denoiser of one checkpoint for one prompt, both tasks, at t = 999.

    Constants are computed in float32 whatever dtype the checkpoint is stored in; then everything is cast and
    laid out in one pass, weight by weight. Weights that no fold changes are shared with `unet`, and cast with
    it: drop that one.

    Args:
        unet: The diffusers UNet, on the CPU.
        prompt_embeds: (1, T, C) float: the text encoder's output for the prompt.
        folds: Which folds to apply; None for all.
        dtype: Type to compute in; None leaves the stored weights as they are and the folded constants in float32.

    Raises:
        ArchitectureError: Another network than Lotus's.
        ShapeError: `prompt_embeds` of another width.
    """
    folds = folds or Folds()
    return _finished(FoldedOneStep(unet, prompt_embeds, folds), folds, dtype)


@torch.no_grad()
def fold_vae(
    vae: AutoencoderKL, folds: Folds | None = None, *, dtype: torch.dtype | None = None
) -> FoldedCodec:
    """Return the codec between pixels and scaled latents; see `fold_unet` for what is shared and cast.

    Args:
        vae: The diffusers autoencoder, on the CPU.
        folds: Which folds to apply; None for all.
        dtype: Type to compute in; None leaves the stored weights as they are and the folded ones in float32.

    Raises:
        ArchitectureError: Another network than Stable Diffusion's autoencoder.
    """
    folds = folds or Folds()
    return _finished(FoldedCodec(vae, folds), folds, dtype)


def _finished(network: Network, folds: Folds, dtype: torch.dtype | None) -> Network:
    layout = torch.channels_last if folds.channels_last else torch.preserve_format
    network.to(dtype=dtype, memory_format=layout)  # pyright: ignore[reportCallIssue]  (one pass; a stub is missing)
    return network.eval().requires_grad_(False)
