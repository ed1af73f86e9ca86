"""The header of a safetensors file, read with bounds and checked before anything is mapped.

Layout (safetensors format, README of the format's repository): 8 bytes little-endian length N, N bytes of
JSON ``{name: {dtype, shape, data_offsets}}`` with an optional ``__metadata__`` of strings, then the data.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NoReturn

from ..errors import CorruptFileError
from .foreign import open_weights, raise_foreign

MAX_HEADER_BYTES: Final = 4 * 2**20
"""Longest header read. A Lotus UNet's is under 0.1 MB; parsing 4 MB takes under 64 MB of memory."""

MAX_VALUES: Final = 250_000
"""Most separators in a header's JSON: bounds the objects that parsing makes. A Lotus UNet has about 10,000."""

MAX_RANK: Final = 8
MAX_SIDE: Final = 2**31 - 1

_TYPES_BY_BITS: Final = (
    (64, ("F64", "I64", "U64", "C64")),
    (32, ("F32", "I32", "U32")),
    (16, ("F16", "BF16", "I16", "U16")),
    (8, ("F8_E4M3", "F8_E5M2", "F8_E8M0", "I8", "U8", "BOOL")),
)

ITEM_BITS: Final = MappingProxyType({name: bits for bits, names in _TYPES_BY_BITS for name in names})
"""Bits of one element by safetensors dtype name."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class TensorEntry:
    """Where one tensor lies in its file.

    Attributes:
        dtype: safetensors name, such as "F16".
        shape: Sizes of its sides.
        start: First byte, counted from the start of the file.
        stop: One past its last byte.
    """

    dtype: str
    shape: Shape
    start: int
    stop: int


@dataclass(frozen=True)
class Header:
    """A checked header: every tensor lies inside the file, none overlaps another, no byte is left over.

    Attributes:
        path: The file.
        tensors: Entries by key, in the order of the header.
        metadata: The file's own strings.
    """

    path: Path
    tensors: Mapping[str, TensorEntry]
    metadata: Mapping[str, str]

    @property
    def shapes(self) -> dict[str, Shape]:
        """Shape of every tensor by key."""
        return {key: entry.shape for key, entry in self.tensors.items()}


class _MalformedError(ValueError):
    """What is wrong with a header, before the file's name is added."""


def read_header(path: Path) -> Header:
    """Return the checked header of a safetensors file. Reads the header only.

    Raises:
        UnknownModelError: There is no such file.
        UnsafeFormatError: Pickled weights, by extension or by content.
        CorruptFileError: Anything else than a well-formed safetensors file.
        StorageError: The file cannot be read.
    """
    with open_weights(path) as file:
        size = path.stat().st_size
        head = file.read(9)
        length = int.from_bytes(head[:8], "little")
        if len(head) < 9 or head[8:] != b"{" or length > size - 8:
            raise_foreign(path, head, size)
        if length > MAX_HEADER_BYTES:
            raise CorruptFileError(
                f"{path.name} states a header longer than any Lotus checkpoint's",
                path=path,
                found=f"{length} bytes, at most {MAX_HEADER_BYTES} are read",
                remedy="fetch the file again from its source",
            )
        raw = b"{" + file.read(length - 1)
    try:
        tensors, metadata = _parse(raw, size - 8 - length, 8 + length)
    except _MalformedError as error:
        raise CorruptFileError(
            f"{path.name} is not a well-formed safetensors file",
            path=path,
            found=str(error),
            remedy="it was cut short or altered; fetch it again from its source",
        ) from error
    return Header(path, MappingProxyType(tensors), MappingProxyType(metadata))


def _parse(raw: bytes, data_bytes: int, data_start: int) -> tuple[dict[str, TensorEntry], dict[str, str]]:
    content = _decode(raw)
    metadata = _metadata(content.pop("__metadata__", {}))
    tensors = {key: _entry(key, value, data_start) for key, value in content.items()}
    position = data_start
    for key, entry in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].stop)):
        if entry.start != position:
            fault = "overlaps another tensor" if entry.start < position else "leaves a gap before it"
            raise _MalformedError(f"tensor {_short(key)} {fault}")
        position = entry.stop
    if position != data_start + data_bytes:
        relation = "cut short" if position > data_start + data_bytes else "too long"
        raise _MalformedError(
            f"{relation}: {data_bytes} bytes of data, the header describes {position - data_start}"
        )
    return tensors, metadata


def _decode(raw: bytes) -> dict[str, Any]:
    separators = sum(raw.count(mark) for mark in (b",", b"[", b"{", b":"))
    if separators > MAX_VALUES:
        raise _MalformedError(f"a header of {separators} values, at most {MAX_VALUES} are read")
    try:
        content = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_int=_bounded_int,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
        )
    except RecursionError:
        raise _MalformedError("a header nested too deeply") from None
    except _MalformedError:
        raise
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise _MalformedError(f"a header that is not JSON ({_short(str(error), 80)})") from None
    if not isinstance(content, dict):  # pragma: no cover - the first byte is "{"
        raise _MalformedError("a header that is not a JSON object")
    return content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    try:
        "".join(found).encode()
    except UnicodeEncodeError:  # a lone surrogate: JSON can write it, UTF-8 has none
        raise _MalformedError("a key with half of a letter") from None
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _MalformedError(f"the key {_short(key)} twice")
            seen.add(key)
    return found


def _bounded_int(digits: str) -> int:
    if len(digits) > 19:  # more than any 64-bit offset
        raise _MalformedError(f"a number of {len(digits)} digits")
    return int(digits)


def _refuse_number(text: str) -> NoReturn:
    raise _MalformedError(f"the number {_short(text)} where a whole number belongs")


def _metadata(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise _MalformedError("metadata that is not a map of strings")
    return value


def _entry(key: str, value: object, data_start: int) -> TensorEntry:
    name = _short(key)
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise _MalformedError(f"tensor {name} without exactly dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BITS:
        raise _MalformedError(f"tensor {name} of unknown type {_short(str(dtype))}")
    if not _naturals(shape) or len(shape) > MAX_RANK or any(side > MAX_SIDE for side in shape):
        raise _MalformedError(f"tensor {name} of impossible shape {_short(str(shape))}")
    if not _naturals(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _MalformedError(f"tensor {name} at impossible offsets {_short(str(offsets))}")
    expected = math.prod(shape) * ITEM_BITS[dtype] // 8
    if offsets[1] - offsets[0] != expected:
        raise _MalformedError(
            f"tensor {name} of {offsets[1] - offsets[0]} bytes, {dtype} {shape} takes {expected}"
        )
    return TensorEntry(dtype, tuple(shape), data_start + offsets[0], data_start + offsets[1])


def _naturals(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _short(text: str, limit: int = 60) -> str:
    """Quote text of unknown origin for a message: printable, and no longer than `limit`."""
    shown = text[:limit].encode("unicode_escape").decode("ascii")
    return repr(shown)[1:-1].replace("\\\\", "\\") + ("..." if len(text) > limit else "")
