"""Tensors of a checked safetensors file, memory-mapped: no byte is copied until it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import CorruptFileError
from .header import Header

if TYPE_CHECKING:
    from torch import Tensor


def map_tensors(header: Header) -> dict[str, Tensor]:
    """Return every tensor of a file by key, in its stored dtype, on the CPU, backed by the file's pages.

    The pages are private (copy on write): changing a tensor never changes the file.

    Raises:
        CorruptFileError: The file changed since its header was read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(header.path, framework="pt", device="cpu") as file:
            return {key: file.get_tensor(key) for key in header.tensors}
    except (SafetensorError, OSError) as error:
        raise CorruptFileError(
            f"{header.path.name} cannot be mapped",
            path=header.path,
            found=str(error),
            remedy="fetch it again",
        ) from error
