from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from lotus_core.errors import CorruptFileError, VerificationError
from lotus_core.loading.lock import LockRecord, lock_path, read_lock, sha256_of, verify, write_lock

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"""sha256 of the three bytes "abc": FIPS 180-2, appendix B.1."""


def record_of(path: Path, **changes: object) -> LockRecord:
    status = path.stat()
    record = LockRecord("jingheya/lotus-depth-d-v1-0", "a" * 40, "unet/x", 3, ABC, status.st_mtime_ns)
    return replace(record, **changes)  # pyright: ignore[reportArgumentType]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"abc")
    return path


def test_the_record_lies_beside_the_file() -> None:
    assert lock_path(Path("models/x.safetensors")) == Path("models/x.safetensors.lock.json")


def test_a_record_survives_writing_and_reading(weights: Path) -> None:
    record = record_of(weights)
    write_lock(weights, record)
    assert read_lock(weights) == record
    assert json.loads(lock_path(weights).read_text())["sha256"] == ABC
    assert not list(weights.parent.glob("*.tmp"))


def test_a_file_without_a_record_has_none(weights: Path) -> None:
    assert read_lock(weights) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        '{"repository": "a/b"}',
        '{"repository": "a/b", "commit": "c", "path": "p", "size": 3, "sha256": "short"}',
        '{"repository": "a/b", "commit": "c", "path": "p", "size": "3", "sha256": "' + ABC + '"}',
        '{"repository": "a/b", "commit": "c", "path": "p", "size": 3, "sha256": 5}',
        "[" * 5000,
    ],
)
def test_a_record_that_is_none_says_what_to_do(weights: Path, text: str) -> None:
    lock_path(weights).write_text(text)
    with pytest.raises(CorruptFileError, match=r"not a record of a fetched file .* delete it, and the file"):
        read_lock(weights)


def test_sha256_is_the_standards(weights: Path) -> None:
    assert sha256_of(weights) == ABC


def test_sha256_reads_in_pieces_and_tells_each(tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(bytes(5 * 2**20))
    told: list[int] = []
    assert sha256_of(path, on_bytes=told.append) == hashlib.sha256(bytes(5 * 2**20)).hexdigest()
    assert told == [4 * 2**20, 2**20]


def test_a_file_that_is_as_recorded_passes(weights: Path) -> None:
    verify(weights, record_of(weights))
    verify(weights, record_of(weights), content=True)


def test_another_size_is_found_at_once(weights: Path) -> None:
    with pytest.raises(
        VerificationError, match=r"found: 3 bytes in place of 4.*fetch it again after deleting"
    ):
        verify(weights, record_of(weights, size=4))


def test_content_changed_in_place_is_found_by_its_time(weights: Path) -> None:
    record = record_of(weights)
    weights.write_bytes(b"abd")
    os.utime(weights, ns=(0, (record.mtime_ns or 0) + 1))
    with pytest.raises(VerificationError, match=rf"sha256 .* in place of {ABC[:12]}"):
        verify(weights, record)


def test_an_unchanged_time_spares_the_hashing(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = record_of(weights)
    monkeypatch.setattr("lotus_core.loading.lock.sha256_of", lambda path: pytest.fail("hashed"))
    verify(weights, record)


def test_content_that_was_altered_under_the_same_time_is_found_when_asked_for(weights: Path) -> None:
    record = record_of(weights)
    weights.write_bytes(b"abd")
    os.utime(weights, ns=(record.mtime_ns or 0, record.mtime_ns or 0))
    verify(weights, record)
    with pytest.raises(VerificationError, match="is not the file that was recorded"):
        verify(weights, record, content=True)


def test_a_copied_file_is_hashed_once_and_its_record_brought_up_to_date(weights: Path) -> None:
    write_lock(weights, record_of(weights, mtime_ns=1))
    stored = read_lock(weights)
    assert stored is not None
    verify(weights, stored)
    updated = read_lock(weights)
    assert updated is not None
    assert updated.mtime_ns == weights.stat().st_mtime_ns


def test_the_hubs_cache_needs_no_record(tmp_path: Path) -> None:
    repository = tmp_path / "models--jingheya--lotus-depth-d-v1-0"
    (repository / "blobs").mkdir(parents=True)
    (repository / "blobs" / ABC).write_bytes(b"abc")
    file = repository / "snapshots" / ("c" * 40) / "unet" / "model.safetensors"
    file.parent.mkdir(parents=True)
    file.symlink_to(repository / "blobs" / ABC)
    record = read_lock(file)
    assert record == LockRecord(
        "jingheya/lotus-depth-d-v1-0", "c" * 40, "unet/model.safetensors", 3, ABC, None
    )
    verify(file, record, content=True)
    (repository / "blobs" / ABC).write_bytes(b"abd")
    with pytest.raises(VerificationError, match="is not the file that was recorded"):
        verify(file, record, content=True)


def test_a_small_file_of_the_cache_has_no_known_sha256(tmp_path: Path) -> None:
    repository = tmp_path / "models--a--b"
    blob = repository / "blobs" / ("d" * 40)
    file = repository / "snapshots" / ("c" * 40) / "config.json"
    for path in (blob, file):
        path.parent.mkdir(parents=True)
    blob.write_text("{}")
    file.symlink_to(blob)
    assert read_lock(file) is None
