"""The record beside a fetched file: which repository and commit it came from, its size and its sha256.

A record is written before the file gets its final name, so a file that is there is a file that was verified.
For a file in the Hub's own cache nothing is written: there the name of the blob is the hash, and the name of the
snapshot is the commit.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from ..errors import CorruptFileError, VerificationError
from ..io.atomic import write_bytes

LOCK_SUFFIX: Final = ".lock.json"
CHUNK_BYTES: Final = 4 * 2**20

_MAX_RECORD_BYTES: Final = 2**16
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class LockRecord:
    """What a fetched file was when it was verified.

    Attributes:
        repository: Hub id it came from.
        commit: Commit of the repository.
        path: Its path inside the repository.
        size: Number of bytes.
        sha256: Hash of its content, 64 hexadecimal digits.
        mtime_ns: Modification time at which the content last had this hash, in nanoseconds; None if unknown.
            While it and the size stay the same, the content is not hashed again.
    """

    repository: str
    commit: str
    path: str
    size: int
    sha256: str
    mtime_ns: int | None = None


def lock_path(file: Path) -> Path:
    """Return where a file's record lies: beside it, under its name and ``.lock.json``."""
    return file.with_name(file.name + LOCK_SUFFIX)


def read_lock(file: Path) -> LockRecord | None:
    """Return the record of a file, whether or not the file itself is there; None if none was written.

    Raises:
        CorruptFileError: The record is not what this library writes.
    """
    path = lock_path(file)
    try:
        with path.open("rb") as stream:
            raw = stream.read(_MAX_RECORD_BYTES)
    except FileNotFoundError:
        return _cached_blob(file)
    try:
        record = LockRecord(**json.loads(raw))
        if not (isinstance(record.size, int) and _SHA256.fullmatch(record.sha256)):
            raise ValueError("size or sha256")
    except (ValueError, TypeError, RecursionError) as error:
        raise CorruptFileError(
            f"{path.name} is not a record of a fetched file",
            path=path,
            found=str(error)[:200],
            remedy="delete it, and the file is recorded anew",
        ) from error
    return record


def write_lock(file: Path, record: LockRecord) -> None:
    """Write the record of a file, whole or not at all.

    Raises:
        StorageError: The folder cannot be written.
    """
    write_bytes(lock_path(file), (json.dumps(asdict(record), indent=2) + "\n").encode())


def sha256_of(file: Path, *, on_bytes: Callable[[int], None] | None = None) -> str:
    """Return the sha256 of a file's content, 64 hexadecimal digits, reading it in pieces of 4 MB.

    Args:
        file: The file.
        on_bytes: Told the number of bytes of each piece; what it raises ends the reading.
    """
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while piece := stream.read(CHUNK_BYTES):
            digest.update(piece)
            if on_bytes is not None:
                on_bytes(len(piece))
    return digest.hexdigest()


def verify(file: Path, record: LockRecord, *, content: bool = False) -> None:
    """Check a file against its record.

    The size is always compared. The content is hashed when it is asked for, and whenever the file was modified
    since it was last hashed; a record that holds is brought up to date.

    Raises:
        VerificationError: Size or content differ.
    """
    status = file.stat()
    if status.st_size != record.size:
        raise VerificationError(
            f"{file.name} is not the file that was recorded",
            found=f"{status.st_size} bytes in place of {record.size}",
            remedy=_remedy(file),
        )
    if not content and (record.mtime_ns is None or record.mtime_ns == status.st_mtime_ns):
        return
    found = sha256_of(file)
    if found != record.sha256:
        raise VerificationError(
            f"{file.name} is not the file that was recorded",
            found=f"sha256 {found[:12]}... in place of {record.sha256[:12]}...",
            remedy=_remedy(file),
        )
    if record.mtime_ns != status.st_mtime_ns and lock_path(file).is_file():
        # A folder that may not be written costs another hashing the next time, and nothing else.
        with contextlib.suppress(OSError):
            write_lock(file, replace(record, mtime_ns=status.st_mtime_ns))


def _remedy(file: Path) -> str:
    return f"fetch it again after deleting {file}, or delete {lock_path(file).name} if the change was meant"


def _cached_blob(file: Path) -> LockRecord | None:
    """Read a record off the Hub cache's layout, ``models--owner--name/snapshots/<commit>/<path>``."""
    parts = file.parts
    if "snapshots" not in parts or not file.is_file():
        return None
    index = len(parts) - 1 - parts[::-1].index("snapshots")
    blob = file.resolve().name
    if index < 1 or index + 2 >= len(parts) or not _SHA256.fullmatch(blob):
        return None  # a small file, or a system without symlinks: the cache knows no sha256 of it
    repository = parts[index - 1].removeprefix("models--").replace("--", "/")
    path = "/".join(parts[index + 2 :])
    return LockRecord(repository, parts[index + 1], path, file.stat().st_size, blob)
