"""Writing a safetensors file tensor by tensor, whole or not at all, without holding it in memory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from ..errors import NonFiniteError, NoSpaceError
from ..io.atomic import replacing, storage_error
from .header import ITEM_BITS, Shape

if TYPE_CHECKING:
    from torch import Tensor

_ALIGNMENT: Final = 8
_CHUNK: Final = 4 * 2**20  # elements cast and written at a time


@dataclass(frozen=True)
class PlannedTensor:
    """A tensor to be written.

    Attributes:
        key: Its key in the file.
        dtype: safetensors name of the type it is written in.
        shape: Its sides in the file.
        read: Returns its values, in any floating type and any shape of as many elements.
    """

    key: str
    dtype: str
    shape: Shape
    read: Callable[[], Tensor]

    @property
    def nbytes(self) -> int:
        """Bytes it takes in the file."""
        count = 1
        for side in self.shape:
            count *= side
        return count * ITEM_BITS[self.dtype] // 8


def write_safetensors(
    path: Path,
    tensors: Sequence[PlannedTensor],
    metadata: Mapping[str, str],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a safetensors file; the same tensors give the same bytes.

    Tensors lie in the order in which the safetensors library puts them: wide types first, then by key.

    Args:
        path: The file; replaced only when the new one is complete.
        tensors: What to write.
        metadata: Strings for the header.
        progress: Called with (bytes written, bytes in all) after each tensor.

    Raises:
        NoSpaceError: The disk is too full; checked before the first byte, and while writing.
        NotWritableError: The folder or the file cannot be written.
        NonFiniteError: A finite value is too large for fp16.
    """
    ordered = sorted(tensors, key=lambda tensor: (-ITEM_BITS[tensor.dtype], tensor.key))
    header = _header(ordered, metadata)
    total = len(header) + sum(tensor.nbytes for tensor in ordered)
    with replacing(path) as temporary:
        _require_space(path.parent, total)
        with temporary.open("wb") as file:
            file.write(header)
            done = len(header)
            for tensor in ordered:
                _write_tensor(file, tensor)
                done += tensor.nbytes
                if progress is not None:
                    progress(done, total)


def _header(ordered: Sequence[PlannedTensor], metadata: Mapping[str, str]) -> bytes:
    content: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    position = 0
    for tensor in ordered:
        end = position + tensor.nbytes
        content[tensor.key] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [position, end],
        }
        position = end
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _write_tensor(file: BinaryIO, tensor: PlannedTensor) -> None:
    for chunk in _chunks(tensor):
        file.write(chunk.numpy().data)


def _chunks(tensor: PlannedTensor) -> Iterator[Tensor]:
    """Yield a tensor's bytes in its target type, as uint8."""
    import torch

    types = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    for chunk in tensor.read().detach().reshape(-1).split(_CHUNK):
        target = types.get(tensor.dtype, chunk.dtype)  # other types are written as they are
        cast = chunk.to(target)
        if target == torch.float16 and chunk.dtype != target and bool((cast.isinf() & ~chunk.isinf()).any()):
            raise NonFiniteError(
                f"the tensor {tensor.key} does not fit fp16",
                found=f"values up to {chunk.abs().max().item():.6g}, fp16 holds 65504",
                remedy="convert to bf16 or fp32",
            )
        yield cast.contiguous().view(torch.uint8)


def _require_space(folder: Path, needed: int) -> None:
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise storage_error(error, folder) from error
    if free < needed:
        raise NoSpaceError(
            f"the disk of {folder} is too full for {needed / 2**20:.0f} MiB",
            found=f"{free / 2**20:.0f} MiB free",
            remedy="free some space, or write to another disk",
        )
