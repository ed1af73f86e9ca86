"""Tensors that are pages of their file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lotus_core.errors import CorruptFileError
from lotus_core.loading.header import read_header
from lotus_core.loading.mapping import map_tensors
from lotus_core.loading.modules import build_unet
from lotus_core.loading.networks import read_unet

from .samples import MINI, WEIGHTS, raw_file, sd2_shapes, sparse_file

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def mapped_ranges(path: Path) -> list[range]:
    """Addresses at which this process has a file mapped."""
    ranges = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(str(path)):
            start, stop = line.split()[0].split("-")
            ranges.append(range(int(start, 16), int(stop, 16)))
    return ranges


def resident_bytes() -> int:
    """Memory of this process that belongs to no file: a mapped page is not counted."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no RssAnon")


def test_values_are_those_of_the_safetensors_library() -> None:
    path = MINI["g"] / "unet" / WEIGHTS
    expected = load_file(path)
    tensors = map_tensors(read_header(path))
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[key], expected[key]) for key in expected)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}


@linux
def test_every_weight_of_a_built_unet_lies_inside_the_mapped_file() -> None:
    path = (MINI["d"] / "unet" / WEIGHTS).resolve()
    unet = build_unet(read_unet(path))
    ranges = mapped_ranges(path)
    for name, weight in unet.named_parameters():
        first, last = weight.data_ptr(), weight.data_ptr() + weight.nbytes - 1
        assert any(first in mapped and last in mapped for mapped in ranges), name


@linux
def test_a_full_size_unet_takes_no_second_copy_in_memory(tmp_path: Path) -> None:
    path = sparse_file(tmp_path / "full.safetensors", sd2_shapes("d"))
    build_unet(read_unet(path))  # what a first build allocates for good is not counted
    before = resident_bytes()
    unet = build_unet(read_unet(path))
    weights = sum(weight.nbytes for weight in unet.parameters())
    assert weights == 2 * 867_556_804
    assert resident_bytes() - before < 64 * 2**20  # module objects, no weights
    assert path.stat().st_blocks * 512 < 2**20  # nor has the test written 1.7 GB


def test_changing_a_tensor_leaves_the_file_as_it_is(tmp_path: Path) -> None:
    header = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    path = raw_file(tmp_path / "x.safetensors", header, bytes(8))
    tensor = map_tensors(read_header(path))["a"]
    tensor.fill_(7)
    assert path.read_bytes()[-8:] == bytes(8)


@pytest.mark.parametrize("pad", range(8))
def test_data_at_any_address_is_read_right(tmp_path: Path, pad: int) -> None:
    text = '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    values = torch.tensor([1.5, -2.0])
    path = raw_file(tmp_path / "x.safetensors", text + " " * pad, values.numpy().tobytes())
    assert torch.equal(map_tensors(read_header(path))["a"] * 2, values * 2)


def test_a_file_that_changed_since_its_header_was_read_is_refused(tmp_path: Path) -> None:
    header = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    path = raw_file(tmp_path / "x.safetensors", header, bytes(8))
    read = read_header(path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(CorruptFileError, match=r"x\.safetensors cannot be mapped"):
        map_tensors(read)
