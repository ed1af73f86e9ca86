"""Files that are not safetensors."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path

import pytest

from lotus_core.errors import CorruptFileError, StorageError, UnsafeFormatError
from lotus_core.loading.foreign import PICKLE_SUFFIXES
from lotus_core.loading.header import read_header

from .samples import MINI, WEIGHTS


class Explosive:
    """Unpickling this writes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("suffix", [*PICKLE_SUFFIXES, ".CKPT"])
def test_a_pickles_extension_is_refused_with_the_reason(tmp_path: Path, suffix: str) -> None:
    mark = tmp_path / "exploded"
    path = tmp_path / f"lotus-depth{suffix}"
    path.write_bytes(pickle.dumps(Explosive(mark)))
    with pytest.raises(UnsafeFormatError, match=r"reading a pickle can run any code.*\.safetensors version"):
        read_header(path)
    assert not mark.exists()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_renamed_pickle_is_recognised_and_not_opened(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "exploded"
    path = tmp_path / "lotus-depth.safetensors"
    path.write_bytes(pickle.dumps(Explosive(mark), protocol=protocol))
    with pytest.raises(UnsafeFormatError, match="a pickle under another extension"):
        read_header(path)
    assert not mark.exists()


def test_a_renamed_torch_archive_is_recognised(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"x")
    path = tmp_path / "model.safetensors"
    path.write_bytes(buffer.getvalue())
    with pytest.raises(UnsafeFormatError, match=r"a zip archive, as torch\.save writes it"):
        read_header(path)


def test_a_header_whose_length_looks_like_a_pickle_is_read(tmp_path: Path) -> None:
    # 0x0280 = 640 bytes: in little endian the file begins with 80 02, a pickle's first bytes.
    path = tmp_path / "model.safetensors"
    path.write_bytes((0x0280).to_bytes(8, "little") + b"{}".ljust(640))
    assert path.read_bytes()[:2] == pickle.dumps(None, protocol=2)[:2]
    assert read_header(path).shapes == {}


FOREIGN = {
    "nothing": (b"", "an empty file", "a download failed"),
    "a web page": (b"<!DOCTYPE html><html>", "a web page", "the link led to a page, not to the file"),
    "a page without a doctype": (b"\n<html><body>", "a web page", "the link led to a page"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer", "git lfs pull"),
    "a GGUF": (b"GGUF\x03\x00\x00\x00\x01\x00", "a GGUF file", ".safetensors version"),
    "noise": (bytes(range(200, 240)), "40 bytes that begin with c8 c9", "fetch it again"),
    "a few bytes": (b"\x01\x02", "2 bytes that begin with 01 02", "fetch it again"),
    "a length alone": ((100).to_bytes(8, "little"), "8 bytes that begin with 64 00", "fetch it again"),
    "a list": ((2).to_bytes(8, "little") + b"[]", "10 bytes that begin with 02", "fetch it again"),
}


@pytest.mark.parametrize(("content", "found", "remedy"), FOREIGN.values(), ids=FOREIGN.keys())
def test_what_the_file_really_is_is_said(tmp_path: Path, content: bytes, found: str, remedy: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"model\.safetensors is not a safetensors file") as caught:
        read_header(path)
    assert found in str(caught.value)
    assert remedy in str(caught.value)


def test_a_file_cut_inside_its_header_says_how_much_is_missing(tmp_path: Path) -> None:
    whole = (MINI["d"] / "unet" / WEIGHTS).read_bytes()
    length = int.from_bytes(whole[:8], "little")
    path = tmp_path / "cut.safetensors"
    path.write_bytes(whole[:5000])
    with pytest.raises(CorruptFileError, match=f"5000 bytes, its header alone takes {length + 8}"):
        read_header(path)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_a_file_without_read_permission_says_so(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"x")
    path.chmod(0)
    with pytest.raises(StorageError, match="check its permissions"):
        read_header(path)
