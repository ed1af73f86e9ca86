"""A simulated graphics card: tensors that report cuda:0, refuse to meet the CPU's, and are counted against a limit.

Like MPS and DirectML, it has no float64.

Their content lies in main memory and is computed by the CPU, so that results can be compared to the last digit.
`Card.attach` makes ComfyUI's memory manager believe in the card. Its reserves, meant for cards of many gigabytes,
are scaled down with it.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import comfy.model_management as mm
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("cuda:0")
MIB = 2**20
INFERENCE_RESERVE = 8 * MIB
"""Stands for the 1.2 GB that ComfyUI keeps free of weights on a card of 8 GB and more."""

_ACROSS_DEVICES = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}
_original_copy = Tensor.copy_
_original_attention = torch.nn.functional.scaled_dot_product_attention


class Card:
    """The card's memory: how much there is, how much is taken, and how much was at most.

    Attributes:
        limit: Bytes there are.
        current: Bytes taken now, by weights and activations.
        peak: Most that were taken at any time since `reset_peak`.
        uploaded: Bytes copied to the card since the start.
        make_room: Called with the bytes that are missing before an allocation fails.
    """

    def __init__(self) -> None:
        self.limit = 2**62
        self.current = 0
        self.peak = 0
        self.uploaded = 0
        self.make_room: Callable[[int], None] = lambda missing: None
        self._references: dict[int, int] = {}
        self._storages: dict[int, torch.UntypedStorage] = {}

    def reset_peak(self) -> None:
        """Forget the peak so far."""
        self.peak = self.current

    def hold(self, content: Tensor) -> int:
        """Count a tensor's storage, once for all tensors that share it; its key.

        Raises:
            torch.OutOfMemoryError: The card is full.
        """
        storage = content.untyped_storage()
        key = storage._cdata
        if key not in self._references:
            self.take(storage.nbytes())
            self._references[key] = 0
            self._storages[key] = storage
        self._references[key] += 1
        return key

    def take(self, size: int) -> None:
        """Count bytes.

        Raises:
            torch.OutOfMemoryError: The card is full.
        """
        if self.current + size > self.limit:
            self.make_room(self.current + size - self.limit)
        if self.current + size > self.limit:
            free, wanted = (self.limit - self.current) / MIB, size / MIB
            raise torch.OutOfMemoryError(
                f"CUDA out of memory. Tried to allocate {wanted:.2f} MiB, {free:.2f} MiB is free."
            )
        self.current += size
        self.peak = max(self.peak, self.current)

    def release(self, key: int) -> None:
        """Take note that one tensor of a storage is gone."""
        self._references[key] -= 1
        if self._references[key] == 0:
            del self._references[key]
            self.current -= self._storages.pop(key).nbytes()

    def attach(self, limit: int) -> None:
        """Put the card, with `limit` bytes, in the place of ComfyUI's device."""
        self.limit = limit
        torch.cuda._lazy_init = lambda: None
        torch.cuda.synchronize = lambda *_, **__: None
        torch.cuda.current_stream = lambda *_, **__: None
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        Tensor.copy_ = _copy
        torch.nn.functional.scaled_dot_product_attention = _attention
        mm.get_torch_device = lambda: DEVICE
        mm.vram_state = mm.VRAMState.NORMAL_VRAM
        mm.EXTRA_RESERVED_VRAM = 0
        mm.minimum_inference_memory = lambda: INFERENCE_RESERVE
        mm.get_free_memory = self._free_memory
        mm.soft_empty_cache = lambda *_, **__: gc.collect() and None

    def _free_memory(self, device: torch.device | None = None, torch_free_too: bool = False) -> Any:
        on_card = device is None or torch.device(device).type == DEVICE.type
        free = self.limit - self.current if on_card else 2**40
        return (free, 0) if torch_free_too else free


CARD = Card()


class CardTensor(Tensor):
    """A tensor on the card; `content` is what it holds, in main memory."""

    content: Tensor

    @staticmethod
    def __new__(cls, content: Tensor, counted: bool = True) -> CardTensor:
        """Wrap a tensor of main memory and count it; views of one that is not counted are not, either.

        Raises:
            TypeError: A float64 tensor.
        """
        if content.dtype in (torch.float64, torch.complex128):
            raise TypeError("this device has no float64: compute in float32, or on the CPU")
        made = Tensor._make_wrapper_subclass(
            cls,
            content.size(),
            strides=content.stride(),
            storage_offset=content.storage_offset(),
            dtype=content.dtype,
            layout=content.layout,
            device=DEVICE,
            requires_grad=False,
        )
        made.content = content
        storage = content.untyped_storage()
        if not counted:
            storage._counted_elsewhere = True
        if not hasattr(storage, "_counted_elsewhere"):
            weakref.finalize(made, CARD.release, CARD.hold(content))
        return made

    def __getitem__(self, index: Any) -> Tensor:
        """Index the content: torch's own indexing of wrappers asks for a device that is not there."""
        parts = index if isinstance(index, tuple) else (index,)
        return CardTensor(self.content[tuple(p.content if isinstance(p, CardTensor) else p for p in parts)])

    def __setitem__(self, index: Any, value: Any) -> None:
        """Write into the content, for the same reason."""
        _refuse_to_meet("setitem", [leaf for leaf in (value,) if isinstance(leaf, Tensor)])
        self.content[index] = getattr(value, "content", value)

    def contiguous(self, memory_format: torch.memory_format = torch.contiguous_format) -> Tensor:
        """Lay the content out anew, for the same reason."""
        if self.content.is_contiguous(memory_format=memory_format):
            return self
        return CardTensor(self.content.contiguous(memory_format=memory_format))

    def __repr__(self) -> str:
        return f"CardTensor({tuple(self.shape)}, {self.dtype})"

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return _dispatch(func, args, dict(kwargs or {}))


class CardMode(TorchDispatchMode):
    """Makes new tensors for the card's device, too."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return _dispatch(func, args, dict(kwargs or {}))

    def __enter__(self) -> CardMode:
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)


def _copy(target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    """Tensor.copy_, which torch would not let cross from a wrapper to a plain tensor."""
    if isinstance(target, CardTensor):
        if not isinstance(source, CardTensor):
            CARD.uploaded += target.nbytes
        _original_copy(target.content, getattr(source, "content", source))
        return target
    return _original_copy(target, getattr(source, "content", source))


def _attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention in blocks, as on a card; torch would choose the quadratic one for wrappers."""
    if not isinstance(query, CardTensor):
        return _original_attention(query, key, value)
    _refuse_to_meet("attention", [query, key, value])
    return CardTensor(_original_attention(query.content, key.content, value.content))


def _dispatch(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if func is torch.ops.aten._has_compatible_shallow_copy_type.default:
        return type(args[0]) is type(args[1])
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    on_card = [tensor for tensor in tensors if isinstance(tensor, CardTensor)]
    target = kwargs.get("device")
    if not on_card and (target is None or torch.device(target).type != DEVICE.type):
        return func(*args, **kwargs)
    if on_card and func not in _ACROSS_DEVICES:
        _refuse_to_meet(func, tensors)
    to_card = bool(on_card)
    if target is not None:
        to_card = torch.device(target).type == DEVICE.type
        kwargs["device"] = torch.device("cpu")
    if "pin_memory" in kwargs:
        kwargs["pin_memory"] = False
    if (
        func in _ACROSS_DEVICES
        and to_card
        and not isinstance(args[-1 if "copy_" in str(func) else 0], CardTensor)
    ):
        CARD.uploaded += args[0].nbytes
    wrappers = {id(tensor.content): tensor for tensor in on_card}
    plain_args, plain_kwargs = tree_map(
        lambda x: x.content if isinstance(x, CardTensor) else x, (args, kwargs)
    )
    result = func(*plain_args, **plain_kwargs)
    if func is torch.ops.aten._to_copy.default and any(result is x for x in plain_args):
        result = result.clone()

    def wrapped(value: Any) -> Any:
        if not isinstance(value, Tensor) or isinstance(value, CardTensor):
            return value
        if id(value) in wrappers:
            return wrappers[id(value)]
        return CardTensor(value) if to_card else value

    return tree_map(wrapped, result)


def _refuse_to_meet(func: Any, tensors: list[Tensor]) -> None:
    for tensor in tensors:
        if not isinstance(tensor, CardTensor) and tensor.dim() > 0:
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but {func} got cuda:0 and {tensor.device}"
            )
