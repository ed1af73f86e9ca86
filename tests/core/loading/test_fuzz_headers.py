"""Ten thousand damaged files: each is refused by one of our errors or read, in bounded memory."""

from __future__ import annotations

import json
import random
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lotus_core.errors import LotusError
from lotus_core.loading.detect import find_unet, find_vae
from lotus_core.loading.header import MAX_HEADER_BYTES, read_header
from lotus_core.loading.mapping import map_tensors

from .samples import MINI, WEIGHTS

CASES = 10_000
ALLOWANCE = 64 * 2**20

JUNK: tuple[object, ...] = (
    -1,
    0,
    1,
    2**31,
    2**63,
    2**64,
    10**30,
    1.5,
    None,
    True,
    "",
    "F16",
    [],
    {},
    [[]],
    [-1],
    [2**40] * 8,
)
TYPES = ("F64", "F32", "F16", "BF16", "F8_E4M3", "I64", "U8", "BOOL", "F4", "F31", "f16", "", "\x00")
NAMES = (
    "conv_in.weight",
    "input_blocks.0.0.weight",
    "input_blocks.999.0.op.weight",
    "input_blocks.99999999999999999999.0.op.weight",
    "model.diffusion_model.input_blocks.12.0.op.weight",
    "down_blocks.0.resnets.0.conv1.weight",
    "encoder.conv_in.weight",
    "decoder.conv_in.weight",
    "first_stage_model.encoder.conv_in.weight",
    "decoder.up.99.block.99.conv1.weight",
    "encoder.mid.attn_1.q.weight",
    "lora_unet_x.alpha",
    "__metadata__",
    "",
    "\ud83d\ude00" * 50,
)

Content = dict[str, object]


def well_formed(rng: random.Random) -> tuple[Content, bytes]:
    """Return a small header and its data."""
    header: Content = {}
    position = 0
    for _ in range(rng.randint(0, 6)):
        shape = [rng.randint(0, 4) for _ in range(rng.randint(0, 4))]
        size = 2
        for side in shape:
            size *= side
        header[rng.choice(NAMES) + str(rng.randint(0, 99))] = {
            "dtype": "F16",
            "shape": shape,
            "data_offsets": [position, position + size],
        }
        position += size
    # A key drawn twice leaves a gap: that damage is wanted too.
    return header, bytes(rng.getrandbits(8) for _ in range(position))


def damaged_field(rng: random.Random, header: Content, data: bytes) -> bytes:
    """Change one field of one tensor."""
    keys = [key for key in header if isinstance(header[key], dict)]
    if not keys:
        header["a"] = rng.choice(JUNK)
        return packed(header, data)
    entry = dict(header[rng.choice(keys)])  # type: ignore[call-overload]
    field = rng.choice(["dtype", "shape", "data_offsets", "extra"])
    if field == "dtype":
        entry["dtype"] = rng.choice(TYPES)
    elif field == "data_offsets":
        entry["data_offsets"] = [
            rng.choice([-1, 0, 1, 7, len(data), 2**62]) for _ in range(rng.randint(0, 3))
        ]
    elif field == "shape":
        entry["shape"] = [rng.choice([-1, 0, 1, 3, 2**31, 2**62]) for _ in range(rng.randint(0, 12))]
    else:
        entry[rng.choice(["shape", "extra", "dtype"])] = rng.choice(JUNK)
    header[rng.choice([*keys, "new"])] = entry
    return packed(header, data)


def damaged_text(rng: random.Random, header: Content, data: bytes) -> bytes:
    """Change, drop or repeat a stretch of the JSON."""
    text = bytearray(json.dumps(header).encode())
    start = rng.randrange(len(text))
    stop = min(len(text), start + rng.randint(1, 20))
    piece = bytes(text[start:stop])
    text[start:stop] = rng.choice(
        [b"", piece * 3, bytes(rng.getrandbits(8) for _ in piece), b'"', b"}", b"\x00"]
    )
    return len(text).to_bytes(8, "little") + bytes(text) + data


def damaged_length(rng: random.Random, header: Content, data: bytes) -> bytes:
    """State another length of the header."""
    whole = packed(header, data)
    length = rng.choice([0, 1, 7, len(whole) - 8, len(whole), 2**31, 2**63, 2**64 - 1, rng.randint(0, 600)])
    return length.to_bytes(8, "little") + whole[8:]


def cut_or_grown(rng: random.Random, header: Content, data: bytes) -> bytes:
    """Cut the file anywhere, or add bytes to it."""
    whole = packed(header, data)
    return whole[: rng.randint(0, len(whole))] if rng.random() < 0.8 else whole + bytes(rng.randint(1, 50))


def flipped(rng: random.Random, header: Content, data: bytes) -> bytes:
    """Flip a few bytes anywhere."""
    whole = bytearray(packed(header, data))
    for _ in range(rng.randint(1, 8)):
        whole[rng.randrange(len(whole))] = rng.getrandbits(8)
    return bytes(whole)


def repeated_keys(rng: random.Random, header: Content, data: bytes) -> bytes:
    """State a tensor twice in the JSON."""
    entries = [f"{json.dumps(key)}:{json.dumps(value)}" for key, value in header.items()]
    text = (
        "{" + ",".join([*entries, *rng.choices(entries, k=1)] if entries else ['"a":1', '"a":1']) + "}"
    ).encode()
    return len(text).to_bytes(8, "little") + text + data


def deep(rng: random.Random, header: Content, data: bytes) -> bytes:
    """Nest lists or objects many times."""
    depth = rng.choice([10, 500, 2000, 100_000])
    opening, closing = rng.choice([("[", "]"), ('{"a":', "}")])
    text = ('{"a":' + opening * depth + "1" + closing * (depth if rng.random() < 0.5 else 0) + "}").encode()
    return len(text).to_bytes(8, "little") + text + data


def packed(header: Content, data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


DAMAGES = (damaged_field, damaged_text, damaged_length, cut_or_grown, flipped, repeated_keys)


def mutants() -> Iterator[bytes]:
    """Yield every damaged file: small ones of every kind, some deep ones, and a real checkpoint's, cut and flipped."""
    rng = random.Random(20240918)
    real = (MINI["d"] / "vae" / WEIGHTS).read_bytes()
    head = 8 + int.from_bytes(real[:8], "little")
    for index in range(CASES):
        if index % 200 == 0:
            yield deep(rng, *well_formed(rng))
        elif index % 50 == 0:
            copy = bytearray(real)
            for _ in range(rng.randint(1, 4)):
                copy[rng.randrange(head)] = rng.getrandbits(8)
            yield bytes(copy[: rng.choice([len(copy), rng.randrange(len(copy))])])
        else:
            yield rng.choice(DAMAGES)(rng, *well_formed(rng))


def attempt(path: Path) -> str:
    """Read a file as far as it goes; return "read", or the name of our error."""
    try:
        header = read_header(path)
    except LotusError as error:
        return type(error).__name__
    map_tensors(header)
    for find in (find_unet, find_vae):
        with suppress(LotusError):
            find(header)
    return "read"


def test_every_damaged_file_is_refused_or_read_within_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(packed({}, b""))
    attempt(path)  # imports happen here, not within the measurement
    outcomes: dict[str, int] = {}
    tracemalloc.start()
    try:
        for content in mutants():
            path.unlink()  # a fresh file: the one before may still be mapped
            path.write_bytes(content)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            outcome = attempt(path)
            peak = tracemalloc.get_traced_memory()[1] - before
            assert peak <= len(content) + ALLOWANCE
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
    finally:
        tracemalloc.stop()
    assert sum(outcomes.values()) == CASES
    assert set(outcomes) == {"read", "CorruptFileError", "UnsafeFormatError"} - (
        set() if "UnsafeFormatError" in outcomes else {"UnsafeFormatError"}
    )
    assert outcomes["CorruptFileError"] > CASES // 2  # most damage is seen ...
    assert outcomes["read"] > CASES // 100  # ... and some is none: flipped data, a renamed tensor


WIDE = MAX_HEADER_BYTES - 64

WASTEFUL = {
    "objects": b'{"a":[' + b"{}," * (WIDE // 3) + b"{}]}",
    "lists": b'{"a":[' + b"[]," * (WIDE // 3) + b"[]]}",
    "just under the most values": b'{"a":[' + b"{}," * 83_000 + b"{}]}",
    "keys": b"{" + b",".join(b'"%d":{}' % i for i in range(80_000)) + b"}",
    "one long string": b'{"__metadata__":{"a":"' + b"x" * (WIDE - 40) + b'"}}',
    "one wide letter in a long string": b'{"__metadata__":{"a":"\xf0\x9f\x98\x80'
    + b"x" * (WIDE - 40)
    + b'"}}',
    "escapes": b'{"__metadata__":{"a":"' + b"\\u1234" * (WIDE // 6 - 40) + b'"}}',
    "digits": b'{"a":[' + b"9" * (WIDE - 40) + b"]}",
    "depth": b'{"a":' + b"[" * (WIDE - 40),
    "keys of one letter": b"{" + b'"a":1,' * 60_000 + b'"a":1}',
}


@pytest.mark.parametrize("text", WASTEFUL.values(), ids=WASTEFUL.keys())
def test_a_header_made_to_waste_memory_stays_within_the_bound(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "wasteful.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    tracemalloc.start()
    try:
        attempt(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= len(text) + ALLOWANCE


def test_a_header_that_claims_to_fill_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.safetensors"
    with path.open("wb") as file:
        file.write((2**40 - 8).to_bytes(8, "little") + b"{")
        file.truncate(2**40)  # a terabyte of holes
    tracemalloc.start()
    try:
        with pytest.raises(LotusError, match="longer than any Lotus checkpoint's"):
            read_header(path)
        assert tracemalloc.get_traced_memory()[1] < ALLOWANCE
    finally:
        tracemalloc.stop()
