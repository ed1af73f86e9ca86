"""The core's modules made ComfyUI's own, in place."""

from __future__ import annotations

from typing import Any

import comfy.ops
import torch
from torch import nn

from ..lotus_core.errors import ArchitectureError

_OPS = comfy.ops.manual_cast
_COUNTERPARTS: dict[type[nn.Module], Any] = {
    nn.Linear: _OPS.Linear,
    nn.Conv2d: _OPS.Conv2d,
    nn.GroupNorm: _OPS.GroupNorm,
    nn.LayerNorm: _OPS.LayerNorm,
}
_WIDE = 2**16
"""Numbers from which a matrix or kernel is stored in 8 bits; what is smaller saves nothing and needs its digits."""


def adopt(net: nn.Module) -> None:
    """Turn every layer of a network, in place, into ComfyUI's layer of the same kind.

    Such a layer casts its weights to its input's device and type when it runs, so that ComfyUI may leave it
    behind, stream it or take it away. A network that was adopted before stays as it is.

    Raises:
        ArchitectureError: A layer with parameters that ComfyUI has no counterpart for: it would stay behind.
    """
    left: list[str] = []
    for name, module in net.named_modules():
        if type(module) in _COUNTERPARTS.values():
            continue
        counterpart = _COUNTERPARTS.get(type(module))
        if counterpart is not None:
            module.__class__ = counterpart
            for functions in ("weight_function", "bias_function"):
                setattr(module, functions, [])  # the class's own lists would be shared by all layers
        elif next(module.parameters(recurse=False), None) is not None:
            left.append(f"{name} ({type(module).__name__})")
    if left:
        raise ArchitectureError(
            "ComfyUI cannot manage this network",
            found=", ".join(left[:4]) + (f" and {len(left) - 4} more" if len(left) > 4 else ""),
            remedy="use an unmodified Lotus checkpoint",
        )


def store(net: nn.Module, stored: torch.dtype, computed: torch.dtype) -> None:
    """Cast a network's weights, in place, to the types in which they are kept.

    Args:
        net: The network.
        stored: Type of its weights. One of 8 bits holds for large matrices and kernels only.
        computed: Type in which it computes, and in which the rest is kept beside 8-bit weights.
    """
    if stored.itemsize > 1:
        net.to(stored)
        return
    net.to(computed)
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and module.weight.numel() >= _WIDE:
            module.weight = nn.Parameter(module.weight.detach().to(stored), requires_grad=False)


class Managed(nn.Module):
    """Holds a network one level down, with the attributes that ComfyUI sets and reads on a model.

    Args:
        net: The network, adopted.
        dtype: Type in which it computes.
    """

    def __init__(self, net: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.net = net
        self.manual_cast_dtype = dtype
        self.device = torch.device("cpu")

    def get_dtype(self) -> torch.dtype:
        """Return the type in which the network computes."""
        return self.manual_cast_dtype
