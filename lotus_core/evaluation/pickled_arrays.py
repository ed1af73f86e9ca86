"""Numbers and arrays out of a pickle, without running it.

OASIS publishes its normals as pickles. Unpickling runs what the file says; this reads the opcodes instead
(`pickletools.genops` only splits the bytes) and builds dicts, lists, numbers, text and NumPy arrays. It imports
nothing, calls nothing that the file names, and refuses every other name or opcode.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

_MARK: Final = object()
_MAX_ELEMENTS: Final = 2**28


@dataclass
class _Name:
    """A global that the file refers to; only those in `_CALLS` mean anything."""

    module: str
    name: str

    @property
    def short(self) -> str:
        """Name without NumPy's internal module, which was renamed between versions 1 and 2."""
        return f"{self.module.split('.', 1)[0]}:{self.name}"


@dataclass
class _Dtype:
    code: str
    order: str = "|"

    def numpy(self) -> np.dtype[Any]:
        if self.code[:1] not in "biuf":
            raise ValueError(f"a pickle with an array of type {self.code!r}")
        return np.dtype(self.order.replace("|", "") + self.code)


@dataclass
class _Array:
    """An array that is still to be filled by BUILD."""

    value: np.ndarray | None = None


def read_pickled(data: bytes) -> Any:
    """Return what a pickle of plain data holds: dicts, lists, tuples, numbers, text, bytes and NumPy arrays.

    Args:
        data: The file.

    Raises:
        ValueError: Damaged data, or anything but plain data in it.
    """
    try:
        return _plain(_Reader().run(data))
    except (IndexError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"a damaged pickle ({type(error).__name__}: {error})") from error


@dataclass
class _Reader:
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def run(self, data: bytes) -> Any:
        for opcode, argument, _ in pickletools.genops(data):
            name = opcode.name
            if name == "STOP":
                if len(self.stack) != 1:
                    break
                return self.stack[0]
            if name in _LITERALS:
                self.stack.append(argument)
            elif name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name]())
            elif name in _HANDLERS:
                _HANDLERS[name](self, argument)
            elif name not in ("PROTO", "FRAME"):
                raise ValueError(f"a pickle with {name}: not plain data")
        raise ValueError("a pickle without an end")

    def pop_to_mark(self) -> list[Any]:
        items: list[Any] = []
        while (item := self.stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def tuple_of(self, count: int) -> None:
        items = tuple(self.stack[-count:])
        del self.stack[-count:]
        self.stack.append(items)

    def append(self, items: list[Any]) -> None:
        self.stack[-1].extend(items)

    def dict_of(self, items: list[Any]) -> None:
        self.stack.append({})
        self.set_items(items)

    def set_items(self, items: list[Any]) -> None:
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def memoize(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def reduce(self, _: object) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Name) or function.short not in _CALLS:
            raise ValueError(f"a pickle that calls {function}: not plain data")
        self.stack.append(_CALLS[function.short](*arguments))

    def build(self, _: object) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, _Dtype):
            target.order = "|" if state[1] == "|" else state[1]
        elif isinstance(target, _Array):
            _, shape, dtype, fortran, buffer = state
            target.value = _filled(buffer, dtype, shape, "F" if fortran else "C")
        else:
            raise ValueError("a pickle that sets the state of an object: not plain data")


def _filled(buffer: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    if not isinstance(buffer, (bytes, bytearray)):
        raise ValueError("a pickle with an array of objects: not plain data")
    kind = dtype.numpy()
    count = int(np.prod(shape, dtype=np.int64))
    if not 0 <= count <= _MAX_ELEMENTS or count * kind.itemsize != len(buffer):
        raise ValueError(f"a pickle with {len(buffer)} bytes for an array of shape {shape}")
    flat = np.frombuffer(bytes(buffer), dtype=kind)
    return flat.reshape(shape, order="F" if order == "F" else "C")


def _scalar(dtype: _Dtype, buffer: bytes) -> np.ndarray:
    return _filled(buffer, dtype, (), "C")


def _plain(value: Any) -> Any:
    if isinstance(value, _Array):
        if value.value is None:
            raise ValueError("a pickle with an array that is never filled")
        return value.value
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item) for item in value)
    if isinstance(value, (_Name, _Dtype)):
        raise ValueError(f"a pickle with {value}: not plain data")
    return value


_LITERALS: Final = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    )
)
_CONSTANTS: Final[dict[str, Callable[[], Any]]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "MARK": lambda: _MARK,
}
_CALLS: Final[dict[str, Callable[..., Any]]] = {
    "numpy:_reconstruct": lambda kind, shape, code: _Array(),
    "numpy:_frombuffer": lambda buffer, dtype, shape, order: _filled(buffer, dtype, shape, order),
    "numpy:scalar": _scalar,
    "numpy:dtype": lambda code, align, copy: _Dtype(code),
    "_codecs:encode": lambda text, coding: text.encode("latin-1"),
}
_HANDLERS: Final[dict[str, Callable[[_Reader, Any], None]]] = {
    "GLOBAL": lambda reader, argument: reader.stack.append(_Name(*argument.split(" ", 1))),
    "STACK_GLOBAL": lambda reader, _: reader.stack.append(_Name(reader.stack.pop(-2), reader.stack.pop())),
    "REDUCE": _Reader.reduce,
    "BUILD": _Reader.build,
    "MEMOIZE": lambda reader, _: reader.memoize(len(reader.memo)),
    "PUT": lambda reader, index: reader.memoize(index),
    "BINPUT": lambda reader, index: reader.memoize(index),
    "LONG_BINPUT": lambda reader, index: reader.memoize(index),
    "GET": lambda reader, index: reader.stack.append(reader.memo[index]),
    "BINGET": lambda reader, index: reader.stack.append(reader.memo[index]),
    "LONG_BINGET": lambda reader, index: reader.stack.append(reader.memo[index]),
    "TUPLE": lambda reader, _: reader.stack.append(tuple(reader.pop_to_mark())),
    "TUPLE1": lambda reader, _: reader.tuple_of(1),
    "TUPLE2": lambda reader, _: reader.tuple_of(2),
    "TUPLE3": lambda reader, _: reader.tuple_of(3),
    "LIST": lambda reader, _: reader.stack.append(reader.pop_to_mark()),
    "APPEND": lambda reader, _: reader.append([reader.stack.pop()]),
    "APPENDS": lambda reader, _: reader.append(reader.pop_to_mark()),
    "DICT": lambda reader, _: reader.dict_of(reader.pop_to_mark()),
    "SETITEM": lambda reader, _: reader.set_items([reader.stack.pop(-2), reader.stack.pop()]),
    "SETITEMS": lambda reader, _: reader.set_items(reader.pop_to_mark()),
}
