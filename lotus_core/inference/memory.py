"""How many bytes one stage of a run takes, how many pictures fit at once, and what to do when none does.

The formula of `activation_bytes` is fitted to peaks counted at torch's dispatcher (``python -m benchmarks
memory_fit``): with Stable Diffusion 2's widths it meets them within 0.1 % from 256 to 2048 pixels in every type on
the way that accelerators take, and lies 1 to 60 % above them on the CPU's, which works in place. The two small
networks of the bundled models take 0.64 to 1.0 of it. `docs/memory.md` has the table.

What a kernel allocates for itself is not counted there. `_workspace` makes room for it; how much cuDNN takes has
not been measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ..conventions import LATENT_STRIDE, MIN_SIDE

Stage = Literal["encode", "denoise", "decode"]

STAGES: tuple[Stage, ...] = ("encode", "denoise", "decode")

_PIXELS = LATENT_STRIDE * LATENT_STRIDE
"""Pixels of one latent cell."""
_SHARE = 0.8
"""Of the memory that is free: an allocator cannot hand out all of it in the pieces that are asked for."""


@dataclass(frozen=True)
class Widths:
    """The widths that activations scale with.

    Attributes:
        vae: Channels of the VAE's levels, full resolution first: (128, 256, 512, 512) in Stable Diffusion 2.
        unet: Channels of the UNet's levels: (320, 640, 1280, 1280).
    """

    vae: tuple[int, ...]
    unet: tuple[int, ...]


def activation_bytes(
    stage: Stage, widths: Widths, batch: int, latent_h: int, latent_w: int, itemsize: int
) -> int:
    """Return the peak bytes of activations of one stage: at least what was measured, less 5 % at most.

    For Stable Diffusion 2 at 768x768 in fp16, one picture: encoding 653 MB, the one step 247 MB, decoding 985 MB.

    Args:
        stage: Which stage.
        widths: The model's widths.
        batch: Pictures at once.
        latent_h: Height of the latents.
        latent_w: Width of the latents.
        itemsize: Bytes per number in the compute type.
    """
    numbers = batch * latent_h * latent_w * _numbers_per_cell(stage, widths)
    return int((numbers + _workspace(stage, widths, latent_h * latent_w)) * itemsize) + _FIXED


def fitting_batch(
    widths: Widths, latent_h: int, latent_w: int, itemsizes: tuple[int, int], free: int, limit: int
) -> int:
    """Return how many pictures fit into `free` bytes at every stage, from 1 to `limit`.

    Args:
        widths: The model's widths.
        latent_h: Height of the latents.
        latent_w: Width of the latents.
        itemsizes: Bytes per number of the UNet and of the VAE.
        free: Bytes that activations may take.
        limit: Upper bound, usually the number of pictures left.
    """
    fits = limit
    for stage in STAGES:
        itemsize = itemsizes[0] if stage == "denoise" else itemsizes[1]
        one = activation_bytes(stage, widths, 1, latent_h, latent_w, itemsize)
        each = activation_bytes(stage, widths, 2, latent_h, latent_w, itemsize) - one
        fits = min(fits, 1 + int(free * _SHARE - one) // max(1, each))
    return max(1, fits)


def fitting_resolution(widths: Widths, height: int, width: int, itemsize: int, free: int) -> int | None:
    """Return the longest side at which the one step fits into `free` bytes, or None where no size does.

    The VAE does not count: it can work strip by strip.

    Args:
        widths: The model's widths.
        height: Height in pixels that did not fit.
        width: Width in pixels that did not fit.
        itemsize: Bytes per number of the UNet.
        free: Bytes that activations may take.

    Returns:
        A multiple of 8 from 16 to the longer one of the two sides.
    """
    longest = max(height, width)
    for side in range(longest // LATENT_STRIDE * LATENT_STRIDE, MIN_SIDE - 1, -LATENT_STRIDE):
        rows, columns = (math.ceil(pixels * side / longest / LATENT_STRIDE) for pixels in (height, width))
        if activation_bytes("denoise", widths, 1, rows, columns, itemsize) <= free * _SHARE:
            return side
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error of torch's means that memory ran out, on whichever device.

    Errors are told by their words: the classes differ between devices and versions of torch.
    """
    if isinstance(error, MemoryError):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(phrase in said for phrase in _OUT_OF_MEMORY)


_OUT_OF_MEMORY = (
    "out of memory",  # CUDA, ROCm, XPU, MPS
    "alloc_failed",  # cuDNN and cuBLAS
    "can't allocate memory",  # the CPU on Linux and macOS
    "not enough memory",  # the CPU on Windows
    "not enough gpu video memory",  # DirectML
)


def _numbers_per_cell(stage: Stage, widths: Widths) -> float:
    """Numbers alive at the peak for each latent cell of each picture, fitted on the networks of `memory_fit`."""
    if stage == "denoise":
        own, lower = widths.unet[0], _second(widths.unet)
        return 20.0 * own + 5.0 * max(0, lower - 2 * own)
    own, lower = widths.vae[0], _second(widths.vae)
    if stage == "encode":
        return _PIXELS * (max(4.0 * own, 1.1 * lower) + 3.0)
    return _PIXELS * 2.0 * (own + lower)


def _workspace(stage: Stage, widths: Widths, cells: int) -> int:
    """Numbers that do not grow with the batch: room for what convolutions need beside their result.

    The CPU's convolutions by minimal filtering keep their transformed kernels, 36 numbers for each pair of channels
    (64 more after an upsampling), and strips of 128 tiles, on maps of at least 1024 pixels. The widest is the first
    one on the way up, whose input is the map from below beside the map from across.
    """
    if stage != "denoise":
        widest = max(widths.vae)
        return _filtering(widest, widest) + (64 * widest**2 if stage == "decode" else 0)
    levels = zip(widths.unet, (*widths.unet[1:], widths.unet[-1]), strict=True)
    wide = [_filtering(own + below, own) for i, (own, below) in enumerate(levels) if cells >= 1024 * 4**i]
    return max(wide, default=0)


def _filtering(channels_in: int, channels_out: int) -> int:
    return 36 * (channels_in * channels_out + 128 * (channels_in + channels_out))


_FIXED = 16 * 2**20
"""Bytes of small buffers anywhere."""


def _second(levels: tuple[int, ...]) -> int:
    return levels[min(1, len(levels) - 1)]
