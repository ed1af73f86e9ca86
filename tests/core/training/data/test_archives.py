"""Files of a folder, a tar and a zip, whole or damaged."""

from __future__ import annotations

import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from lotus_core.errors import CorruptSampleError, DatasetError
from lotus_core.training.data.archives import open_tree
from tests.core.evaluation.layouts import pack_tar, pack_zip

FILES = {"a.txt": b"first", "deep/er/b.bin": bytes(range(256)), "deep/c": b""}


@pytest.fixture
def folder(tmp_path):
    for name, data in FILES.items():
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "set"


@pytest.fixture(params=["folder", "tar", "tar with ./", "tar.gz", "zip"])
def tree(request, folder, tmp_path):
    if request.param == "folder":
        return open_tree(folder)
    if request.param == "zip":
        return open_tree(pack_zip(folder, tmp_path / "set.zip"))
    if request.param == "tar.gz":
        with tarfile.open(tmp_path / "set.tar.gz", "w:gz") as tar:
            tar.add(folder, ".")
        return open_tree(tmp_path / "set.tar.gz")
    prefix = "./" if "./" in request.param else ""
    return open_tree(pack_tar(folder, tmp_path / "set.tar", prefix))


def test_all_files_are_named_and_read(tree):
    assert tree.names() == sorted(FILES)
    assert {name: tree.read(name) for name in tree.names()} == FILES


def test_a_missing_file_is_named(tree):
    with pytest.raises(CorruptSampleError, match=r"nowhere\.png cannot be read") as caught:
        tree.read("nowhere.png")
    assert caught.value.path == tree.path / "nowhere.png"


def test_files_are_read_from_several_threads(tree):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(tree.read, sorted(FILES) * 20))
    assert found == [FILES[name] for name in sorted(FILES)] * 20


def test_a_damaged_member_of_a_zip_is_named(folder, tmp_path):
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as pack:
        pack.write(folder / "deep/er/b.bin", "b.bin")
    data = bytearray(archive.read_bytes())
    data[data.index(bytes(range(64)))] ^= 0xFF
    archive.write_bytes(data)
    with pytest.raises(CorruptSampleError, match=r"b\.bin cannot be read .*CRC"):
        open_tree(archive).read("b.bin")


def test_a_tar_that_ends_too_early_names_what_is_missing(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "big").write_bytes(b"x" * 100_000)
    archive = pack_tar(folder, tmp_path / "set.tar")
    archive.write_bytes(archive.read_bytes()[:50_000])
    with pytest.raises((CorruptSampleError, DatasetError), match="cannot be read"):
        open_tree(archive).read("big")


def test_nothing_there_is_said(tmp_path):
    with pytest.raises(DatasetError, match=r"there is no data set at .*gone: name its folder, tar or zip"):
        open_tree(tmp_path / "gone")


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "set.rar").write_bytes(b"Rar!")
    with pytest.raises(DatasetError, match="neither a folder nor a tar nor a zip"):
        open_tree(tmp_path / "set.rar")
