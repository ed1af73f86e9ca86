"""What the loop trains: a module, its loss, and what it shows and leaves behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from torch import Tensor, nn

from .feed import Feed

BatchT = TypeVar("BatchT")


@dataclass(frozen=True)
class MicroStep:
    """Where a run is.

    Attributes:
        step: Optimiser steps done so far.
        index: Micro-steps done so far.
        rank: Number of this process.
        processes: How many share the batch.
    """

    step: int
    index: int
    rank: int = 0
    processes: int = 1


@dataclass(frozen=True)
class Losses:
    """The loss of this process's part of a micro-step.

    Attributes:
        total: Scalar to differentiate. Its mean over the processes is the loss of the whole micro-batch.
        parts: Scalars for the log, likewise.
    """

    total: Tensor
    parts: Mapping[str, Tensor]


class Objective(Protocol[BatchT]):
    """One kind of training."""

    @property
    def module(self) -> nn.Module:
        """What is trained: all its parameters that require a gradient."""
        ...

    def feed(self, rank: int, processes: int) -> Feed[Any, BatchT]:
        """Return the batches of this process."""
        ...

    def losses(self, model: nn.Module, batch: BatchT, where: MicroStep) -> Losses:
        """Return the loss of a batch, computed by calling `model`, which stands for `module`."""
        ...

    def names(self, batch: BatchT) -> Sequence[str]:
        """Return what a message calls the examples of a batch."""
        ...

    def pictures(self) -> Tensor:
        """Return a sheet of sample pictures by the present weights, (3, H, W) float in [0, 1]."""
        ...

    def export(self, folder: Path) -> None:
        """Write the model with its present weights, as others load it."""
        ...
