from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from lotus_core.errors import NoSpaceError, NotWritableError, StorageError
from lotus_core.io.atomic import replacing, require_writable, storage_error, write_bytes


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_the_file_appears_only_when_the_block_has_ended(tmp_path):
    target = tmp_path / "a.ply"
    with replacing(target) as temporary:
        temporary.write_bytes(b"whole")
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    assert names(tmp_path) == ["a.ply"]


def test_the_temporary_name_lies_beside_the_file_and_keeps_its_suffix(tmp_path):
    with replacing(tmp_path / "mesh.glb") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".glb"
        temporary.touch()


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    target = write_bytes(tmp_path / "a.bin", b"old")

    def half_way():
        with replacing(target) as temporary:
            temporary.write_bytes(b"new, but ha")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half_way()
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_missing_folders_are_made(tmp_path):
    assert write_bytes(tmp_path / "one" / "two" / "a.bin", b"x").read_bytes() == b"x"


def test_a_full_disk_is_told_from_other_failures_and_leaves_the_old_file(tmp_path, monkeypatch):
    target = write_bytes(tmp_path / "a.bin", b"old")

    def full(self, data):
        with Path.open(self, "wb") as stream:
            stream.write(data[:2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(NoSpaceError, match=r"the disk is full: .*a\.bin was not written .*free some space"):
        write_bytes(target, b"new")
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the kernel's device that is always full")
def test_a_device_that_is_really_full_is_reported_as_such(tmp_path):
    def write():
        with replacing(tmp_path / "a.bin"):
            Path("/dev/full").write_bytes(b"x" * 100)

    with pytest.raises(NoSpaceError):
        write()


def test_a_folder_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotWritableError, match="choose a folder that you may write to"):
        write_bytes(tmp_path / "file" / "a.bin", b"x")


def test_a_folder_in_the_files_place_is_refused(tmp_path):
    (tmp_path / "a.bin").mkdir()
    with pytest.raises(NotWritableError, match="taken by a folder"):
        write_bytes(tmp_path / "a.bin", b"x")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(NotWritableError):
            write_bytes(tmp_path / "a.bin", b"x")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENOSPC, NoSpaceError),
        (errno.EFBIG, NoSpaceError),
        (errno.EACCES, NotWritableError),
        (errno.EROFS, NotWritableError),
        (errno.EIO, StorageError),
    ],
)
def test_each_failure_of_the_disk_has_its_error(code, kind):
    error = storage_error(OSError(code, os.strerror(code)), Path("a.bin"))
    assert type(error) is kind
    assert os.strerror(code) in str(error)
    assert isinstance(error, OSError)


def test_a_folder_for_results_is_made_and_left_empty(tmp_path):
    require_writable(tmp_path / "new" / "deep")
    assert names(tmp_path / "new" / "deep") == []


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "taken").write_text("here")
    with pytest.raises(NotWritableError, match="taken cannot be written"):
        require_writable(tmp_path / "taken")
