"""The residual block, its time embedding folded away."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from ...conventions import Task
from .convolution import convolve
from .leaves import linear, rebiased, wide_bias, wide_weight
from .workspace import Workspace


class ResnetBlock(nn.Module):
    """``x + conv2(silu(norm2(conv1(silu(norm1(x))) + e)))``, with a 1x1 convolution on x where widths differ.

    e is a function of the time and the task alone. Folded, its value for the annotation is part of conv1's
    bias, and the difference that the reconstruction makes is one small leaf.

    Args:
        block: The diffusers block; its leaves are shared, not copied.
        embeddings: The sums of time and class embedding by task, (E,) float32, to fold them; None to keep the
            projection (or where the block has none).
        in_place: Whether `forward` may write its result over its input.
    """

    def __init__(
        self, block: Any, embeddings: dict[Task, Tensor] | None = None, *, in_place: bool = False
    ) -> None:
        super().__init__()
        self.norm1, self.conv1, self.norm2, self.conv2 = block.norm1, block.conv1, block.norm2, block.conv2
        self.shortcut = block.conv_shortcut
        self.in_place = in_place
        self.projection = block.time_emb_proj
        self.task_shift = None
        if self.projection is not None and embeddings is not None:
            shifts = {task: _projected(self.projection, e) for task, e in embeddings.items()}
            self.conv1 = rebiased(block.conv1, wide_bias(block.conv1) + shifts["annotation"])
            difference = shifts["reconstruction"] - shifts["annotation"]
            self.task_shift = linear(difference[:, None], None)
            self.projection = None

    def forward(
        self, x: Tensor, work: Workspace, task: Task = "annotation", emb: Tensor | None = None
    ) -> Tensor:
        """Return the block's result.

        Args:
            x: (B, C, h, w).
            work: Scratch memory and settings of this pass.
            task: Position of the task switcher.
            emb: (1, E) sum of the time and class embeddings, where they are not folded.

        Returns:
            (B, D, h, w).
        """
        h = convolve(self.conv1, x, work, norm=self.norm1, shift=self._shift(x, task, emb), scratch=True)
        if self.shortcut is not None:
            residual = self.shortcut(x)
            return convolve(self.conv2, h, work, norm=self.norm2, residual=residual, in_place=True)
        return convolve(self.conv2, h, work, norm=self.norm2, residual=x, in_place=self.in_place)

    def _shift(self, x: Tensor, task: Task, emb: Tensor | None) -> Tensor | None:
        """Return what is added to conv1's result, (1, D), or None."""
        if self.projection is not None and emb is not None:
            return self.projection(F.silu(emb))
        if self.task_shift is not None and task == "reconstruction":
            return self.task_shift(x.new_ones(1, 1))
        return None


def _projected(projection: nn.Linear, embedding: Tensor) -> Tensor:
    return wide_weight(projection) @ F.silu(embedding) + wide_bias(projection)
