"""Stands in for comfy-aimdo, ComfyUI's dynamic VRAM, on the simulated card.

Weights live in slots of a virtual buffer. A slot gets memory of the card when it is first used, keeps it while there
is room, and loses it when memory is asked for: the least urgent slots (allocated last) first.
"""

from __future__ import annotations

import weakref
from typing import Any

import comfy.memory_management
import comfy.model_patcher
import comfy_aimdo.host_buffer
import comfy_aimdo.model_vbar
import comfy_aimdo.torch
import torch
from accelerator import CARD, INFERENCE_RESERVE, CardTensor

Slot = tuple["VirtualBuffer", int, int]


_buffers: weakref.WeakSet[VirtualBuffer] = weakref.WeakSet()


class VirtualBuffer:
    """Slots that may or may not have memory behind them.

    Attributes:
        faults: How often a slot was used.
        misses: How often there was no room for it.
    """

    def __init__(self, size: int, device: int) -> None:
        self._end = 0
        self._resident: dict[int, torch.Tensor] = {}
        self._signatures: dict[int, list[int]] = {}
        self._pinned: set[int] = set()
        self.faults = 0
        self.misses = 0
        _buffers.add(self)

    def alloc(self, size: int) -> Slot:
        """Reserve a slot; no memory yet."""
        offset = self._end
        self._end += size
        return (self, offset, size)

    def fault(self, offset: int, size: int) -> list[int] | None:
        """Give a slot memory where there is room, and hold it; what tells this time from others, None without."""
        self.faults += 1
        if offset not in self._resident:
            if CARD.current + size + INFERENCE_RESERVE > CARD.limit:
                self.misses += 1
                return None
            CARD.take(size)
            content = torch.empty(size, dtype=torch.uint8, device="cpu")
            self._resident[offset] = CardTensor(content, counted=False)
            self._signatures[offset] = [self.faults]
        self._pinned.add(offset)
        return self._signatures[offset]

    def unpin(self, offset: int) -> None:
        """Let go of a slot, whose memory may then be taken."""
        self._pinned.discard(offset)

    def memory(self, offset: int) -> torch.Tensor:
        """The bytes behind a slot."""
        return self._resident[offset]

    def loaded_size(self) -> int:
        """Bytes that slots have on the card."""
        return sum(tensor.nbytes for tensor in self._resident.values())

    def free_memory(self, size: int) -> int:
        """Take memory from slots that nobody holds, the last first; how much."""
        freed = 0
        for offset in sorted(self._resident.keys() - self._pinned, reverse=True):
            if freed >= size:
                break
            slot = self._resident.pop(offset)
            slot.content.fill_(255)  # NaN in every type: whoever still reads it is found out
            freed += slot.nbytes
            CARD.current -= slot.nbytes
        return freed

    def prioritize(self) -> None:
        """Nothing: there is one buffer per model, and models are freed in ComfyUI's order."""

    def __del__(self) -> None:
        self._pinned.clear()
        self.free_memory(2**62)


class HostMemory:
    """ComfyUI's pinned staging memory, unused without a driver to pin with."""

    def __init__(self, size: int, prewarm: int = 0, max_grow_size: int = 0) -> None:
        self.size = 0

    def truncate(self, size: int, do_unregister: bool = False) -> None:
        """Nothing to give back."""


def attach() -> None:
    """Switch ComfyUI to dynamic VRAM, with this in the place of the driver's part."""
    vbar = comfy_aimdo.model_vbar
    vbar.ModelVBAR = VirtualBuffer
    vbar.vbar_fault = lambda slot: slot[0].fault(slot[1], slot[2])
    vbar.vbar_unpin = lambda slot: None if slot is None else slot[0].unpin(slot[1])
    vbar.vbar_signature_compare = lambda a, b: a is not None and a == b
    vbar.vbars_analyze = lambda *_: 0
    comfy_aimdo.torch.aimdo_to_tensor = _tensor_of
    comfy_aimdo.host_buffer.HostBuffer = HostMemory
    comfy.memory_management.aimdo_enabled = True
    CARD.make_room = _make_room
    comfy.model_patcher.CoreModelPatcher = comfy.model_patcher.ModelPatcherDynamic


def _make_room(missing: int) -> None:
    for buffer in list(_buffers):
        missing -= buffer.free_memory(missing)
        if missing <= 0:
            return


def _tensor_of(slot: Slot, device: Any) -> torch.Tensor:
    return slot[0].memory(slot[1])
