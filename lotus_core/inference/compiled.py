"""The folded networks through torch.compile, one graph per size.

Compiling takes minutes for the first picture of every size and pays where many pictures follow. Not measured
on CUDA; on the CPU it is checked for equal results.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final

import torch
from torch import Tensor

from ..conventions import Task
from .latent_codec import Codec
from .one_step import OneStep

MAX_GRAPHS: Final = 8
"""Sizes that are compiled; later ones run as they are. It is also torch's own limit for one function."""


class Graphs:
    """Compiled versions of one function, each for one size of its input.

    Args:
        function: Takes a tensor.
        options: Passed to `torch.compile`.
    """

    def __init__(self, function: Callable[..., Tensor], options: dict[str, Any]) -> None:
        self._function = function
        self._options = options
        self._compiled: dict[Hashable, Callable[..., Tensor]] = {}

    def __call__(self, x: Tensor, *rest: Hashable) -> Tensor:
        """Return the function's result by the graph of this size, dtype, device and `rest`."""
        key = (x.shape, x.dtype, x.device, *rest)
        if key not in self._compiled:
            if len(self._compiled) >= MAX_GRAPHS:
                return self._function(x, *rest)
            self._compiled[key] = torch.compile(self._function, dynamic=False, **self._options)
        return self._compiled[key](x, *rest)

    def __len__(self) -> int:
        """Return the number of sizes compiled so far."""
        return len(self._compiled)


class CompiledOneStep(OneStep):
    """A one step whose graphs are compiled, one per size and task.

    Args:
        step: What is compiled; its weights stay where they are.
        options: Passed to `torch.compile`, such as ``mode`` or ``backend``.
    """

    def __init__(self, step: OneStep, **options: Any) -> None:
        super().__init__()
        self.step = step
        self.in_channels = step.in_channels
        self.graphs = Graphs(step.forward, options)

    def forward(self, sample: Tensor, task: Task = "annotation") -> Tensor:
        """Return x0, see `OneStep.forward`."""
        self.check_sample(sample)
        return self.graphs(sample, task)


class CompiledCodec(Codec):
    """A codec whose graphs are compiled, one per size and direction.

    Args:
        codec: What is compiled; its weights stay where they are.
        options: Passed to `torch.compile`.
    """

    def __init__(self, codec: Codec, **options: Any) -> None:
        super().__init__()
        self.codec = codec
        self.scaling_factor, self.latent_channels = codec.scaling_factor, codec.latent_channels
        self.encoders, self.decoders = Graphs(codec._encode, options), Graphs(codec._decode, options)

    def _encode(self, rgb: Tensor) -> Tensor:
        return self.encoders(rgb)

    def _decode(self, x0: Tensor) -> Tensor:
        return self.decoders(x0)


def compile_step(step: OneStep, **options: Any) -> CompiledOneStep:
    """Return a one step that compiles itself for every size it meets, up to `MAX_GRAPHS`."""
    return CompiledOneStep(step, **options)


def compile_codec(codec: Codec, **options: Any) -> CompiledCodec:
    """Return a codec that compiles itself for every size it meets, up to `MAX_GRAPHS` each way."""
    return CompiledCodec(codec, **options)
