"""The Hub's client, of every supported version, behind two calls: list a repository, stream a file.

huggingface_hub is imported here and on first use only: it reads HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE and HF_HOME when
it is imported. Its session comes from requests (0.x), httpx (1.x) or httpx2 (2.x) and honours proxies in each.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

PIECE_BYTES: Final = 2**16
"""Bytes taken from the network at once: what a cut can lose."""


@dataclass(frozen=True)
class ListedFile:
    """What the Hub says about one file of a commit.

    Attributes:
        path: Path inside the repository.
        size: Number of bytes.
        sha256: Hash of the content, for files in large-file storage; else None.
        blob_id: Git's own hash of a small file, sha1 over ``blob <size>``, a zero byte and the content; else None.
    """

    path: str
    size: int
    sha256: str | None
    blob_id: str | None

    @property
    def etag(self) -> str:
        """The hash under which the Hub's cache keeps the content."""
        return self.sha256 or self.blob_id or "unknown"


@dataclass(frozen=True)
class Listing:
    """The files of a repository at one commit.

    Attributes:
        repository: Hub id.
        commit: The commit.
        files: What is said of each path; None where size or hash are not said, as by some mirrors.
    """

    repository: str
    commit: str
    files: Mapping[str, ListedFile | None]


@dataclass(frozen=True)
class Body:
    """A response whose body is still to be read.

    Attributes:
        start: Position in the file of the body's first byte.
        pieces: The body, in pieces of at most `PIECE_BYTES`.
    """

    start: int
    pieces: Iterator[bytes]


def endpoint() -> str:
    """Return the address that the client talks to, for messages."""
    from huggingface_hub import constants

    return constants.ENDPOINT


def list_repository(repository: str, revision: str | None) -> Listing:
    """Ask the Hub for a repository's commit and files: one request.

    Args:
        repository: Hub id.
        revision: Commit, tag or branch; None for the newest commit of the main branch.
    """
    from huggingface_hub import HfApi, constants

    info = HfApi().model_info(
        repository, revision=revision, files_metadata=True, timeout=constants.HF_HUB_ETAG_TIMEOUT
    )
    if not info.sha or info.siblings is None:
        raise ValueError("an answer without commit or files")
    return Listing(repository, info.sha, {sibling.rfilename: _listed(sibling) for sibling in info.siblings})


def _listed(sibling: Any) -> ListedFile | None:
    if sibling.size is None:
        return None
    lfs = sibling.lfs
    sha256 = None if lfs is None else (lfs.get("sha256") if isinstance(lfs, dict) else lfs.sha256)
    return ListedFile(sibling.rfilename, sibling.size, sha256, sibling.blob_id)


def ask_about(repository: str, path: str, commit: str) -> ListedFile:
    """Ask the Hub for one file's size and hash: one request, for mirrors whose listing does not say them."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(repository, path, revision=commit)
    about = get_hf_file_metadata(url, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    if about.size is None or about.etag is None:
        raise ValueError(f"an answer without the size or hash of {path}")
    is_sha256 = len(about.etag) == 64
    return ListedFile(path, about.size, about.etag if is_sha256 else None, None if is_sha256 else about.etag)


@contextmanager
def open_file(repository: str, path: str, commit: str, start: int) -> Iterator[Body]:
    """Open a file of a commit for reading from byte ``start`` on.

    The server may ignore the wish and begin at 0; `Body.start` says where it begins.
    """
    from huggingface_hub import constants, hf_hub_url
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    url = hf_hub_url(repository, path, revision=commit)
    headers = {**build_hf_headers(library_name="lotus-geometry"), "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    session: Any = get_session()
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    if callable(getattr(session, "stream", None)):  # httpx, httpx2; with requests it is a flag
        with session.stream("GET", url, headers=headers, timeout=timeout, follow_redirects=True) as response:
            hf_raise_for_status(response)
            yield Body(_first_byte(response, start), response.iter_bytes(PIECE_BYTES))
    else:
        with session.get(url, headers=headers, timeout=timeout, stream=True) as response:
            hf_raise_for_status(response)
            yield Body(_first_byte(response, start), response.iter_content(PIECE_BYTES))


def _first_byte(response: Any, asked: int) -> int:
    if response.status_code != 206:
        return 0
    # "bytes 100-199/200"
    span = str(response.headers.get("Content-Range", "")).removeprefix("bytes ").split("-", 1)[0]
    return int(span) if span.isdigit() else asked


def link_into_cache(repository: str, path: str, revision: str) -> str:
    """Let the client put a file into its own cache, and return where it lies there.

    A blob that is there already is only linked; small files are fetched.
    """
    from huggingface_hub import hf_hub_download

    return hf_hub_download(repository, path, revision=revision, library_name="lotus-geometry")


def transport_errors() -> tuple[tuple[type[Exception], ...], tuple[type[Exception], ...]]:
    """Return the exceptions of the session's library: those of a wait too long, and those of a lost connection."""
    from huggingface_hub.utils import get_session

    names = (cls.__module__.split(".")[0] for cls in type(get_session()).__mro__)
    library = importlib.import_module(next(name for name in names if name in ("httpx2", "httpx", "requests")))
    if library.__name__ == "requests":
        errors = library.exceptions
        return (errors.Timeout,), (
            errors.ConnectionError,
            errors.ChunkedEncodingError,
            errors.ContentDecodingError,
        )
    return (library.TimeoutException,), (library.TransportError,)
