"""NumPy's own files: arrays with their names, for further computing. Nothing in them is pickled."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from .atomic import replacing, write_bytes

if TYPE_CHECKING:
    from torch import Tensor


def write_npy(path: str | Path, array: Tensor | np.ndarray) -> Path:
    """Write one array as NPY, whole or not at all.

    Args:
        path: The file; missing folders are made.
        array: Any shape and numeric type.

    Returns:
        The path.

    Raises:
        InputError: An array of Python objects, which only pickle could store.
        NoSpaceError: The disk is full.
        NotWritableError: The folder or file cannot be written.
    """
    plain = _plain("array", array)
    buffer = io.BytesIO()  # NumPy itself keeps no error number when a disk is full
    np.save(buffer, plain, allow_pickle=False)
    return write_bytes(path, buffer.getvalue())


def write_npz(path: str | Path, entries: Mapping[str, Tensor | np.ndarray | str | float]) -> Path:
    """Write arrays, numbers and texts as compressed NPZ, whole or not at all.

    Args:
        path: The file; missing folders are made.
        entries: By name. Numbers and texts become arrays without axes: read them with ``str(file["kind"])``.

    Returns:
        The path.

    Raises:
        InputError: An array of Python objects, which only pickle could store.
        NoSpaceError: The disk is full.
        NotWritableError: The folder or file cannot be written.
    """
    plain = {name: _plain(name, value) for name, value in entries.items()}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **plain)  # pyright: ignore[reportArgumentType] (allow_pickle is newer)
    return Path(path)


def _plain(name: str, value: Tensor | np.ndarray | str | float) -> np.ndarray:
    if not isinstance(value, (np.ndarray, str, int, float)):
        value = value.detach().cpu().numpy()
    array = np.asarray(value)
    if array.dtype.hasobject:
        raise InputError(
            f"{name} holds Python objects", found=str(array.dtype), remedy="pass numbers or a text"
        )
    return array
