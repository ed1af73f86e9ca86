"""The bounded parser of safetensors headers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors import safe_open

from lotus_core.errors import CorruptFileError, StorageError, UnknownModelError
from lotus_core.loading.header import ITEM_BITS, MAX_HEADER_BYTES, TensorEntry, read_header

from .samples import MINI, WEIGHTS, raw_file

TWO = {
    "__metadata__": {"format": "pt"},
    "b": {"dtype": "F16", "shape": [2, 3], "data_offsets": [4, 16]},
    "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
}


def one(dtype: object = "F32", shape: object = (1,), offsets: object = (0, 4)) -> dict[str, object]:
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


def test_entries_carry_type_shape_and_absolute_place(tmp_path: Path) -> None:
    path = raw_file(tmp_path / "two.safetensors", TWO, bytes(16))
    start = 8 + len(json.dumps(TWO))
    header = read_header(path)
    assert header.path == path
    assert dict(header.metadata) == {"format": "pt"}
    assert dict(header.tensors) == {
        "b": TensorEntry("F16", (2, 3), start + 4, start + 16),
        "a": TensorEntry("F32", (1,), start, start + 4),
    }
    assert header.shapes == {"b": (2, 3), "a": (1,)}


@pytest.mark.parametrize("part", ["unet", "vae"])
def test_agrees_with_the_safetensors_library_on_a_real_file(part: str) -> None:
    path = MINI["g"] / part / WEIGHTS
    header = read_header(path)
    with safe_open(path, framework="np") as file:
        assert set(file.keys()) == set(header.tensors)
        assert file.metadata() == dict(header.metadata)
        for key in file.keys():  # noqa: SIM118 (not a dict)
            kept = file.get_slice(key)
            assert (kept.get_dtype(), tuple(kept.get_shape())) == (
                header.tensors[key].dtype,
                header.tensors[key].shape,
            )


def test_scalars_and_empty_tensors_are_well_formed(tmp_path: Path) -> None:
    header = one(shape=[]) | {"none": {"dtype": "F16", "shape": [0, 7], "data_offsets": [4, 4]}}
    assert read_header(raw_file(tmp_path / "x.sft", header, bytes(4))).shapes == {"a": (), "none": (0, 7)}


def test_padding_after_the_json_is_well_formed(tmp_path: Path) -> None:
    text = json.dumps(one()).encode() + b"   "
    assert read_header(raw_file(tmp_path / "x.safetensors", text, bytes(4))).shapes == {"a": (1,)}


def test_types_of_every_width_are_known() -> None:
    assert {ITEM_BITS["F32"], ITEM_BITS["BF16"], ITEM_BITS["F8_E4M3"], ITEM_BITS["I64"]} == {32, 16, 8, 64}


BAD_HEADERS = {
    "an unknown type": (one(dtype="F12"), "tensor a of unknown type F12"),
    "a type that is no text": (one(dtype=7), "of unknown type 7"),
    "a negative side": (one(shape=[-1]), "impossible shape"),
    "a fractional side": ('{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}', "the number 1.5"),
    "a truth value as side": (one(shape=[True]), "impossible shape"),
    "a huge side": (one(shape=[2**31, 0], offsets=[0, 0]), "impossible shape"),
    "many sides": (one(shape=[1] * 9), "impossible shape"),
    "a huge product": (one(shape=[2**30] * 8), "tensor a of 4 bytes, F32"),
    "a number of many digits": (
        '{"a":{"dtype":"F32","shape":[' + "9" * 5000 + '],"data_offsets":[0,4]}}',
        "a number of 5000 digits",
    ),
    "not a number": ('{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}', "the number NaN"),
    "reversed offsets": (one(offsets=[4, 0]), "impossible offsets"),
    "three offsets": (one(offsets=[0, 2, 4]), "impossible offsets"),
    "a length that does not match": (one(shape=[2]), "tensor a of 4 bytes, F32 [2] takes 8"),
    "an extra field": ({"a": {**one()["a"], "x": 1}}, "without exactly dtype, shape and data_offsets"),  # type: ignore[dict-item]
    "a tensor that is a list": ({"a": [1, 2]}, "without exactly dtype"),
    "metadata of numbers": ({"__metadata__": {"step": 3}, **one()}, "metadata that is not a map of strings"),
    "the same key twice": (
        '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        "the key a twice",
    ),
    "the same field twice": (
        '{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        "the key dtype twice",
    ),
    "JSON cut in the middle": ('{"a":{"dtype":"F32"', "not JSON"),
    "bytes that are no UTF-8": (b'{"\xff\xfe":1}', "not JSON"),
    "a control character": ('{"a\x01":1}', "not JSON"),
    "nested lists": ('{"a":' + "[" * 50_000 + "]" * 50_000 + "}", "nested too deeply"),
    "more values than any model has": ('{"a":[' + "0," * 300_000 + "0]}", "at most 250000 are read"),
    "a gap": (one(offsets=[4, 8]), "tensor a leaves a gap before it"),
    "a tail": ({}, "too long: 4 bytes of data, the header describes 0"),
}


@pytest.mark.parametrize(("header", "found"), BAD_HEADERS.values(), ids=BAD_HEADERS.keys())
def test_a_malformed_header_is_refused_and_named(tmp_path: Path, header: str, found: str) -> None:
    path = raw_file(tmp_path / "bad.safetensors", header, bytes(4))
    with pytest.raises(CorruptFileError, match="not a well-formed safetensors file") as caught:
        read_header(path)
    assert found in str(caught.value.found)
    assert caught.value.path == path
    assert "fetch it again" in str(caught.value)


def test_overlapping_tensors_are_refused(tmp_path: Path) -> None:
    header = {
        "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
    }
    with pytest.raises(CorruptFileError, match="tensor b overlaps another tensor"):
        read_header(raw_file(tmp_path / "x.safetensors", header, bytes(12)))


def test_data_cut_short_is_told_in_bytes(tmp_path: Path) -> None:
    header = {"a": {"dtype": "F32", "shape": [100], "data_offsets": [0, 400]}}
    with pytest.raises(CorruptFileError, match="cut short: 60 bytes of data, the header describes 400"):
        read_header(raw_file(tmp_path / "x.safetensors", header, bytes(60)))


def test_a_header_longer_than_any_checkpoints_is_not_read(tmp_path: Path) -> None:
    path = raw_file(tmp_path / "x.safetensors", "{", length=MAX_HEADER_BYTES + 1)
    with path.open("r+b") as file:
        file.truncate(2 * MAX_HEADER_BYTES)
    with pytest.raises(CorruptFileError, match=f"{MAX_HEADER_BYTES + 1} bytes, at most {MAX_HEADER_BYTES}"):
        read_header(path)


def test_a_hostile_name_is_quoted_and_shortened(tmp_path: Path) -> None:
    name = "\x1b[31m" + "x" * 500
    with pytest.raises(CorruptFileError) as caught:
        read_header(raw_file(tmp_path / "x.safetensors", {name: []}))
    assert "\x1b" not in str(caught.value)
    assert r"\x1b[31m" in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_missing_file_is_unknown(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match="there is no such file; check the path"):
        read_header(tmp_path / "none.safetensors")


def test_a_folder_cannot_be_read_as_a_file(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        read_header(tmp_path)


def test_what_was_read_cannot_be_changed(tmp_path: Path) -> None:
    header = read_header(raw_file(tmp_path / "x.safetensors", one(), bytes(4)))
    with pytest.raises(TypeError):
        header.tensors["b"] = header.tensors["a"]  # type: ignore[index]
