"""The exponential moving average of a model's weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Keeps ``average = d * average + (1 - d) * weight``, with d rising towards `decay`.

    In step n, d is the smaller of `decay` and (1 + n) / (10 + n), so that the first steps are soon forgotten.

    Args:
        module: Whose trained parameters are averaged.
        decay: Of the far past; 0 keeps no average.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._decay = decay
        self._module = module
        self.tensors: dict[str, Tensor] = {}
        if decay > 0:
            self.tensors = {
                name: parameter.detach().clone() for name, parameter in self._parameters().items()
            }

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the present weights in, after optimiser step `step` (counted from 1)."""
        if not self.tensors:
            return
        weight = 1 - min(self._decay, (1 + step) / (10 + step))
        parameters = self._parameters()
        for name, average in self.tensors.items():
            average.lerp_(parameters[name], weight)

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put a saved average back."""
        for name, tensor in tensors.items():
            self.tensors[name].copy_(tensor)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Have the module hold the average inside the block, and its own weights again after it."""
        parameters = self._parameters()
        own = {name: parameters[name].detach().clone() for name in self.tensors}
        try:
            self._put(parameters, self.tensors)
            yield
        finally:
            self._put(parameters, own)

    @staticmethod
    @torch.no_grad()
    def _put(parameters: Mapping[str, nn.Parameter], values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            parameters[name].copy_(value)

    def _parameters(self) -> dict[str, nn.Parameter]:
        return {name: value for name, value in self._module.named_parameters() if value.requires_grad}
