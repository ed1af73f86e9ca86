"""Batches of any length in bounded memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, TypeVar

from torch import Tensor

from ..errors import MemoryLimitError
from .image import WorkingSize
from .memory import activation_bytes, fitting_batch, fitting_resolution, is_out_of_memory
from .model import LotusModel

logger = logging.getLogger("lotus_geometry")
T = TypeVar("T")

MAX_CHUNK = 16
"""Beyond this many pictures at once nothing gets faster, and a stop is felt late."""


def map_chunks(
    images: Tensor,
    compute: Callable[[Tensor], T],
    models: Sequence[LotusModel],
    size: WorkingSize,
    batch_size: int | Literal["auto"],
) -> Iterator[T]:
    """Yield the result of each piece of a batch, as large as `batch_size` or the free memory says.

    A piece that does not fit after all is halved, down to one picture, and no later one is larger than what fitted.

    Args:
        images: (B, H, W, 3).
        compute: Takes a piece, (b, H, W, 3).
        models: The models that will see each piece.
        size: Sizes of the run.
        batch_size: Pictures at once, or "auto".

    Raises:
        MemoryLimitError: Not even one picture fits; it says what would.
    """
    start, limit = 0, MAX_CHUNK if batch_size == "auto" else batch_size
    while start < len(images):
        count = min(limit, len(images) - start)
        if batch_size == "auto":
            count = _fitting(models, size, count)
        try:
            result = compute(images[start : start + count])
        except (RuntimeError, MemoryError) as error:
            if isinstance(error, MemoryLimitError) or not is_out_of_memory(error):
                raise
            failure = error.with_traceback(None)  # its frames would keep the failed chunk's tensors alive
        else:
            yield result
            start += count
            continue
        if count == 1:
            raise one_too_many(models, size, failure) from failure
        limit = (count + 1) // 2
        logger.warning("Lotus: out of memory with %d pictures at once: trying %d", count, limit)


def computes_together(models: Sequence[LotusModel]) -> bool:
    """Say whether several models compute at the same time: where there are several, and all placements allow it."""
    return len(models) > 1 and all(model.placement.concurrent for model in models)


def one_too_many(models: Sequence[LotusModel], size: WorkingSize, error: BaseException) -> MemoryLimitError:
    """Return the error for one picture that does not fit, with the resolution and the precision that would.

    Args:
        models: The models of the run; the one that needs most is spoken of.
        size: Sizes of the run.
        error: What torch said.
    """
    model = max(models, key=lambda candidate: _step_bytes(candidate, size))
    placement = model.placement
    room = placement.obtainable_memory()
    shape = (size.inner_height, size.inner_width)
    proposals: list[str] = []
    itemsize = placement.dtype("unet").itemsize
    side = fitting_resolution(model.widths, *shape, itemsize, room)
    if side is not None and side < max(shape):
        proposals.append(f"lower the resolution to {side}")
    if itemsize > 2:
        halved = fitting_resolution(model.widths, *shape, 2, room)
        if halved is not None and halved > (side or 0):
            proposals.append(
                "choose fp16 or bf16" + ("" if halved == max(shape) else f" and {halved} pixels")
            )
    if not proposals:
        proposals.append("close what else uses this memory, lower the resolution, or compute on the CPU")
    return MemoryLimitError(
        f"one picture at {shape[1]}x{shape[0]} does not fit the memory of {placement.device}: the one step needs "
        f"about {_mb(_step_bytes(model, size))} beside its weights, {_mb(room)} can be had",
        found=str(error).splitlines()[0][:160] if str(error) else type(error).__name__,
        remedy=", or ".join(proposals),
    )


def _fitting(models: Sequence[LotusModel], size: WorkingSize, limit: int) -> int:
    counts = []
    together = len(models) if computes_together(models) else 1
    for model in models:
        itemsizes = (model.placement.dtype("unet").itemsize, model.placement.dtype("vae").itemsize)
        room = model.placement.free_memory() // together
        counts.append(fitting_batch(model.widths, *size.latent, itemsizes, room, limit))
    return min(counts)


def _step_bytes(model: LotusModel, size: WorkingSize) -> int:
    return activation_bytes("denoise", model.widths, 1, *size.latent, model.placement.dtype("unet").itemsize)


def _mb(count: int) -> str:
    return f"{count / 1e6:.0f} MB"
