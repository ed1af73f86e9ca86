"""The core's modules under ComfyUI's memory manager."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import comfy.model_management as mm
import torch
from torch import nn

from ..lotus_core.conventions import Part
from ..lotus_core.errors import OptionError
from ..lotus_core.inference.model import LotusModel
from . import compat
from .adopt import Managed, adopt, store

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


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
        codec: The latent codec; adopted in place, unless `vae_patcher` is given.
        types: Types in which they are kept and compute.
        vae_patcher: The patcher of a codec that another model has too.

    Attributes:
        patcher: ComfyUI's handle on the UNet.
        vae_patcher: ComfyUI's handle on the VAE.

    Raises:
        ArchitectureError: A layer that ComfyUI cannot manage.
    """

    def __init__(self, unet: nn.Module, codec: nn.Module, types: Types, vae_patcher: Any = None) -> None:
        self._dtypes: dict[Part, torch.dtype] = {"unet": types.unet, "vae": types.vae}
        self._device: torch.device = mm.get_torch_device()
        self.patcher = self._adopted(unet, types.unet_stored, types.unet, mm.unet_offload_device())
        if vae_patcher is None:
            vae_patcher = self._adopted(codec, types.vae, types.vae, mm.vae_offload_device())
        self.vae_patcher = vae_patcher

    def _adopted(
        self, net: nn.Module, stored: torch.dtype, computed: torch.dtype, offload: torch.device
    ) -> Any:
        adopt(net)
        store(net, stored, computed)
        managed = Managed(net.eval().requires_grad_(False), computed)
        compat.note_stored_types(managed)
        return compat.patcher_class()(managed, load_device=self._device, offload_device=offload)

    @property
    def device(self) -> torch.device:
        """Device on which both parts compute."""
        return self._device

    @property
    def concurrent(self) -> bool:
        """False: ComfyUI's memory manager serves one thread, and its number of threads is not ours to divide."""
        return False

    def dtype(self, part: Part) -> torch.dtype:
        """Floating-point type in which a part computes."""
        return self._dtypes[part]

    @contextmanager
    def active(self, part: Part, memory_required: int, dtype: torch.dtype) -> Iterator[None]:
        """Have ComfyUI load a part, with room for its activations; layers cast to the input's type by themselves.

        After an error for lack of memory, what the device's allocator holds unused is given back.
        """
        patcher = self.patcher if part == "unet" else self.vae_patcher
        mm.load_models_gpu([patcher], memory_required=memory_required)
        try:
            yield
        except Exception as error:
            if compat.is_out_of_memory(error):
                mm.soft_empty_cache()
            raise

    def free_memory(self) -> int:
        """Bytes free on the device once the larger part that is not on it is there, without moving other models.

        What ComfyUI was told to leave to others (--reserve-vram) does not count as free.
        """
        free = compat.free_memory(self.patcher, self._device)
        if mm.is_device_cpu(self._device):
            return free
        missing = max(p.model_size() - p.loaded_size() for p in (self.patcher, self.vae_patcher))
        return max(0, free - missing - int(mm.extra_reserved_memory()))

    def obtainable_memory(self) -> int:
        """Bytes free if every model left the device; ComfyUI then streams our weights to it layer by layer."""
        free = int(mm.get_free_memory(self._device))
        if mm.is_device_cpu(self._device):
            return free
        loaded = (entry for entry in mm.current_loaded_models if entry.model is not None)
        ours_to_have = sum(entry.model_loaded_memory() for entry in loaded if entry.device == self._device)
        return max(0, free + ours_to_have - int(mm.extra_reserved_memory()))

    def check_interrupt(self) -> None:
        """Raise ComfyUI's exception if the user pressed Cancel."""
        mm.throw_exception_if_processing_interrupted()


@dataclass(frozen=True)
class ManagedLotusModel(LotusModel):
    """A LOTUS_MODEL: a Lotus model whose weights ComfyUI can find, count and take away.

    Attributes:
        placement: Where ComfyUI puts its parts.
        weights: What its weights were made of; models with equal ones share one copy.
    """

    placement: ComfyPlacement
    weights: tuple[object, ...] = ()

    @classmethod
    def of(cls, model: LotusModel, weights: tuple[object, ...]) -> ManagedLotusModel:
        """Return a model that was built for a `ComfyPlacement`, with its handles.

        Raises:
            TypeError: A model with another placement.
        """
        placement = model.placement
        if not isinstance(placement, ComfyPlacement):
            raise TypeError(f"{model.info.name} is not placed by ComfyUI but by {type(placement).__name__}")
        return cls(
            model.info, model.unet, model.vae, placement, model.widths, model.vae_digests, weights=weights
        )

    @property
    def patcher(self) -> Any:
        """ComfyUI's handle on the UNet; ComfyUI looks for an attribute of this name in node outputs."""
        return self.placement.patcher

    @property
    def vae_patcher(self) -> Any:
        """ComfyUI's handle on the VAE."""
        return self.placement.vae_patcher

    def get_models(self) -> list[Any]:
        """Return both handles: newer versions ask an output for all the models that a prompt uses."""
        return [self.patcher, self.vae_patcher]
