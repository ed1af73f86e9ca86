"""Cameras of a batch of pictures: from a file below ComfyUI's input folder, or from Depth Anything 3."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import folder_paths

from ..lotus_core.errors import GeometryError, LotusError, OptionError
from ..lotus_core.geometry.anchors import DepthAnchors, anchors_from_points
from ..lotus_core.geometry.camera import Camera
from ..lotus_core.geometry.da3 import views_from_da3
from ..lotus_core.geometry.distortion import Distortion
from ..lotus_core.io.cameras import CameraSet, fit_to_image
from ..lotus_core.io.colmap import FILES, find_model, read_colmap
from ..lotus_core.io.transforms_json import read_transforms
from ..lotus_core.io.views import transforms_file


@dataclass(frozen=True)
class Poses:
    """Cameras of a batch.

    Attributes:
        names: Of the pictures, in the batch's order; empty where the source knows none.
        cameras: Of the pictures' size.
        lenses: Their distortions.
        anchors: Known depths, or None.
    """

    names: tuple[str, ...]
    cameras: tuple[Camera, ...]
    lenses: tuple[Distortion, ...]
    anchors: DepthAnchors | None


def input_path(text: str) -> Path:
    """Return the file or folder that a path below ComfyUI's input folder means.

    Raises:
        OptionError: It leads out of the input folder, or nothing is there.
    """
    root = Path(os.path.abspath(folder_paths.get_input_directory()))  # noqa: PTH100 (links inside are the user's)
    path = Path(os.path.abspath(root / text.strip()))  # noqa: PTH100
    if "\0" in text or not path.is_relative_to(root):
        raise OptionError("cameras", text, "a path below ComfyUI's input folder")
    if not path.exists():
        raise OptionError("cameras", text, "a transforms.json or a COLMAP folder in ComfyUI's input folder")
    return path


def check_path(text: str | None) -> bool | str:
    """Return True for a path that leads somewhere or is not known yet, else what is wrong: for `validate_inputs`."""
    if text is None:  # linked: it comes when the graph runs
        return True
    try:
        input_path(text)
    except LotusError as error:
        return str(error)
    return True


def camera_files(path: Path) -> list[Path]:
    """Return the files that a path's cameras are read from.

    Raises:
        GeometryError: There is neither a transforms.json nor a COLMAP model.
    """
    file = transforms_file(path)
    if file is not None:
        return [file]
    folder, suffix = find_model(path)
    return [folder / f"{name}{suffix}" for name in FILES]


def fingerprint(text: str) -> str:
    """Return what changes when the cameras behind a path change on disk."""
    try:
        stats = [(str(file), file.stat()) for file in camera_files(input_path(text))]
    except (LotusError, OSError) as error:
        return str(error)
    return repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])


def poses_from_files(text: str, names: str, count: int, height: int, width: int) -> Poses:
    """Read the cameras of a batch of pictures.

    Args:
        text: Path below ComfyUI's input folder: a transforms.json, a COLMAP model, or a folder with one.
        names: Names of the pictures in the batch's order, one a line; empty: all that the cameras name, sorted.
        count: Pictures in the batch.
        height: Their height in pixels.
        width: Their width.

    Raises:
        OptionError: The path leads nowhere, or out of the input folder.
        GeometryError: Malformed files, other numbers of cameras, or cameras of pictures of another shape.
    """
    path = input_path(text)
    file = transforms_file(path)
    found = read_colmap(path) if file is None else read_transforms(file, image_size=(height, width))
    chosen = found.chosen(
        _choose(found, [line.strip() for line in names.splitlines() if line.strip()], count)
    )
    views = [fit_to_image(view, height, width) for view in chosen.images]
    cameras = tuple(view.camera for view in views)
    anchors = None if chosen.points is None else anchors_from_points(chosen.points, cameras)
    lenses = tuple(view.distortion for view in views)
    return Poses(tuple(view.name for view in views), cameras, lenses, anchors)


def poses_from_packet(packet: Mapping[str, Any]) -> Poses:
    """Return the cameras of a Depth Anything 3 packet, with its depths as anchors.

    Raises:
        GeometryError: A packet without poses.
        ShapeError: A packet of another form.
    """
    cameras, anchors = views_from_da3(packet)
    return Poses((), tuple(cameras), (Distortion(),) * len(cameras), anchors)


def _choose(found: CameraSet, names: Sequence[str], count: int) -> list[int]:
    """Indices of the batch's cameras."""
    known = [image.name for image in found.images]
    if not names:
        if len(known) != count:
            raise GeometryError(
                "the batch and the cameras don't match",
                found=f"{count} pictures, {len(known)} cameras",
                remedy="load every picture that the cameras name, sorted by name, or say in names which ones these are",
            )
        return list(range(count))
    if len(names) != count:
        raise GeometryError(
            "names must name every picture of the batch",
            found=f"{len(names)} names, {count} pictures",
            remedy="write one name a line, in the batch's order",
        )
    return [_index(known, name) for name in names]


def _index(known: Sequence[str], name: str) -> int:
    """The one camera of that name: the whole path, the file's name, or that without its suffix."""
    for part in (lambda path: path.as_posix(), lambda path: path.name, lambda path: path.stem):
        found = [index for index, other in enumerate(known) if part(Path(other)) == part(Path(name))]
        if len(found) == 1:
            return found[0]
    raise GeometryError(
        f"no camera is that of {name}",
        found=", ".join(known[:4]) + ("" if len(known) <= 4 else f" and {len(known) - 4} more"),
        remedy="write names as the camera file does",
    )
