"""Streaming safetensors files."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lotus_core.errors import NonFiniteError, NoSpaceError, NotWritableError
from lotus_core.loading.header import read_header
from lotus_core.loading.writer import PlannedTensor, write_safetensors


def planned(key: str, values: torch.Tensor, dtype: str) -> PlannedTensor:
    return PlannedTensor(key, dtype, tuple(values.shape), lambda: values)


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


def test_the_file_is_byte_for_byte_what_the_safetensors_library_writes(tmp_path: Path) -> None:
    tensors = {
        "b": numbers(3, 4),
        "a": numbers(5).half(),
        "c": numbers(2, 2).double(),
        "none": torch.zeros(0, 3),
    }
    save_file(tensors, tmp_path / "theirs.safetensors", metadata={"format": "pt"})
    names = {torch.float32: "F32", torch.float16: "F16", torch.float64: "F64"}
    ours = [planned(key, values, names[values.dtype]) for key, values in tensors.items()]
    write_safetensors(tmp_path / "ours.safetensors", ours, {"format": "pt"})
    assert (tmp_path / "ours.safetensors").read_bytes() == (tmp_path / "theirs.safetensors").read_bytes()


def test_the_same_tensors_in_another_order_give_the_same_bytes(tmp_path: Path) -> None:
    tensors = [planned("b", numbers(3), "F32"), planned("a", numbers(4), "F16")]
    write_safetensors(tmp_path / "1.sft", tensors, {"x": "1", "y": "2"})
    write_safetensors(tmp_path / "2.sft", tensors[::-1], {"y": "2", "x": "1"})
    assert (tmp_path / "1.sft").read_bytes() == (tmp_path / "2.sft").read_bytes()


@pytest.mark.parametrize(
    ("name", "dtype"), [("F32", torch.float32), ("F16", torch.float16), ("BF16", torch.bfloat16)]
)
def test_values_are_rounded_as_torch_rounds_them(tmp_path: Path, name: str, dtype: torch.dtype) -> None:
    values = numbers(100, 7)
    write_safetensors(tmp_path / "x.safetensors", [planned("a", values, name)], {})
    assert torch.equal(load_file(tmp_path / "x.safetensors")["a"], values.to(dtype))


def test_a_tensor_of_many_chunks_is_whole(tmp_path: Path) -> None:
    values = torch.arange(4 * 2**20 + 3, dtype=torch.int32).view(torch.float32)
    write_safetensors(tmp_path / "x.safetensors", [planned("a", values, "F32")], {})
    assert torch.equal(load_file(tmp_path / "x.safetensors")["a"].view(torch.int32), values.view(torch.int32))


def test_eight_bit_values_are_written_as_they_are(tmp_path: Path) -> None:
    values = numbers(9).to(torch.float8_e4m3fn)
    write_safetensors(tmp_path / "x.safetensors", [planned("a", values, "F8_E4M3")], {})
    assert torch.equal(load_file(tmp_path / "x.safetensors")["a"].view(torch.uint8), values.view(torch.uint8))


def test_the_header_is_accepted_by_our_own_reader_and_aligned(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_safetensors(path, [planned("schlüssel", numbers(2, 3), "F16")], {"lotus.output": "normal"})
    header = read_header(path)
    assert header.shapes == {"schlüssel": (2, 3)}
    assert dict(header.metadata) == {"lotus.output": "normal"}
    assert header.tensors["schlüssel"].start % 8 == 0


def test_a_value_too_large_for_fp16_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    tensors = [planned("good", numbers(4), "F16"), planned("big", torch.tensor([1.0, -7e4]), "F16")]
    with pytest.raises(NonFiniteError, match="the tensor big does not fit fp16") as caught:
        write_safetensors(tmp_path / "x.safetensors", tensors, {})
    assert "values up to 70000, fp16 holds 65504" in str(caught.value)
    assert "convert to bf16 or fp32" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_infinity_that_was_there_before_stays(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "x.sft", [planned("a", torch.tensor([float("-inf")]), "F16")], {})
    assert load_file(tmp_path / "x.sft")["a"].item() == float("-inf")


def test_too_little_space_is_seen_before_the_first_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")(100, 90, 10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(NoSpaceError, match=r"too full for 4 MiB.*0 MiB free"):
        write_safetensors(tmp_path / "x.safetensors", [planned("a", torch.zeros(2**20), "F32")], {})
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_while_writing_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"before")

    def full() -> torch.Tensor:
        raise OSError(28, "No space left on device")

    tensors = [planned("a", numbers(4), "F32"), PlannedTensor("b", "F32", (4,), full)]
    with pytest.raises(NoSpaceError, match="the disk is full"):
        write_safetensors(path, tensors, {})
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotWritableError, match="cannot be written"):
        write_safetensors(tmp_path / "file" / "x.safetensors", [], {})


def test_progress_ends_at_the_size_of_the_file(tmp_path: Path) -> None:
    path, seen = tmp_path / "x.safetensors", []
    tensors = [planned("a", numbers(4), "F32"), planned("b", numbers(2, 2), "F16")]
    write_safetensors(path, tensors, {}, progress=lambda *counts: seen.append(counts))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (path.stat().st_size, path.stat().st_size)


def test_an_empty_file_is_well_formed(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "x.safetensors", [], {})
    assert json.loads((tmp_path / "x.safetensors").read_bytes()[8:]) == {}
    assert read_header(tmp_path / "x.safetensors").shapes == {}
