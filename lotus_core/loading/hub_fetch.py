"""One file from the Hub to its final name: locked, resumed, verified, recorded, renamed, in this order."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from glob import escape
from pathlib import Path
from typing import Final

from ..errors import LotusError, NoSpaceError, VerificationError
from ..io.atomic import storage_error
from .hub_part import PART_SUFFIX, Meter, Wanted, download
from .hub_retry import TICK_S, Retries
from .lock import LockRecord, read_lock, sha256_of, write_lock

_log = logging.getLogger(__name__)

LOCK_FOLDER: Final = ".lotus"
"""Hidden folder beside the weights that holds the locks between processes."""


def require_space(wanted: list[Wanted]) -> None:
    """Check that each disk has room for what is still to come.

    Raises:
        NoSpaceError: A disk has not.
    """
    needed: dict[int, tuple[Path, int]] = {}
    for file in wanted:
        folder = file.target.parent
        device = folder.stat().st_dev
        needed[device] = (folder, needed.get(device, (folder, 0))[1] + file.bytes_left)
    for folder, missing in needed.values():
        free = shutil.disk_usage(folder).free
        if missing > free:
            raise NoSpaceError(
                f"the disk of {folder} is too full for {_megabytes(missing)}",
                found=f"{_megabytes(free)} free",
                remedy="free some space (`lotus models prune` lists what can go), or choose another folder",
            )


def fetch(wanted: Wanted, meter: Meter, retries: Retries) -> Path:
    """Bring one file under its final name, unless it is there already.

    Raises:
        DownloadError: It could not be fetched.
        VerificationError: The content is not what the Hub or an earlier record says.
        StorageError: It could not be written.
    """
    with _writing(wanted), _exclusively(wanted.target, meter.tick):
        if not _is_there(wanted):
            _require_pinned(wanted)
            _log.info(
                "Fetching %s (%s) to %s", wanted.listed.path, _megabytes(wanted.listed.size), wanted.target
            )
            sha256 = _complete(wanted, meter, retries)
            _publish(wanted, sha256)
        elif wanted.repin:
            _note_commit(wanted)
    meter.finish(wanted.listed.size)
    return wanted.target


def _is_there(wanted: Wanted) -> bool:
    if not wanted.target.is_file():
        return False
    if not wanted.repin or wanted.listed.sha256 is None:
        return not wanted.repin
    record = read_lock(wanted.target)
    return (sha256_of(wanted.target) if record is None else record.sha256) == wanted.listed.sha256


def _note_commit(wanted: Wanted) -> None:
    record = read_lock(wanted.target)
    if record is not None and wanted.recorded and record.commit != wanted.commit:
        write_lock(wanted.target, replace(record, commit=wanted.commit))  # the same content in another commit


def _require_pinned(wanted: Wanted) -> None:
    record = read_lock(wanted.target)
    if wanted.repin or record is None or wanted.listed.sha256 in (None, record.sha256):
        return
    raise VerificationError(
        f"{wanted.repository}/{wanted.listed.path} changed since it was first fetched",
        found=f"sha256 {str(wanted.listed.sha256)[:12]}... in place of {record.sha256[:12]}...",
        remedy=f"ask for revision {record.commit[:12]}, or delete {wanted.target.name}.lock.json to take the new one",
    )


def _complete(wanted: Wanted, meter: Meter, retries: Retries) -> str:
    """Download until the part holds the listed content; return its sha256."""
    resumed = wanted.part.is_file()
    sha256 = download(wanted, meter, retries)
    if sha256 is None and resumed:
        # The earlier bytes may be the bad ones (a disk fault, a crash before they were written): once from the start.
        wanted.part.unlink()
        sha256 = download(wanted, meter, retries)
    if sha256 is None:
        wanted.part.unlink()
        raise VerificationError(
            f"{wanted.repository}/{wanted.listed.path} arrived with another content than announced",
            found=f"a hash other than {wanted.listed.etag[:12]}... over {wanted.listed.size} bytes",
            remedy="try again; if it happens again, the server or a proxy alters files",
        )
    return sha256


def _publish(wanted: Wanted, sha256: str) -> None:
    # The record first: a crash between the two leaves a record without a file, which is harmless.
    if wanted.recorded:
        status = wanted.part.stat()
        write_lock(
            wanted.target,
            LockRecord(
                repository=wanted.repository,
                commit=wanted.commit,
                path=wanted.listed.path,
                size=status.st_size,
                sha256=sha256,
                mtime_ns=status.st_mtime_ns,
            ),
        )
    wanted.part.replace(wanted.target)
    for stale in wanted.target.parent.glob(f"{escape(wanted.target.name)}.*{PART_SUFFIX}"):
        stale.unlink(missing_ok=True)  # of another version of the same file


@contextmanager
def _exclusively(target: Path, tick: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of one file against other processes; the system frees it when a process dies."""
    from filelock import FileLock, Timeout

    folder = target.parent / LOCK_FOLDER
    folder.mkdir(exist_ok=True)
    lock = FileLock(folder / f"{target.name}.lock")
    waiting = False
    while not lock.is_locked:
        try:
            lock.acquire(timeout=TICK_S)
        except Timeout:
            if not waiting:
                _log.info("Another process is fetching %s: waiting for it.", target.name)
            waiting = True
            tick()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _writing(wanted: Wanted) -> Iterator[None]:
    """Turn what a disk refuses into this library's errors; a full disk gets the bytes of this file back."""
    try:
        try:
            yield
        except OSError as error:
            if error.errno is None or isinstance(error, LotusError):
                raise  # the errors of some clients are OSErrors too
            raise storage_error(error, wanted.target) from error
    except NoSpaceError:
        wanted.part.unlink(missing_ok=True)
        raise


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
