"""Bytes of tensors alive during a computation, counted at torch's dispatcher."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of every tensor that an operation makes, until it is freed; use as a context manager.

    Tensors that were there before (weights, inputs) and views do not count. What a kernel allocates and frees
    inside itself is not seen.

    Attributes:
        current: Bytes alive now.
        peak: Most bytes alive at any time since the start, or since `reset_peak`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.current = 0
        self.peak = 0
        self._sizes: dict[int, int] = {}
        self._references: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def reset_peak(self) -> None:
        """Forget the peak so far."""
        self.peak = self.current

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        known = {id(storage) for storage in _storages((args, kwargs))}
        result = func(*args, **kwargs)
        for storage in _storages(result):
            self._count(storage, known)
        return result

    def _count(self, storage: torch.UntypedStorage, known: set[int]) -> None:
        key = id(storage)
        size = storage.nbytes()
        if key not in self._sizes:
            if key in known:
                return
            self._references[key] = weakref.ref(storage, lambda _: self._forget(key))
            self._sizes[key] = 0
        self.current += size - self._sizes[key]  # an operation may enlarge its `out`
        self._sizes[key] = size
        self.peak = max(self.peak, self.current)

    def _forget(self, key: int) -> None:
        self.current -= self._sizes.pop(key)
        del self._references[key]


def _storages(value: Any) -> Iterable[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
