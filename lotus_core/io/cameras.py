"""Cameras as files: our own camera.json, and what the readers of other formats return.

Convention:
    camera.json holds one pinhole camera. Intrinsics are in pixels of ``width`` x ``height`` with pixel
    centres at +0.5; axes are OpenCV's (+x right, +y down, +z forward); ``scale`` says whether lengths are
    metres or known only up to one factor. ``world_from_camera`` takes camera coordinates to the world.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import torch

from ..errors import GeometryError
from ..geometry.anchors import SparsePoints
from ..geometry.camera import Camera, fov_from_focal, resize_intrinsics
from ..geometry.distortion import Distortion
from .atomic import write_bytes

Unit = Literal["metre", "unknown"]

CAMERA_FORMAT: Final = "lotus-camera"
CAMERA_VERSION: Final = 1
CONVENTION: Final = "OpenCV: +x right, +y down, +z forward; pixel centres at +0.5"
MAX_CAMERA_FILE_BYTES: Final = 64 * 2**20
"""A camera file larger than this is not read: 100 views take some 100 kB."""


@dataclass(frozen=True)
class PosedImage:
    """One picture of a set, and the camera that took it.

    Attributes:
        name: Path of the picture as the file names it, relative to the file or to the folder of pictures.
        camera: Its pinhole camera.
        distortion: Its lens.
    """

    name: str
    camera: Camera
    distortion: Distortion


@dataclass(frozen=True)
class CameraSet:
    """Several views of one scene.

    Attributes:
        images: The views, sorted by name.
        points: Sparse points of the same reconstruction, or None.
    """

    images: tuple[PosedImage, ...]
    points: SparsePoints | None

    def chosen(self, indices: Sequence[int]) -> CameraSet:
        """Return the views of these indices, in that order.

        All points stay; of their observations those by the chosen views, which are renumbered: of views 0 to 8,
        (8, 4) makes an observation by view 4 one by view 1, and drops one by view 5.

        Args:
            indices: Of `images`.
        """
        points = self.points
        if points is not None and points.views is not None and points.points is not None:
            number = points.views.new_full((len(self.images),), -1)
            number[list(indices)] = points.views.new_tensor(range(len(indices)))
            seen = number[points.views] >= 0
            points = replace(points, views=number[points.views][seen], points=points.points[seen])
        return CameraSet(tuple(self.images[index] for index in indices), points)


@dataclass(frozen=True)
class CameraRecord:
    """What a camera.json says.

    Attributes:
        camera: Intrinsics, pose and size.
        unit: "metre", or "unknown": lengths are known up to one factor.
        focal_source: Where the focal length came from, such as "estimated", "exif" or "given".
        confidence: Standard deviation of the logarithm of the focal length, or None.
    """

    camera: Camera
    unit: Unit
    focal_source: str
    confidence: float | None


def write_camera_json(path: str | Path, record: CameraRecord) -> Path:
    """Write one camera and return the path.

    Raises:
        StorageError: The file cannot be written.
    """
    camera = record.camera
    data = {
        "format": CAMERA_FORMAT,
        "version": CAMERA_VERSION,
        "convention": CONVENTION,
        "width": camera.width,
        "height": camera.height,
        "intrinsics": _rows(camera.intrinsics),
        "fov_x_deg": round(camera.fov_x_deg, 6),
        "fov_y_deg": round(fov_from_focal(float(camera.intrinsics[1, 1]), camera.height), 6),
        "world_from_camera": _rows(camera.world_from_camera),
        "scale": {"unit": record.unit},
        "focal_length": {"source": record.focal_source, "sd_ln": record.confidence},
    }
    return write_bytes(path, (json.dumps(data, indent=2) + "\n").encode())


def read_camera_json(path: str | Path) -> CameraRecord:
    """Read what `write_camera_json` wrote.

    Raises:
        GeometryError: The file is missing, malformed or of another format.
    """
    data = load_json(path)
    if data.get("format") != CAMERA_FORMAT or data.get("version") != CAMERA_VERSION:
        raise GeometryError(
            f"{path} is not a camera.json of this library",
            found=f"format {data.get('format')!r}, version {data.get('version')!r}",
            remedy='expected "lotus-camera", version 1',
        )
    scale, focal = data.get("scale", {}), data.get("focal_length", {})
    camera = Camera(
        intrinsics=matrix(data, "intrinsics", (3, 3), path).float(),
        world_from_camera=matrix(data, "world_from_camera", (4, 4), path).float(),
        width=int(number(data, "width", path)),
        height=int(number(data, "height", path)),
    )
    confidence = focal.get("sd_ln")
    return CameraRecord(
        camera=camera,
        unit="metre" if scale.get("unit") == "metre" else "unknown",
        focal_source=str(focal.get("source", "unknown")),
        confidence=None if confidence is None else float(confidence),
    )


def fit_to_image(view: PosedImage, height: int, width: int) -> PosedImage:
    """Return the view with its intrinsics scaled to the picture's real size.

    Reconstructions are often made from full-size pictures and used with smaller copies.

    Raises:
        GeometryError: The picture has another shape than the camera: its intrinsics do not belong to it.
    """
    camera = view.camera
    if (height, width) == (camera.height, camera.width):
        return view
    ratio = (width / camera.width) / (height / camera.height)
    if abs(math.log(ratio)) > 1.5 / min(height, width):  # rounding of a resize loses half a pixel a side
        raise GeometryError(
            f"{view.name} has another shape than its camera",
            found=f"{width} x {height} pixels, the camera file says {camera.width} x {camera.height}",
            remedy="use the pictures that the reconstruction was made from, not cropped or turned",
        )
    intrinsics = resize_intrinsics(camera.intrinsics, (camera.height, camera.width), (height, width))
    return replace(view, camera=Camera(intrinsics, camera.world_from_camera, width, height))


def load_json(path: str | Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        GeometryError: The file is missing, too large, no JSON, or holds no object.
    """
    file = Path(path)
    try:
        if file.stat().st_size > MAX_CAMERA_FILE_BYTES:
            raise GeometryError(
                f"{file} is too large for a camera file",
                found=f"{file.stat().st_size} bytes",
                remedy="pass the transforms.json or camera.json itself",
            )
        data = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or str(error)
        raise GeometryError(f"{file} cannot be read", found=reason, remedy="check the path") from error
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise GeometryError(
            f"{file} is not valid JSON", found=str(error), remedy="export it again"
        ) from error
    if not isinstance(data, dict):
        raise GeometryError(
            f"{file} holds no JSON object", found=type(data).__name__, remedy="export it again"
        )
    return data


def matrix(data: Mapping[str, Any], key: str, shape: tuple[int, int], path: str | Path) -> torch.Tensor:
    """Return a matrix of finite numbers from a JSON object, float64.

    Raises:
        GeometryError: It is missing, has another shape or holds something else than finite numbers.
    """
    try:
        value = torch.tensor(data.get(key), dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise _malformed(path, key, data.get(key), f"a {shape[0]} x {shape[1]} matrix") from error
    if value.shape != shape or not bool(torch.isfinite(value).all()):
        raise _malformed(path, key, data.get(key), f"a {shape[0]} x {shape[1]} matrix of finite numbers")
    return value


def number(data: Mapping[str, Any], key: str, path: str | Path, default: float | None = None) -> float:
    """Return a finite number from a JSON object, or the default where the key is missing.

    Raises:
        GeometryError: It is missing without a default, or not a finite number.
    """
    value = data.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _malformed(path, key, value, "a finite number")
    return float(value)


def _malformed(path: str | Path, key: str, value: object, expected: str) -> GeometryError:
    text = "nothing" if value is None else repr(value)
    return GeometryError(
        f"{key} in {path} must be {expected}",
        found=text if len(text) <= 60 else f"{text[:57]}...",
        remedy="export the cameras again",
    )


def _rows(values: torch.Tensor) -> list[list[float]]:
    return [[float(x) for x in row] for row in values.double().tolist()]
