import errno
from pathlib import Path

import fsspec
import pytest

from lotus_core.batch.storage import Store, reading
from lotus_core.errors import NoSpaceError, NotWritableError, StorageError


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path):
    if request.param == "local":
        yield Store(str(tmp_path / "out"))
        return
    yield Store(f"memory://{tmp_path.name}")
    fsspec.filesystem("memory").rm("/", recursive=True)


def test_what_is_written_is_read_back(store):
    store.write("a/b.bin", b"\x00\x01")
    assert store.read("a/b.bin") == b"\x00\x01"
    assert store.exists("a/b.bin")
    assert not store.exists("a/c.bin")


def test_writing_again_replaces(store):
    store.write("a", b"one")
    store.write("a", b"two")
    assert store.read("a") == b"two"


def test_names_are_those_of_a_folders_files(store):
    store.write("m/1.jsonl", b"")
    store.write("m/2.jsonl", b"")
    store.write("other", b"")
    assert store.names("m") == {"1.jsonl", "2.jsonl"}


def test_a_missing_folder_has_no_names(store):
    assert store.names("nothing") == set()


def test_a_file_appears_when_it_is_complete(store):
    with store.writing("a") as file:
        file.write(b"half")
        assert not store.exists("a")
    assert store.exists("a")


def test_an_error_leaves_no_file(store):
    with pytest.raises(ZeroDivisionError), store.writing("a") as file:
        file.write(bytes(1 // 0))
    assert not store.exists("a")
    assert store.names("") == set()


def test_a_missing_file_is_named(store):
    with pytest.raises(StorageError, match="nothing"):
        store.read("nothing")


def test_a_url_of_an_unknown_kind_is_refused():
    with pytest.raises(StorageError, match=r"ftpx://host/a cannot be opened .*check the URL"):
        Store("ftpx://host/a")


def test_a_relative_folder_is_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Store("out").url == str(tmp_path / "out")


@pytest.mark.parametrize(("url", "local"), [("memory://a", False), ("file:///tmp/a", True), ("a", True)])
def test_which_stores_are_on_this_machine(url, local):
    assert Store(url).local is local


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path, file_size_limit):
    store = Store(str(tmp_path / "out"))
    with file_size_limit(100), pytest.raises(NoSpaceError, match=r"the disk is full: .*a was not written"):
        store.write("a", bytes(1000))
    assert store.names("") == set()


def test_a_full_store_is_named(monkeypatch):
    store = Store("memory://full")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store._fs, "put_file", full)
    with pytest.raises(NoSpaceError):
        store.write("a", b"")


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(NotWritableError):
        Store(str(tmp_path / "out")).write("a/b", b"")


def test_sweeping_removes_what_a_killed_run_left_and_nothing_else(tmp_path):
    store = Store(str(tmp_path))
    store.write("shards/1.tar", b"whole")
    left = tmp_path / "shards" / ".2-0a1b2c3d.tar"
    left.write_bytes(b"half")
    deep = tmp_path / "shards" / "3" / ".x-00112233.png"
    deep.parent.mkdir()
    deep.write_bytes(b"half")
    kept = tmp_path / "shards" / ".keep"
    kept.write_bytes(b"")
    store.sweep("shards", "nothing")
    assert not left.exists()
    assert not deep.exists()
    assert kept.exists()
    assert store.read("shards/1.tar") == b"whole"


def test_reading_takes_paths_and_urls(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    for url in (str(path), f"file://{path}"):
        with reading(url) as file:
            assert file.read() == b"abc"
    fsspec.filesystem("memory").pipe("/r/a", b"xyz")
    with reading("memory://r/a") as file:
        assert file.read() == b"xyz"


def test_reading_nothing_is_a_file_error(tmp_path):
    with pytest.raises(FileNotFoundError), reading(str(tmp_path / "no")):
        pass


def test_reading_an_unknown_kind_of_url_is_refused():
    with pytest.raises(StorageError, match="check the URL"), reading("ftpx://a"):
        pass


def test_paths_in_errors_are_whole(tmp_path):
    with pytest.raises(StorageError, match=str(Path(tmp_path) / "out" / "a")):
        Store(str(tmp_path / "out")).read("a")
