"""Lotus's UNet with everything constant folded away."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, get_args

import torch
from torch import Tensor, nn

from ...conventions import TIMESTEP, Task, task_embedding
from ..one_step import OneStep
from .attention import SpatialTransformer
from .convolution import convolve
from .options import Folds
from .requirements import check_unet
from .resnet import ResnetBlock
from .upsampling import DifferenceUpsample, PlainUpsample
from .workspace import Workspace

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel


class FoldedOneStep(OneStep):
    """The one step through a UNet built of this package's own blocks.

    All weights live in `nn.Linear`, `nn.Conv2d`, `nn.GroupNorm` and `nn.LayerNorm` leaves. Those that no fold
    changes are the leaves of the UNet that was folded, not copies: drop that UNet afterwards.

    Args:
        unet: The diffusers UNet.
        prompt_embeds: (1, T, C) float: the constant context.
        folds: Which folds to apply.
    """

    def __init__(self, unet: UNet2DConditionModel, prompt_embeds: Tensor, folds: Folds) -> None:
        super().__init__()
        check_unet(unet)
        self.check_prompt(prompt_embeds, unet.config["cross_attention_dim"])
        self.folds = folds
        self.in_channels = unet.config["in_channels"]
        self.embedding = None if folds.time else TaskEmbedding(unet)
        embeddings = task_embeddings(unet) if folds.time else None
        prompt = prompt_embeds[0].detach()
        self.conv_in = unet.conv_in
        self.down = nn.ModuleList(_Down(b, prompt, embeddings, folds) for b in unet.down_blocks)
        self.middle = _Middle(unet.mid_block, prompt, embeddings, folds)
        self.up = nn.ModuleList(_Up(b, prompt, embeddings, folds) for b in unet.up_blocks)
        self.norm_out, self.conv_out = unet.conv_norm_out, unet.conv_out

    @torch.no_grad()
    def forward(self, sample: Tensor, task: Task = "annotation") -> Tensor:
        """Return x0, see `OneStep.forward`."""
        self.check_sample(sample)
        work = Workspace(self.folds.filtering)
        layout = torch.channels_last if self.folds.channels_last else torch.contiguous_format
        emb = None if self.embedding is None else self.embedding(sample, task)
        x = self.conv_in(sample.contiguous(memory_format=layout))
        skips = [x]
        for stage in self.down:
            x = stage(x, skips, work, task, emb)
        x = self.middle(x, work, task, emb)
        for stage in self.up:
            x = stage(x, skips, work, task, emb)
        return convolve(self.conv_out, x, work, norm=self.norm_out).contiguous()


class _Stage(nn.Module):
    """The residual blocks of one resolution, each followed by a transformer where there are transformers."""

    def __init__(
        self, block: Any, prompt: Tensor, embeddings: dict[Task, Tensor] | None, folds: Folds
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(ResnetBlock(r, embeddings) for r in block.resnets)
        transformers = getattr(block, "attentions", None) or ()
        self.transformers = nn.ModuleList(SpatialTransformer(t, prompt, folds) for t in transformers)
        downsamplers, upsamplers = (getattr(block, k, None) for k in ("downsamplers", "upsamplers"))
        self.downsample = downsamplers[0].conv if downsamplers else None
        upsampler = DifferenceUpsample if folds.upsample else PlainUpsample
        self.upsample = upsampler(upsamplers[0].conv) if upsamplers else None


class _Down(_Stage):
    def forward(
        self, x: Tensor, skips: list[Tensor], work: Workspace, task: Task, emb: Tensor | None
    ) -> Tensor:
        """Return the smaller map, every intermediate one appended to `skips`."""
        for i, resnet in enumerate(self.resnets):
            x = resnet(x, work, task, emb)
            if self.transformers:
                x = self.transformers[i](x)
            skips.append(x)
        if self.downsample is not None:
            x = self.downsample(x)
            skips.append(x)
        return x


class _Middle(_Stage):
    def forward(self, x: Tensor, work: Workspace, task: Task, emb: Tensor | None) -> Tensor:
        """Return the map after a residual block, then transformer and residual block in turn."""
        x = self.resnets[0](x, work, task, emb)
        for transformer, resnet in zip(self.transformers, self.resnets[1:], strict=True):
            x = resnet(transformer(x), work, task, emb)
        return x


class _Up(_Stage):
    def forward(
        self, x: Tensor, skips: list[Tensor], work: Workspace, task: Task, emb: Tensor | None
    ) -> Tensor:
        """Return the larger map; takes its skips from the end of `skips`."""
        for i, resnet in enumerate(self.resnets):
            x = resnet(torch.cat([x, skips.pop()], dim=1), work, task, emb)
            if self.transformers:
                x = self.transformers[i](x)
        if self.upsample is not None:
            height, width = skips[-1].shape[2:]
            x = self.upsample(x, work, (height, width))
        return x


class TaskEmbedding(nn.Module):
    """The sum of the time and the class embedding, computed on every call.

    Args:
        unet: Its embedding leaves are shared.
    """

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.time_proj, self.time, self.task = unet.time_proj, unet.time_embedding, unet.class_embedding

    def forward(self, like: Tensor, task: Task) -> Tensor:
        """Return (1, E) in the dtype and on the device of `like`."""
        steps = self.time_proj(torch.tensor([TIMESTEP], device=like.device)).to(like.dtype)
        label = torch.tensor([task_embedding(task)], dtype=like.dtype, device=like.device)
        return self.time(steps) + self.task(label)


@torch.no_grad()
def task_embeddings(unet: UNet2DConditionModel) -> dict[Task, Tensor]:
    """Return the sum of the time and class embeddings of each task, (E,), in at least float32."""
    embedding = TaskEmbedding(unet)
    dtype = torch.promote_types(unet.time_embedding.linear_1.weight.dtype, torch.float32)
    embedding = copy.deepcopy(embedding).to(dtype)
    return {task: embedding(torch.zeros(1, dtype=dtype), task)[0] for task in get_args(Task)}
