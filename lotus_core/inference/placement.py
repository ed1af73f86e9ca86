"""Where and when a model's parts compute: the one protocol that a host implements."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

from ..conventions import Part
from .allocation import kept_bytes

if TYPE_CHECKING:
    import torch
    from torch import nn


class Placement(Protocol):
    """Places the UNet and the VAE of one model.

    The library asks for a part before every chunk and computes inside the returned context; it never moves
    a module by itself. Inputs are sent to `device` in the part's `dtype`; results come back to the CPU.
    """

    @property
    def device(self) -> torch.device:
        """Device on which both parts compute."""
        ...

    @property
    def concurrent(self) -> bool:
        """Whether several threads may compute at the same time, and gain by it."""
        ...

    def dtype(self, part: Part) -> torch.dtype:
        """Floating-point type in which a part computes."""
        ...

    def active(self, part: Part, memory_required: int, dtype: torch.dtype) -> AbstractContextManager[None]:
        """Have a part ready on `device` to compute in `dtype`, with that many bytes free for activations."""
        ...

    def free_memory(self) -> int:
        """Bytes that activations may take on `device` now, with the weights in place."""
        ...

    def obtainable_memory(self) -> int:
        """Bytes that activations could take on `device` if all that may leave it left: other models, weights."""
        ...

    def check_interrupt(self) -> None:
        """Raise the host's own exception if the user has asked to stop; else do nothing."""
        ...


class TorchPlacement:
    """Plain torch: both parts live on one device for good. What the CLI and scripts use.

    Args:
        unet: Moved to `device` and `dtype` at once.
        vae: Moved likewise.
        device: Any torch device.
        unet_dtype: Type in which the UNet computes.
        vae_dtype: Type in which the VAE computes.
    """

    def __init__(
        self,
        unet: nn.Module,
        vae: nn.Module,
        device: torch.device,
        unet_dtype: torch.dtype,
        vae_dtype: torch.dtype,
    ) -> None:
        self._device = device
        self._dtypes: dict[Part, torch.dtype] = {"unet": unet_dtype, "vae": vae_dtype}
        self._modules: dict[Part, nn.Module] = {"unet": unet, "vae": vae}
        unet.to(device=device, dtype=unet_dtype)
        vae.to(device=device, dtype=vae_dtype)

    @property
    def device(self) -> torch.device:
        """Device on which both parts compute."""
        return self._device

    @property
    def concurrent(self) -> bool:
        """Whether several threads may compute at the same time, and gain by it: on the CPU in fp32.

        In bf16 two threads with a network each were slower than both in turn: the matrix units are shared.
        """
        import torch

        return self._device.type == "cpu" and set(self._dtypes.values()) == {torch.float32}

    def dtype(self, part: Part) -> torch.dtype:
        """Floating-point type in which a part computes."""
        return self._dtypes[part]

    @contextmanager
    def active(self, part: Part, memory_required: int, dtype: torch.dtype) -> Iterator[None]:
        """Cast the part for the time being if another type than its own is asked for; it is in place already.

        Models may share a part: threads that want its own type compute together, one that casts it computes alone.
        """
        usual = self._dtypes[part]
        module = self._modules[part]
        users = _users.setdefault(module, _Users())
        if dtype == usual:
            with users.computing():
                yield
            return
        with users.casting():
            module.to(dtype)
            try:
                yield
            finally:
                module.to(usual)

    def free_memory(self) -> int:
        """Bytes free on the device where it says so, else available to this process."""
        import torch

        module = torch.get_device_module(self._device)
        if not hasattr(module, "mem_get_info"):
            return available_ram()
        free, _ = module.mem_get_info(self._device)
        return free + module.memory_reserved(self._device) - module.memory_allocated(self._device)

    def obtainable_memory(self) -> int:
        """Bytes free: nothing is moved away for the sake of activations."""
        return self.free_memory()

    def check_interrupt(self) -> None:
        """Do nothing: a script is stopped by KeyboardInterrupt."""


class _Users:
    """Threads that compute with a module now. One that casts it waits for the others, and they for it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._computing = 0
        self._cast = False

    @contextmanager
    def computing(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._cast)
            self._computing += 1
        try:
            yield
        finally:
            with self._changed:
                self._computing -= 1
                self._changed.notify_all()

    @contextmanager
    def casting(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._cast and self._computing == 0)
            self._cast = True
        try:
            yield
        finally:
            with self._changed:
                self._cast = False
                self._changed.notify_all()


_users: weakref.WeakKeyDictionary[nn.Module, _Users] = weakref.WeakKeyDictionary()


def available_ram() -> int:
    """Return the bytes of main memory that can be taken without swapping; 4 GiB where the system does not say.

    What this process has freed and keeps is counted: it is taken first.
    """
    return _free_ram() + kept_bytes()


def _free_ram() -> int:
    import os
    from pathlib import Path

    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 4 * 2**30
