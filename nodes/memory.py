"""The core's modules under ComfyUI's memory manager."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import comfy.model_management as mm
import comfy.ops
import torch
from torch import nn

from ..lotus_core.conventions import Part
from ..lotus_core.errors import ArchitectureError, OptionError
from . import compat

_OPS = comfy.ops.manual_cast
_ADOPTED: dict[type[nn.Module], Any] = {
    nn.Linear: _OPS.Linear,
    nn.Conv2d: _OPS.Conv2d,
    nn.GroupNorm: _OPS.GroupNorm,
    nn.LayerNorm: _OPS.LayerNorm,
}


def adopt(net: nn.Module) -> None:
    """Turn every layer of a network, in place, into ComfyUI's layer of the same kind.

    Such a layer casts its weights to its input's device and type when it runs, so that ComfyUI may leave it
    behind, stream it or take it away.

    Raises:
        ArchitectureError: A layer with parameters that ComfyUI has no counterpart for.
    """
    left: list[str] = []
    for name, module in net.named_modules():
        counterpart = _ADOPTED.get(type(module))
        if counterpart is not None:
            module.__class__ = counterpart
            for functions in ("weight_function", "bias_function"):
                setattr(module, functions, [])  # the class's own lists would be shared by all layers
        elif (
            type(module) not in _ADOPTED.values() and next(module.parameters(recurse=False), None) is not None
        ):
            left.append(f"{name} ({type(module).__name__})")
    if left:
        raise ArchitectureError(
            "ComfyUI cannot manage this network",
            found=", ".join(left[:4]),
            remedy="use an unmodified Lotus checkpoint",
        )


class Managed(nn.Module):
    """Holds a network one level down, with the attributes that ComfyUI sets and reads on a model."""

    def __init__(self, net: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.net = net
        self.manual_cast_dtype = dtype
        self.device = torch.device("cpu")

    def get_dtype(self) -> torch.dtype:
        """Return the type in which the network computes."""
        return self.manual_cast_dtype


@dataclass(frozen=True)
class Types:
    """Floating-point types of one model.

    Attributes:
        unet_stored: Type in which the UNet's weights are kept (an 8-bit one where ComfyUI was told so).
        unet: Type in which the UNet computes.
        vae: Type in which the VAE is kept and computes.
    """

    unet_stored: torch.dtype
    unet: torch.dtype
    vae: torch.dtype


PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def choose_types(precision: str, parameters: int) -> Types:
    """Return the types to work in; "auto" is what ComfyUI does for its own models.

    Args:
        precision: "auto", "fp32", "fp16" or "bf16".
        parameters: Number of the UNet's parameters.

    Raises:
        OptionError: An unknown precision.
    """
    if precision in PRECISIONS:
        chosen = PRECISIONS[precision]
        return Types(chosen, chosen, chosen)
    if precision != "auto":
        raise OptionError("precision", precision, f"auto or one of {', '.join(PRECISIONS)}")
    device = mm.get_torch_device()
    supported = list(PRECISIONS.values())
    stored = mm.unet_dtype(device, model_params=parameters, supported_dtypes=supported)
    computed = mm.unet_manual_cast(stored, device, supported)
    return Types(stored, computed or stored, mm.vae_dtype(device, [torch.float16, torch.bfloat16]))


class ComfyPlacement:
    """Places a model's parts through ComfyUI: what Lotus and other models share is ComfyUI's to decide.

    Args:
        unet: The one-step UNet; adopted in place.
        codec: The latent codec; adopted in place.
        types: Types in which they are kept and compute.

    Attributes:
        patcher: ComfyUI's handle on the UNet.
        vae_patcher: ComfyUI's handle on the VAE.
    """

    def __init__(self, unet: nn.Module, codec: nn.Module, types: Types) -> None:
        self._dtypes: dict[Part, torch.dtype] = {"unet": types.unet, "vae": types.vae}
        self._device: torch.device = mm.get_torch_device()
        self.patcher = self._patcher(unet.to(types.unet_stored), types.unet, mm.unet_offload_device())
        self.vae_patcher = self._patcher(codec.to(types.vae), types.vae, mm.vae_offload_device())

    def _patcher(self, net: nn.Module, dtype: torch.dtype, offload: torch.device) -> Any:
        adopt(net)
        managed = Managed(net.eval().requires_grad_(False), dtype)
        compat.note_stored_types(managed)
        return compat.patcher_class()(managed, load_device=self._device, offload_device=offload)

    @property
    def device(self) -> torch.device:
        """Device on which both parts compute."""
        return self._device

    def dtype(self, part: Part) -> torch.dtype:
        """Floating-point type in which a part computes."""
        return self._dtypes[part]

    @contextmanager
    def active(self, part: Part, memory_required: int, dtype: torch.dtype) -> Iterator[None]:
        """Have ComfyUI load a part, with room for its activations; layers cast to the input's type by themselves."""
        patcher = self.patcher if part == "unet" else self.vae_patcher
        mm.load_models_gpu([patcher], memory_required=memory_required)
        yield

    def free_memory(self) -> int:
        """Bytes that ComfyUI counts as free on the device now."""
        return int(mm.get_free_memory(self._device))

    def check_interrupt(self) -> None:
        """Raise ComfyUI's exception if the user pressed Cancel."""
        mm.throw_exception_if_processing_interrupted()
