"""Batches of any length in bounded memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, TypeVar

import torch
from torch import Tensor

from ..errors import MemoryLimitError
from .image import WorkingSize
from .memory import fitting_batch
from .model import LotusModel

logger = logging.getLogger("lotus_geometry")
T = TypeVar("T")

MAX_CHUNK = 16
"""Beyond this many pictures at once nothing gets faster, and a stop is felt late."""


def chunks_of(
    images: Tensor, models: Sequence[LotusModel], size: WorkingSize, batch_size: int | Literal["auto"]
) -> Iterator[Tensor]:
    """Yield the batch piece by piece, each as large as `batch_size` or the free memory says.

    Args:
        images: (B, H, W, 3).
        models: The models that will see each piece.
        size: Sizes of the run.
        batch_size: Pictures at once, or "auto".
    """
    start = 0
    while start < len(images):
        count = _auto(models, size, len(images) - start) if batch_size == "auto" else batch_size
        yield images[start : start + count]
        start += count


def retry_smaller(
    images: Tensor, compute: Callable[[Tensor], T], model: LotusModel, size: WorkingSize
) -> Iterator[T]:
    """Yield the results of a chunk; one that does not fit the memory is halved, down to one picture.

    Raises:
        MemoryLimitError: Not even one picture fits.
    """
    try:
        result = compute(images)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        if len(images) == 1:
            inner = f"{size.inner_width}x{size.inner_height}"
            raise MemoryLimitError(
                f"one picture at {inner} does not fit the memory of {model.placement.device}",
                found=str(error).splitlines()[0][:160],
                remedy=f"lower the resolution below {max(size.inner_width, size.inner_height)}, or choose fp16",
            ) from error
    else:
        yield result
        return
    half = (len(images) + 1) // 2  # outside the handler, which would keep the failed chunk's tensors alive
    logger.warning("out of memory with %d pictures at once: trying %d", len(images), half)
    for part in images.split(half):
        yield from retry_smaller(part, compute, model, size)


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether torch ran out of memory, on whichever device."""
    kinds = (MemoryError, torch.cuda.OutOfMemoryError)
    return isinstance(error, kinds) or any(
        phrase in str(error).lower()
        for phrase in ("out of memory", "can't allocate memory", "not enough memory")
    )


def _auto(models: Sequence[LotusModel], size: WorkingSize, left: int) -> int:
    counts = []
    for model in models:
        itemsizes = (model.placement.dtype("unet").itemsize, model.placement.dtype("vae").itemsize)
        free = model.placement.free_memory()
        counts.append(fitting_batch(model.widths, *size.latent, itemsizes, free, min(left, MAX_CHUNK)))
    return min(counts)
