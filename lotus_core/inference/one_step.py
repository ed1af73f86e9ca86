"""The one step: image latents in, the annotation's latents (x0) out.

`PlainOneStep` runs an unchanged diffusers UNet; it is what the folded version of
`lotus_core.inference.folding` is compared with, and it takes prompts of any length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..conventions import TIMESTEP, Task, task_embedding
from ..errors import ShapeError

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel


class OneStep(nn.Module):
    """What every denoiser of this library does: ``forward(sample, task) -> x0``.

    Attributes:
        in_channels: 4 (Lotus-D: image latents) or 8 (Lotus-G: image latents, then noise).
    """

    in_channels: int

    def forward(self, sample: Tensor, task: Task = "annotation") -> Tensor:
        """Return the scaled latents of the annotation, or of the image itself.

        Args:
            sample: (B, 4 | 8, h, w) float: scaled image latents, followed by N(0, 1) noise for "g".
            task: "annotation", or "reconstruction" for the detail preserver's other side.

        Returns:
            (B, 4, h, w), dtype and device of `sample`: x0, scaled latents (no scheduler step follows).

        Raises:
            ShapeError: `sample` has another number of channels than the UNet takes.

        Source: Lotus (arXiv 2409.18124), sections 4.1 (x0 prediction) and 4.2 (single step).
        """
        raise NotImplementedError

    def check_sample(self, sample: Tensor) -> None:
        """Raise ShapeError unless `sample` is (B, in_channels, h, w)."""
        if sample.ndim == 4 and sample.shape[1] == self.in_channels:
            return
        remedy = (
            "append noise to the image latents" if self.in_channels == 8 else "pass the image latents alone"
        )
        raise ShapeError("sample", sample.shape, f"(B, {self.in_channels}, h, w)", remedy=remedy)

    def check_prompt(self, prompt_embeds: Tensor, width: int) -> None:
        """Raise ShapeError unless `prompt_embeds` is (1, T, width)."""
        if prompt_embeds.ndim != 3 or prompt_embeds.shape[0] != 1 or prompt_embeds.shape[2] != width:
            raise ShapeError(
                "prompt_embeds",
                prompt_embeds.shape,
                f"(1, T, {width})",
                remedy="encode the prompt for this checkpoint",
            )


class PlainOneStep(OneStep):
    """One step through the diffusers UNet as it is.

    Args:
        unet: A UNet with a 4-number class embedding ("projection").
        prompt_embeds: (1, T, C) float: the constant context, the text encoder's output for "".
    """

    prompt_embeds: Tensor

    def __init__(self, unet: UNet2DConditionModel, prompt_embeds: Tensor) -> None:
        super().__init__()
        self.check_prompt(prompt_embeds, unet.config["cross_attention_dim"])
        self.unet = unet
        self.in_channels = unet.config["in_channels"]
        self.register_buffer("prompt_embeds", prompt_embeds.detach().clone(), persistent=False)

    def forward(self, sample: Tensor, task: Task = "annotation") -> Tensor:
        """Return x0, see `OneStep.forward`."""
        self.check_sample(sample)
        batch = sample.shape[0]
        labels = torch.tensor(task_embedding(task), dtype=sample.dtype, device=sample.device)
        context = self.prompt_embeds.to(sample)
        return self.unet(
            sample,
            TIMESTEP,
            encoder_hidden_states=context.expand(batch, -1, -1),
            class_labels=labels.expand(batch, -1),
            return_dict=False,
        )[0]
