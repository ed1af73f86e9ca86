"""The rows of COLMAP's files, parsed with bounds.

Source: https://colmap.github.io/format.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import GeometryError

MODELS: Final = {
    0: ("SIMPLE_PINHOLE", 3),
    1: ("PINHOLE", 4),
    2: ("SIMPLE_RADIAL", 4),
    3: ("RADIAL", 5),
    4: ("OPENCV", 8),
}
"""Number, name and count of parameters of the models that a pinhole with distortion covers.

Source: https://colmap.github.io/cameras.html
"""

_OBSERVATION = np.dtype([("xy", "<f8", 2), ("point", "<i8")])
_MAX_NAME = 4096


@dataclass(frozen=True)
class CameraRow:
    """One camera.

    Attributes:
        width: Pixels across.
        height: Pixels down.
        pinhole: fx, fy, cx, cy in pixels.
        lens: Distortion coefficients by name.
    """

    width: int
    height: int
    pinhole: tuple[float, float, float, float]
    lens: dict[str, float]


@dataclass(frozen=True)
class ImageRow:
    """One registered picture.

    Attributes:
        name: Path relative to the folder of pictures.
        camera_id: Its camera.
        quaternion: (w, x, y, z) of camera_from_world.
        translation: (x, y, z) of camera_from_world.
        point_ids: (P,) int64, the points it sees; -1 for a feature without one.
    """

    name: str
    camera_id: int
    quaternion: tuple[float, ...]
    translation: tuple[float, ...]
    point_ids: NDArray[np.int64]


@dataclass(frozen=True)
class Points:
    """All points.

    Attributes:
        ids: (N,) int64.
        positions: (N, 3) float64, world.
    """

    ids: NDArray[np.int64]
    positions: NDArray[np.float64]


Model = tuple[dict[int, CameraRow], list[ImageRow], Points]


def read_binary(folder: Path) -> Model:
    """Read cameras.bin, images.bin and points3D.bin.

    Raises:
        GeometryError: A file is truncated or malformed, or a camera model is not supported.
    """
    return _binary_cameras(folder), _binary_images(folder), _binary_points(folder)


def read_text(folder: Path) -> Model:
    """Read cameras.txt, images.txt and points3D.txt.

    Raises:
        GeometryError: A line is malformed, or a camera model is not supported.
    """
    file = folder / "cameras.txt"
    try:
        cameras = {}
        for words in _lines(file):
            if words:
                name, numbers = words[1], [float(word) for word in words[4:]]
                cameras[int(words[0])] = _camera(name, int(words[2]), int(words[3]), numbers, file)
        file = folder / "images.txt"
        images = []
        # Two lines a picture; the second is empty for a picture without features.
        lines = list(_lines(file))
        while lines and not lines[-1] and len(lines) % 2:
            lines.pop()
        for head, features in zip(lines[::2], lines[1::2], strict=True):
            numbers = tuple(float(word) for word in head[1:8])
            ids = np.array(features[2::3], dtype=np.int64)
            images.append(ImageRow(" ".join(head[9:]), int(head[8]), numbers[:4], numbers[4:], ids))
        file = folder / "points3D.txt"
        rows = [words[:4] for words in _lines(file) if words]
        points = Points(
            ids=np.array([row[0] for row in rows], dtype=np.int64),
            positions=np.array([row[1:] for row in rows], dtype=np.float64).reshape(-1, 3),
        )
    except (ValueError, IndexError, OverflowError) as error:
        if isinstance(error, GeometryError):
            raise
        raise _damaged(file, str(error)) from error
    return cameras, images, points


def _lines(file: Path) -> Iterator[list[str]]:
    """The words of every line that is no comment, empty lines included."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise GeometryError(
            f"{file} cannot be read", found=str(error.strerror), remedy="check the path"
        ) from error
    for line in text.splitlines():
        if not line.startswith("#"):
            yield line.split()


def _camera(name: str, width: int, height: int, p: list[float], file: Path) -> CameraRow:
    """The pinhole and the lens of a camera model's parameters."""
    count = dict(MODELS.values()).get(name)
    if count is None:
        raise GeometryError(
            f"a camera in {file} is no pinhole with radial distortion",
            found=f"model {name}",
            remedy="run `colmap image_undistorter` and use its pictures and its model",
        )
    if len(p) != count or not np.isfinite(p).all() or min(width, height) < 1 or p[0] <= 0:
        raise _damaged(file, f"{name} {width} x {height} with parameters {p}")
    if name in ("PINHOLE", "OPENCV"):
        pinhole, rest = (p[0], p[1], p[2], p[3]), p[4:]
    else:
        pinhole, rest = (p[0], p[0], p[1], p[2]), p[3:]
    return CameraRow(width, height, pinhole, dict(zip(("k1", "k2", "p1", "p2"), rest, strict=False)))


class _Reader:
    """Takes fixed layouts from the front of a file's bytes."""

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            self.data = file.read_bytes()
        except OSError as error:
            raise GeometryError(
                f"{file} cannot be read", found=str(error.strerror), remedy="check the path"
            ) from error
        self.at = 0

    def take(self, layout: str) -> tuple[Any, ...]:
        """The next values of a little-endian `struct` layout."""
        size = struct.calcsize(layout)
        self.require(size)
        values = struct.unpack_from(layout, self.data, self.at)
        self.at += size
        return values

    def count(self, smallest: int) -> int:
        """The next number of rows, each of at least ``smallest`` bytes."""
        (count,) = self.take("<Q")
        self.require(count * smallest)
        return count

    def text(self) -> str:
        """The next zero-terminated string."""
        end = self.data.find(b"\0", self.at, self.at + _MAX_NAME)
        if end < 0:
            raise _damaged(self.file, "a name without an end")
        value = self.data[self.at : end].decode("utf-8", errors="replace")
        self.at = end + 1
        return value

    def require(self, size: int) -> None:
        """Refuse to go beyond the end."""
        if self.at + size > len(self.data):
            raise _damaged(self.file, f"{len(self.data)} bytes, at least {self.at + size} needed")

    def finish(self) -> None:
        """Refuse bytes behind the last row."""
        if self.at != len(self.data):
            raise _damaged(self.file, f"{len(self.data) - self.at} bytes behind the last row")


def _binary_cameras(folder: Path) -> dict[int, CameraRow]:
    reader = _Reader(folder / "cameras.bin")
    cameras = {}
    for _ in range(reader.count(24)):
        number, model, width, height = reader.take("<IiQQ")
        name, count = MODELS.get(model, (f"number {model}", 0))
        cameras[number] = _camera(name, width, height, list(reader.take(f"<{count}d")), reader.file)
    reader.finish()
    return cameras


def _binary_images(folder: Path) -> list[ImageRow]:
    reader = _Reader(folder / "images.bin")
    images = []
    for _ in range(reader.count(73)):
        numbers = reader.take("<I7dI")
        name = reader.text()
        features = reader.count(_OBSERVATION.itemsize)
        rows = np.frombuffer(reader.data, _OBSERVATION, features, reader.at)
        reader.at += rows.nbytes
        images.append(ImageRow(name, numbers[8], numbers[1:5], numbers[5:8], rows["point"].astype(np.int64)))
    reader.finish()
    return images


def _binary_points(folder: Path) -> Points:
    reader = _Reader(folder / "points3D.bin")
    count = reader.count(51)
    ids, positions = np.empty(count, dtype=np.int64), np.empty((count, 3))
    for row in range(count):
        ids[row], *positions[row], _red, _green, _blue, _error = reader.take("<q3d3Bd")
        track = reader.count(8)  # it repeats what images.bin says
        reader.at += track * 8
    reader.finish()
    return Points(ids, positions)


def _damaged(file: Path, found: str) -> GeometryError:
    return GeometryError(f"{file} is damaged", found=found, remedy="copy or export the model again")
