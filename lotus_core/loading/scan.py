"""NaN and infinity in a file's weights, searched for tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .header import read_header
from .mapping import map_tensors

if TYPE_CHECKING:
    from torch import Tensor

_CHUNK: Final = 4 * 2**20  # elements at a time: 16 MB as float32


@dataclass(frozen=True)
class NonFiniteTensor:
    """A tensor that holds numbers which are none.

    Attributes:
        key: Its key in the file.
        nan: How many elements are NaN.
        infinite: How many are plus or minus infinity.
    """

    key: str
    nan: int
    infinite: int


def scan_nonfinite(
    path: Path, *, progress: Callable[[int, int], None] | None = None
) -> tuple[NonFiniteTensor, ...]:
    """Return the tensors of a safetensors file that hold NaN or infinity, in the file's order.

    Reads the file through a mapping, 16 MB at a time: the memory taken does not grow with the file.

    Args:
        path: The file.
        progress: Called with (bytes scanned, bytes in all) after each tensor.

    Raises:
        CheckpointError: The file cannot be read as safetensors; see `read_header`.
    """
    header = read_header(path)
    total = sum(entry.stop - entry.start for entry in header.tensors.values())
    found: list[NonFiniteTensor] = []
    done = 0
    for key, tensor in map_tensors(header).items():
        nan = infinite = 0
        if tensor.is_floating_point():
            for chunk in tensor.reshape(-1).split(_CHUNK):
                values = (
                    chunk.float() if chunk.itemsize == 1 else chunk
                )  # 8-bit types have no isnan of their own
                if values.numel() and not _all_finite(values):
                    nan += int(values.isnan().sum())
                    infinite += int(values.isinf().sum())
        if nan or infinite:
            found.append(NonFiniteTensor(key, nan, infinite))
        done += header.tensors[key].stop - header.tensors[key].start
        if progress is not None:
            progress(done, total)
    return tuple(found)


def _all_finite(values: Tensor) -> bool:
    """Return whether no element is NaN or infinite: one pass, as NaN spreads to both ends of the range."""
    low, high = values.aminmax()
    return bool(low.isfinite() & high.isfinite())
