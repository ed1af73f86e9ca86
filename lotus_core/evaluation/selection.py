"""Which pictures of a data set are scored: those that its layout or a published file list names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import DatasetError
from ..training.data.archives import FileTree


def matching_names(files: FileTree, pattern: str, *, folder: str | None = None) -> list[str]:
    """Return the files whose path ends in a pattern.

    Args:
        files: The data set.
        pattern: Regular expression, matched from the start of any folder's name to the end of the path.
        folder: If some paths hold a folder of this name, only these are looked at, so that an archive may hold
            several data sets.

    Raises:
        DatasetError: No file matches.
    """
    names = files.names()
    if folder is not None:
        inside = [name for name in names if folder in name.split("/")[:-1]]
        names = inside or names
    found = [name for name in names if re.search(rf"(?:^|/){pattern}$", name)]
    if not found:
        raise DatasetError(
            f"{files.path} holds no pictures in the expected layout",
            path=files.path,
            found=f"{len(names)} files such as {names[0]}" if names else "no files",
            remedy=f"expected paths that end in {pattern}",
        )
    return found


def choose_names(
    files: FileTree, pattern: str, only: Sequence[str] | None, *, folder: str | None = None
) -> tuple[str, ...]:
    """Return the pictures to score: all in the layout, or those that a list names.

    Args:
        files: The data set.
        pattern: As `matching_names`.
        only: As `listed_names`, or None for all.
        folder: As `matching_names`.

    Raises:
        DatasetError: No file matches, or a listed one is missing.
    """
    found = matching_names(files, pattern, folder=folder)
    return tuple(found if only is None else listed_names(found, only, files.path))


def read_file_list(path: str | Path) -> list[str]:
    """Return the first column of a published file list, without rows whose second column is "None" (no truth).

    Raises:
        DatasetError: The list cannot be read or is empty.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"the file list {path} cannot be read", path=path, found=str(error), remedy="check its name"
        ) from error
    rows = [line.split() for line in lines if line.strip()]
    names = [row[0] for row in rows if row[1:2] != ["None"]]
    if not names:
        raise DatasetError(f"the file list {path} names no picture", path=path, remedy="one picture a line")
    return names


def listed_names(found: Sequence[str], wanted: Sequence[str], path: Path) -> list[str]:
    """Return the found files that a list names, in the list's order.

    Args:
        found: Full names within the data set.
        wanted: Ends of these names.
        path: The data set, for messages.

    Raises:
        DatasetError: A listed picture is missing.
    """
    by_end: dict[str, str] = {}
    for name in found:
        parts = name.split("/")
        for start in range(len(parts)):
            by_end.setdefault("/".join(parts[start:]), name)
    missing = [name for name in wanted if name not in by_end]
    if missing:
        raise DatasetError(
            f"{len(missing)} of {len(wanted)} listed pictures are not in {path}",
            path=path,
            found=f"no {missing[0]}",
            remedy="use the list that belongs to this data set",
        )
    return [by_end[name] for name in wanted]
