"""Scratch memory of one forward pass on the CPU."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Workspace:
    """Named float32 buffers that a forward pass uses over and over.

    Fresh memory costs a page fault every 4 KiB, which for activations of 100 MB takes longer than the
    arithmetic on them. One workspace belongs to one forward pass: nothing is shared between threads and
    nothing outlives the pass.

    Args:
        filtering: Whether convolutions may use minimal filtering.
    """

    def __init__(self, filtering: bool) -> None:
        self.filtering = filtering
        self._buffers: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int) -> Tensor:
        """Return a contiguous float32 tensor of some shape, its content undefined.

        A second call with the same name returns the same memory.
        """
        size = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.numel() < size:
            buffer = self._buffers[name] = torch.empty(size)
        return buffer[:size].view(shape)
