"""Poses from a transforms.json, as NeRF, instant-ngp and Nerfstudio write it.

Convention:
    The file's ``transform_matrix`` is world_from_camera in OpenGL axes (+x right, +y up, -z forward). OpenCV's
    y and z point the other way: the second and third columns change sign. The world is left as it is.
    Intrinsics are in pixels with centres at +0.5, for the whole file or for one frame; the original format
    has only ``camera_angle_x``, the horizontal field of view in radians.

Source: https://docs.nerf.studio/quickstart/data_conventions.html
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import GeometryError
from ..geometry.camera import Camera
from ..geometry.distortion import Distortion
from .cameras import CameraSet, PosedImage, load_json, matrix, number

PINHOLE_MODELS = {"OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE"}
"""Camera models that are a pinhole with radial and tangential distortion."""


def read_transforms(path: str | Path, *, image_size: tuple[int, int] | None = None) -> CameraSet:
    """Read the cameras of a transforms.json.

    Args:
        path: The file, or the folder that holds it.
        image_size: (height, width) of the pictures, for files that state none (the original NeRF format).

    Returns:
        The views. ``points`` is None: the format carries no observations.

    Raises:
        GeometryError: The file is missing or malformed, names no frame, or uses a fisheye or panoramic model.
    """
    file, data, frames = _load(path)
    images = [_read_frame({**data, **frame}, file, image_size) for frame in frames]
    return CameraSet(images=tuple(sorted(images, key=lambda image: image.name)), points=None)


def frame_names(path: str | Path) -> list[str]:
    """Return the pictures that a transforms.json names, in the file's order.

    Raises:
        GeometryError: The file is missing or malformed, or names no frame.
    """
    file, _, frames = _load(path)
    return [_name(frame, file) for frame in frames]


def _load(path: str | Path) -> tuple[Path, dict[str, Any], list[dict[str, Any]]]:
    """The file, all of it, and its frames."""
    file = Path(path)
    if file.is_dir():
        file = file / "transforms.json"
    data = load_json(file)
    frames = data.get("frames")
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise GeometryError(f"{file} lists no frames", remedy="export the cameras again")
    return file, data, frames


def _name(data: Mapping[str, Any], file: Path) -> str:
    name = data.get("file_path")
    if not isinstance(name, str) or not name:
        raise GeometryError(f"a frame in {file} names no file_path", remedy="export the cameras again")
    return name


def _read_frame(data: Mapping[str, Any], file: Path, image_size: tuple[int, int] | None) -> PosedImage:
    """One frame, whose own entries win over the file's."""
    name = _name(data, file)
    model = str(data.get("camera_model", "OPENCV")).upper()
    if model not in PINHOLE_MODELS or data.get("is_fisheye"):
        raise GeometryError(
            f"{name} was taken with a lens that is no pinhole",
            found="fisheye" if data.get("is_fisheye") else model,
            remedy="undistort the pictures to a pinhole model first",
        )
    width, height = _size(data, file, image_size)
    camera = Camera(
        intrinsics=_intrinsics(data, file, width, height),
        world_from_camera=opencv_from_opengl(matrix(data, "transform_matrix", (4, 4), file)).float(),
        width=width,
        height=height,
    )
    lens = {key: number(data, key, file, 0.0) for key in ("k1", "k2", "k3", "k4", "p1", "p2")}
    return PosedImage(name=name, camera=camera, distortion=Distortion(**lens))


def opencv_from_opengl(world_from_camera: Tensor) -> Tensor:
    """Return a pose for OpenCV's camera axes from one for OpenGL's.

    The camera that stands at the origin and looks along the world's -z with +y up has the identity in OpenGL
    axes, and diag(1, -1, -1, 1) in OpenCV's.

    Args:
        world_from_camera: (..., 4, 4) float, camera axes +x right, +y up, -z forward.

    Returns:
        (..., 4, 4) float, camera axes +x right, +y down, +z forward; the same world.
    """
    return world_from_camera * world_from_camera.new_tensor([1.0, -1.0, -1.0, 1.0])


def _size(data: Mapping[str, Any], file: Path, image_size: tuple[int, int] | None) -> tuple[int, int]:
    if "w" in data or "h" in data or image_size is None:
        width, height = int(number(data, "w", file)), int(number(data, "h", file))
    else:
        height, width = image_size
    if width < 1 or height < 1:
        raise GeometryError(
            f"{file} states no usable picture size", found=f"{width} x {height}", remedy="export it again"
        )
    return width, height


def _intrinsics(data: Mapping[str, Any], file: Path, width: int, height: int) -> Tensor:
    """(3, 3) float32 from focal lengths in pixels, or from angles in radians."""
    if "fl_x" in data:
        fx = number(data, "fl_x", file)
    else:
        angle = number(data, "camera_angle_x", file)
        if not 0 < angle < math.pi:
            raise GeometryError(
                f"camera_angle_x in {file} is no angle in radians",
                found=repr(angle),
                remedy="expected 0 to 3.14",
            )
        fx = width / 2 / math.tan(angle / 2)
    fy = number(data, "fl_y", file, fx)
    if fx <= 0 or fy <= 0:
        raise GeometryError(
            f"a focal length in {file} is not positive", found=f"{fx}, {fy}", remedy="export it again"
        )
    cx, cy = number(data, "cx", file, width / 2), number(data, "cy", file, height / 2)
    return torch.tensor([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
