"""From what a user typed to images and the names of their results."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ImageError, OptionError
from ..io.images import IMAGE_SUFFIXES


@dataclass(frozen=True)
class Item:
    """One image to work on.

    Attributes:
        path: The file, whether it exists or not.
        stem: Where its results go, relative to the output folder and without a suffix: unique among the items.
    """

    path: Path
    stem: Path


@dataclass(frozen=True)
class Problem:
    """An input that stands for no image.

    Attributes:
        text: What the user typed.
        error: Why.
    """

    text: str
    error: ImageError


@dataclass(frozen=True)
class Inputs:
    """Everything that a command line names.

    Attributes:
        items: Each file once, in the order given; a folder's in the order of their names.
        problems: Folders and patterns without images.
    """

    items: tuple[Item, ...]
    problems: tuple[Problem, ...]


def collect(inputs: Sequence[str], output: Path, *, recursive: bool = False) -> Inputs:
    """Return the images that files, folders and patterns stand for.

    A folder stands for its images, told by their suffix, hidden files left out; with `recursive` also for those of
    its sub-folders, which are kept in the names of the results. A pattern (``*``, ``?``, ``[...]``, ``**``) is
    expanded here where the shell has not done so. Two inputs never share a result: ``a.png`` and ``a.jpg``
    become ``a_png`` and ``a_jpg``, and what is still alike is numbered.

    Args:
        inputs: What the user typed.
        output: The output folder: no image of an earlier run is taken from a folder inside it.
        recursive: Also look into sub-folders.

    Raises:
        OptionError: The output folder is itself one of the input folders.
    """
    found: dict[Path, tuple[Path, Path]] = {}  # resolved path -> (path, folder of its results)
    problems: list[Problem] = []
    for text in inputs:
        path = Path(text).expanduser()
        if path.is_dir() and path.resolve() == output.resolve():
            raise OptionError("--output", str(output), "a folder that is not itself an input")
        pairs = list(_expand(text, path, output, recursive))
        if not pairs:
            problems.append(Problem(text, _nothing(path)))
        for file, folder in pairs:
            found.setdefault(file.resolve(), (file, folder))
    stems = unique_stems(found.values())
    return Inputs(
        tuple(Item(file, stem) for (file, _), stem in zip(found.values(), stems, strict=True)),
        tuple(problems),
    )


def unique_stems(files: Iterable[tuple[Path, Path]]) -> list[Path]:
    """Return a stem for the results of every (file, folder of its results); no two are alike in any letter case."""
    files = list(files)
    plain = [folder / file.stem for file, folder in files]
    counts: dict[str, int] = {}
    for stem in plain:
        counts[_key(stem)] = counts.get(_key(stem), 0) + 1
    taken = {key for key, count in counts.items() if count == 1}
    stems: list[Path] = []
    for (file, folder), stem in zip(files, plain, strict=True):
        if counts[_key(stem)] > 1:
            base = f"{file.stem}_{file.suffix[1:].lower()}" if file.suffix else file.stem
            stem = _free(folder, base, taken)
            taken.add(_key(stem))
        stems.append(stem)
    return stems


def _free(folder: Path, base: str, taken: set[str]) -> Path:
    stem, number = folder / base, 2
    while _key(stem) in taken:
        stem, number = folder / f"{base}_{number}", number + 1
    return stem


def _key(stem: Path) -> str:
    return stem.as_posix().casefold()  # a.png and A.png are one file on some systems


def _expand(text: str, path: Path, output: Path, recursive: bool) -> Iterator[tuple[Path, Path]]:
    if path.is_dir():
        for file in _images_of(path, output, recursive):
            yield file, file.parent.relative_to(path)
    elif path.exists() or not glob.has_magic(text):
        yield path, Path()
    else:
        for match in sorted(glob.glob(str(path), recursive=True)):  # noqa: PTH207 (a pattern may begin anywhere)
            if Path(match).is_file():
                yield Path(match), Path()


def _images_of(folder: Path, output: Path, recursive: bool) -> list[Path]:
    results = output.resolve()
    files = folder.rglob("*") if recursive else folder.iterdir()
    return sorted(
        file
        for file in files
        if file.suffix.lower() in IMAGE_SUFFIXES
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and file.is_file()
        and not file.resolve().is_relative_to(results)
    )


def _nothing(path: Path) -> ImageError:
    if path.is_dir():
        return ImageError(
            f"no image in the folder {path}",
            remedy=f"name a folder with {', '.join(sorted(IMAGE_SUFFIXES))} files, or look deeper with --recursive",
        )
    return ImageError(f"no file matches {path}", remedy="check the pattern")
