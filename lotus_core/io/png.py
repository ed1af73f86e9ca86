"""PNG files: 8 bits to look at, 16 bits to measure.

Pillow writes no 16-bit colour, so 16-bit files are encoded here; the format needs little more than zlib.

Source: Portable Network Graphics (PNG) Specification, third edition, W3C, 2025.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from ..errors import NonFiniteError, ShapeError
from .atomic import write_bytes

if TYPE_CHECKING:
    from torch import Tensor

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES: Final = {1: 0, 3: 2}  # channels -> grey, truecolour
_UP_FILTER: Final = 2
_LEVEL: Final = 6


def write_png8(path: str | Path, values: Tensor, *, text: Mapping[str, str] | None = None) -> Path:
    """Write an 8-bit PNG, ``round(255 * x)``, whole or not at all.

    Args:
        path: The file; missing folders are made.
        values: (H, W) or (H, W, 3) float; what lies outside [0, 1] is clamped.
        text: Notes for the file's tEXt chunks, Latin-1, such as {"Lotus kind": "disparity"}.

    Returns:
        The path.

    Raises:
        ShapeError: Another shape.
        NonFiniteError: NaN or infinity.
        NoSpaceError: The disk is full.
        NotWritableError: The folder or file cannot be written.
    """
    return _write(path, values, 8, text)


def write_png16(path: str | Path, values: Tensor, *, text: Mapping[str, str] | None = None) -> Path:
    """Write a 16-bit PNG, ``round(65535 * x)``, whole or not at all: 0.5 becomes 32768.

    Args:
        path: The file; missing folders are made.
        values: (H, W) or (H, W, 3) float; what lies outside [0, 1] is clamped.
        text: Notes for the file's tEXt chunks, Latin-1.

    Returns:
        The path.

    Raises:
        ShapeError: Another shape.
        NonFiniteError: NaN or infinity.
        NoSpaceError: The disk is full.
        NotWritableError: The folder or file cannot be written.
    """
    return _write(path, values, 16, text)


def _write(path: str | Path, values: Tensor, bits: int, text: Mapping[str, str] | None) -> Path:
    if not (values.ndim == 2 or (values.ndim == 3 and values.shape[2] == 3)) or values.numel() == 0:
        raise ShapeError(
            "values", values.shape, "(H, W) or (H, W, 3)", remedy="pass one image, channels last"
        )
    array = values.detach().cpu().double().numpy()
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise NonFiniteError(
            f"{path} cannot hold NaN or infinity",
            found=f"{bad} such values",
            remedy="fill them in, or write EXR or NPZ",
        )
    levels = np.rint(np.clip(array, 0.0, 1.0) * (2**bits - 1)).astype(f">u{bits // 8}")  # big-endian
    return write_bytes(path, encode_png(levels, text or {}))


def encode_png(levels: np.ndarray, text: Mapping[str, str]) -> bytes:
    """Return the bytes of a PNG file.

    Args:
        levels: (H, W) or (H, W, 3) big-endian uint8 or uint16.
        text: Notes, Latin-1.
    """
    height, width = levels.shape[:2]
    channels = 1 if levels.ndim == 2 else levels.shape[2]
    header = struct.pack(">IIBBBBB", width, height, levels.itemsize * 8, _COLOUR_TYPES[channels], 0, 0, 0)
    rows = np.ascontiguousarray(levels).view(np.uint8).reshape(height, -1)
    filtered = np.empty((height, rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = _UP_FILTER  # smooth maps differ little from one row to the next
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])  # modulo 256, as the filter is defined
    notes = [_chunk(b"tEXt", k.encode("latin-1") + b"\0" + v.encode("latin-1")) for k, v in text.items()]
    body = zlib.compress(filtered.data, _LEVEL)
    return b"".join(
        (_SIGNATURE, _chunk(b"IHDR", header), *notes, _chunk(b"IDAT", body), _chunk(b"IEND", b""))
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
