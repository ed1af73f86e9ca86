"""Files of a data set, whether it lies in a folder, a tar or a zip."""

from __future__ import annotations

import tarfile
import threading
import zipfile
from pathlib import Path
from typing import Protocol

from ...errors import CorruptSampleError, DatasetError


class FileTree(Protocol):
    """Named files that can be read in any order.

    Attributes:
        path: The folder or archive.
    """

    path: Path

    def names(self) -> list[str]:
        """Return the names of all files, sorted, relative, with forward slashes."""
        ...

    def read(self, name: str) -> bytes:
        """Return a file's bytes.

        Raises:
            CorruptSampleError: It is missing or cannot be read.
        """
        ...


def open_tree(path: str | Path) -> FileTree:
    """Return the files of a folder, a tar (also compressed) or a zip.

    Raises:
        DatasetError: Nothing is there, or it is none of these.
    """
    path = Path(path)
    if path.is_dir():
        return Folder(path)
    if not path.exists():
        raise DatasetError(f"there is no data set at {path}", path=path, remedy="name its folder, tar or zip")
    try:
        if zipfile.is_zipfile(path):
            return ZipArchive(path)
        if tarfile.is_tarfile(path):
            return TarArchive(path)
    except (OSError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise DatasetError(
            f"{path} cannot be read", path=path, found=str(error), remedy="download it again"
        ) from error
    raise DatasetError(
        f"{path} is neither a folder nor a tar nor a zip", path=path, remedy="name the data set as published"
    )


class Folder:
    """The files below a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        """Return the names of all files, sorted."""
        return sorted(
            file.relative_to(self.path).as_posix() for file in self.path.rglob("*") if file.is_file()
        )

    def read(self, name: str) -> bytes:
        """Return a file's bytes.

        Raises:
            CorruptSampleError: It is missing or cannot be read.
        """
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise _unreadable(self.path, name, error.strerror or str(error)) from error


class TarArchive:
    """The files of a tar; its index is read once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tar = tarfile.open(path)  # noqa: SIM115 (read from as long as this object lives)
        self._lock = threading.Lock()
        self._members = {member.name.removeprefix("./"): member for member in self._tar if member.isfile()}

    def names(self) -> list[str]:
        """Return the names of all files, sorted."""
        return sorted(self._members)

    def read(self, name: str) -> bytes:
        """Return a file's bytes.

        Raises:
            CorruptSampleError: It is missing or cannot be read.
        """
        member = self._members.get(name)
        if member is None:
            raise _unreadable(self.path, name, "no such file in the archive")
        try:
            with self._lock:
                file = self._tar.extractfile(member)
                data = b"" if file is None else file.read()
        except (OSError, EOFError, tarfile.TarError) as error:
            raise _unreadable(self.path, name, str(error)) from error
        if len(data) != member.size:
            raise _unreadable(self.path, name, f"{len(data)} of {member.size} bytes")
        return data

    def __del__(self) -> None:
        tar = getattr(self, "_tar", None)
        if tar is not None:
            tar.close()


class ZipArchive:
    """The files of a zip."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._zip = zipfile.ZipFile(path)
        self._lock = threading.Lock()
        self._names = sorted(info.filename for info in self._zip.infolist() if not info.is_dir())

    def names(self) -> list[str]:
        """Return the names of all files, sorted."""
        return list(self._names)

    def read(self, name: str) -> bytes:
        """Return a file's bytes.

        Raises:
            CorruptSampleError: It is missing or cannot be read.
        """
        try:
            with self._lock:
                return self._zip.read(name)
        except KeyError as error:
            raise _unreadable(self.path, name, "no such file in the archive") from error
        except (OSError, EOFError, zipfile.BadZipFile, RuntimeError) as error:
            raise _unreadable(self.path, name, str(error)) from error

    def __del__(self) -> None:
        archive = getattr(self, "_zip", None)
        if archive is not None:
            archive.close()


def _unreadable(path: Path, name: str, found: str) -> CorruptSampleError:
    return CorruptSampleError(
        f"{path / name} cannot be read", path=path / name, found=found, remedy="download it again"
    )
