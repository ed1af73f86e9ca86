"""One folder, on a disk or on any store that fsspec knows, in which files appear whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import fsspec
from fsspec.implementations.local import LocalFileSystem

from ..errors import StorageError
from ..io.atomic import replacing, storage_error


class Store:
    """A folder of files.

    Args:
        url: Path of a folder, or an fsspec URL such as ``s3://bucket/maps``.

    Raises:
        StorageError: No such kind of store, or its package is not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/") if "://" in url else str(Path(url).absolute())
        try:
            self._fs, root = fsspec.core.url_to_fs(self.url)
        except (ValueError, ImportError) as error:
            raise StorageError(
                f"{url} cannot be opened", found=str(error), remedy="check the URL, and install what it needs"
            ) from error
        self._root = str(root).rstrip("/")

    @property
    def local(self) -> bool:
        """Whether the folder is on this machine's own file systems."""
        return isinstance(self._fs, LocalFileSystem)

    def exists(self, name: str) -> bool:
        """Return whether a file is there."""
        return bool(self._fs.exists(self._path(name)))

    def read(self, name: str) -> bytes:
        """Return a whole file.

        Raises:
            StorageError: It cannot be read.
        """
        try:
            return self._fs.cat_file(self._path(name))
        except OSError as error:
            raise storage_error(error, Path(self._path(name))) from error

    def names(self, folder: str) -> set[str]:
        """Return the names of a folder's files; none if there is no such folder. Temporary ones are left out."""
        self._fs.invalidate_cache()
        try:
            paths = self._fs.ls(self._path(folder), detail=False)
        except FileNotFoundError:
            return set()
        names = {str(path).rstrip("/").rsplit("/", 1)[-1] for path in paths}
        return {name for name in names if not name.startswith(".")}

    def write(self, name: str, data: bytes) -> None:
        """Write a whole file.

        Raises:
            NoSpaceError: The disk is full.
            StorageError: Anything else.
        """
        with self.writing(name) as file:
            file.write(data)

    @contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        """Yield a file to write, which appears under its name when the block ends without an error.

        Raises:
            NoSpaceError: The disk is full.
            StorageError: Anything else.
        """
        path = self._path(name)
        if self.local:
            with replacing(path) as temporary, temporary.open("wb") as file:
                yield file
            return
        # Written here first: not every kind of store keeps a half-written file from sight.
        try:
            with tempfile.TemporaryDirectory(prefix="lotus-") as folder:
                whole = Path(folder) / "file"
                with whole.open("wb") as file:
                    yield file
                self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
                self._fs.put_file(str(whole), path)
        except StorageError:
            raise
        except OSError as error:
            raise storage_error(error, Path(path)) from error

    def sweep(self, *folders: str) -> None:
        """Remove the temporary files that a killed run has left in folders of this machine."""
        if self.local:
            for folder in folders:
                for file in Path(self._path(folder)).glob("**/.*-????????*"):
                    file.unlink(missing_ok=True)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root


@contextmanager
def reading(url: str) -> Iterator[BinaryIO]:
    """Yield an open file of any fsspec URL or path, to be read from its beginning.

    Raises:
        StorageError: No such kind of store.
        OSError: It cannot be read.
    """
    try:
        opened = fsspec.open(url, "rb")
    except (ValueError, ImportError) as error:
        raise StorageError(f"{url} cannot be opened", found=str(error), remedy="check the URL") from error
    with opened as file:
        yield file  # type: ignore[misc]
