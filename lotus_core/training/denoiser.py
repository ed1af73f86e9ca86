"""The trained module: a UNet with the constant context and the task switcher."""

from __future__ import annotations

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from ..conventions import task_embedding


class Denoiser(nn.Module):
    """A diffusers UNet as training calls it: annotations first, then reconstructions.

    Args:
        unet: With a class embedding of four numbers.
        prompt_embeds: (1, T, C) float, the constant context; not trained.
    """

    prompt_embeds: Tensor

    def __init__(self, unet: UNet2DConditionModel, prompt_embeds: Tensor) -> None:
        super().__init__()
        self.unet = unet
        self.register_buffer("prompt_embeds", prompt_embeds.detach().clone(), persistent=False)

    def forward(self, sample: Tensor, times: Tensor, annotations: int) -> Tensor:
        """Return the network's prediction.

        Args:
            sample: (B, 4 | 8, h, w) scaled image latents, followed by noisy latents for "g".
            times: (B,) int64.
            annotations: The first so many of the batch get the annotation's task label, the others the
                reconstruction's.

        Returns:
            (B, 4, h, w).
        """
        count = len(sample)
        return self.unet(
            sample,
            times,
            encoder_hidden_states=self.prompt_embeds.to(sample).expand(count, -1, -1),
            class_labels=task_labels(annotations, count - annotations).to(sample),
            return_dict=False,
        )[0]


def task_labels(annotations: int, reconstructions: int) -> Tensor:
    """Return the task switcher's labels, (A + R, 4) float32: annotations first."""
    anno, recon = torch.tensor(task_embedding("annotation")), torch.tensor(task_embedding("reconstruction"))
    return torch.cat([anno.expand(annotations, -1), recon.expand(reconstructions, -1)])
