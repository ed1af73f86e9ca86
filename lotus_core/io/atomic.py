"""Files that appear whole or not at all.

A file is written beside its place under a temporary name and renamed when it is complete, so that a reader
never meets half of one and a failed write leaves what was there before.
"""

from __future__ import annotations

import errno
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import NoSpaceError, NotWritableError, StorageError

_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG}


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path that becomes ``path`` when the block ends without an error.

    The folder is made when it is missing. The temporary name keeps the suffix, for libraries that choose a
    format by it.

    Args:
        path: The file to write.

    Yields:
        A path in the same folder that nothing else uses.

    Raises:
        NoSpaceError: The disk or the user's quota is full.
        NotWritableError: The folder or the file cannot be written.
        StorageError: Any other failure of the disk.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.stem}-{uuid.uuid4().hex[:8]}{target.suffix}")
    try:
        if target.is_dir():
            raise NotWritableError(
                "the place of a file is taken by a folder",
                found=str(target),
                remedy="choose another file name",
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, target)  # noqa: PTH105 (atomic on every system, also over a file)
    except StorageError:
        raise
    except OSError as error:
        raise storage_error(error, target) from error
    finally:
        with suppress(OSError):  # what stopped the write may stop this too; the first error says why
            temporary.unlink(missing_ok=True)


def write_bytes(path: str | Path, data: bytes) -> Path:
    """Write a whole file and return its path.

    Raises:
        NoSpaceError: The disk or the user's quota is full.
        NotWritableError: The folder or the file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return Path(path)


def require_writable(folder: Path) -> None:
    """Make a folder for results and try it, before minutes of computing.

    Raises:
        StorageError: It cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise storage_error(error, folder) from error


def storage_error(error: OSError, path: Path) -> StorageError:
    """Return our error for an operating system's one about ``path``."""
    reason = error.strerror or str(error)
    if error.errno in _FULL:
        return NoSpaceError(
            f"the disk is full: {path} was not written",
            found=reason,
            remedy="free some space, or write to another disk",
        )
    if error.errno in _REFUSED:
        return NotWritableError(
            f"{path} cannot be written", found=reason, remedy="choose a folder that you may write to"
        )
    return StorageError(f"{path} was not written", found=reason, remedy="check the disk, then try again")
