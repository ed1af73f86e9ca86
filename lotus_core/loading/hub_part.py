"""The bytes of one file as they come in: kept across cuts, hashed on the way."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from ..errors import DownloadError
from .hub_errors import Failure, explain
from .hub_retry import Patience, Progress, Retries
from .hub_session import ListedFile, open_file
from .lock import CHUNK_BYTES

PART_SUFFIX: Final = ".part"


@dataclass(frozen=True)
class Wanted:
    """A file to fetch.

    Attributes:
        repository: Hub id.
        commit: Commit of the repository.
        listed: What the Hub says of the file.
        target: Its final name.
        recorded: Whether a record is written beside it; not in the Hub's own cache, whose names say the same.
        asked: Revision that was asked for: a commit, tag or branch.
        repin: Whether the user asked for this revision: then it takes the place of another content and record.
    """

    repository: str
    commit: str
    listed: ListedFile
    target: Path
    recorded: bool = True
    asked: str = "main"
    repin: bool = False

    @property
    def part(self) -> Path:
        """Where the bytes that came so far are kept: the name says of which content they are."""
        return self.target.with_name(f"{self.target.name}.{self.listed.etag[:12]}{PART_SUFFIX}")

    @property
    def bytes_left(self) -> int:
        """Number of bytes that are not yet on this disk."""
        if self.target.is_file() and not self.repin:
            return 0
        here = self.part.stat().st_size if self.part.is_file() else 0
        return max(self.listed.size - here, 0)


class Meter:
    """Adds up the bytes of several files for one progress callback.

    Args:
        progress: Told (bytes done, bytes in all); None to tell nobody.
        total: Bytes in all.
    """

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._before = 0
        self._here = 0
        self._told_at = 0.0

    def tick(self, *, always: bool = False) -> None:
        """Tell the present state, ten times a second at most; a caller can cancel also while nothing comes in."""
        now = time.monotonic()
        if self._progress is not None and (always or now - self._told_at > 0.1):
            self._told_at = now
            self._progress(min(self._before + self._here, self._total), self._total)

    def at(self, position: int) -> None:
        """Note the position inside the current file."""
        self._here = position
        self.tick()

    def finish(self, size: int) -> None:
        """Note that the current file is complete."""
        self._before += size
        self._here = 0
        self.tick(always=True)


def download(wanted: Wanted, meter: Meter, retries: Retries) -> str | None:
    """Append what is missing to the part.

    Returns:
        The sha256 of the whole content, or None if it is not the listed one.

    Raises:
        DownloadError: Not all of it could be had; what came stays in the part.
        OSError: It could not be written.
    """
    patience = Patience(retries, meter.tick)
    with _open_part(wanted.part) as part:
        digest = _Digest(wanted.listed)
        while piece := part.read(CHUNK_BYTES):
            digest.update(piece)
            meter.at(digest.count)
        while digest.count < wanted.listed.size:
            digest = _append(wanted, part, digest, meter, patience)
        if digest.count > wanted.listed.size:
            return None
        part.flush()
        os.fsync(part.fileno())  # or a power cut could leave a hole under the final name
    return digest.sha256 if digest.agrees() else None


def _append(wanted: Wanted, part: BinaryIO, digest: _Digest, meter: Meter, patience: Patience) -> _Digest:
    """Read one response to its end, or to a cut; return the digest of what is in the part then."""
    lost = None
    try:
        with closing(_arriving(wanted, digest.count)) as pieces:
            for start, piece in pieces:
                if start != digest.count:
                    digest = _rewind(wanted, part, start)
                part.write(piece)
                digest.update(piece)
                patience.came(digest.count)
                meter.at(digest.count)
                if digest.count > wanted.listed.size:
                    break
    except _LostError as error:
        lost = error
    part.flush()
    if digest.count < wanted.listed.size:
        failure = _ended_early(wanted, digest.count) if lost is None else lost.failure
        patience.after(failure, lost)
    return digest


class _LostError(Exception):
    """The network failed; what happens next is not for the reader of the pieces to say."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure.error))
        self.failure = failure


def _arriving(wanted: Wanted, start: int) -> Generator[tuple[int, bytes], None, None]:
    """Yield pieces of the file with the position of each, from byte ``start`` on, or from 0 where the server wants so.

    Only what the network raises becomes a `_LostError`: what the caller raises between two pieces passes unchanged.
    """
    with ExitStack() as stack:
        with _network(wanted):
            body = stack.enter_context(open_file(wanted.repository, wanted.listed.path, wanted.commit, start))
        position = body.start
        while True:
            with _network(wanted, position):
                piece = next(body.pieces, None)
            if piece is None:
                return
            yield position, piece
            position += len(piece)


@contextmanager
def _network(wanted: Wanted, position: int | None = None) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # told apart by `explain`, and raised again if unknown
        failure = explain(error, wanted.listed.path, wanted.repository)
        if failure is None:
            raise
        if failure.kind == "unreachable" and position is not None:
            failure = _ended_early(wanted, position)  # there was a connection: it may well come back
        raise _LostError(failure) from error


def _rewind(wanted: Wanted, part: BinaryIO, start: int) -> _Digest:
    if start != 0:
        raise DownloadError(
            f"{wanted.listed.path} cannot be resumed",
            found=f"the server goes on at byte {start}",
            remedy="try again; if it happens again, check HF_ENDPOINT and the proxy",
        )
    part.seek(0)
    part.truncate()
    return _Digest(wanted.listed)


def _ended_early(wanted: Wanted, count: int) -> Failure:
    error = DownloadError(
        f"{wanted.listed.path} came only in part",
        found=f"{count} of {wanted.listed.size} bytes",
        remedy="try again, it goes on where it stopped",
    )
    return Failure("cut", error)


def _open_part(part: Path) -> BinaryIO:
    # Never through a symlink: somebody may have put one there that leads out of the folder.
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(part, flags, 0o666), "r+b")


class _Digest:
    """The hashes of a file as it grows: sha256, and for a small file git's own."""

    def __init__(self, listed: ListedFile) -> None:
        self._listed = listed
        self._sha256 = hashlib.sha256()
        self._blob = hashlib.sha1(f"blob {listed.size}\0".encode(), usedforsecurity=False)
        self.count = 0

    def update(self, piece: bytes) -> None:
        """Add bytes."""
        self._sha256.update(piece)
        if self._listed.sha256 is None:
            self._blob.update(piece)
        self.count += len(piece)

    @property
    def sha256(self) -> str:
        """Hash of all bytes so far."""
        return self._sha256.hexdigest()

    def agrees(self) -> bool:
        """Return whether the content is the listed one, as far as the Hub said anything about it."""
        if self._listed.sha256 is not None:
            return self.sha256 == self._listed.sha256
        return self._listed.blob_id in (None, self._blob.hexdigest())
