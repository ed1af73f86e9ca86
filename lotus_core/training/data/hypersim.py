"""Hypersim: rendered interiors, in the layout in which Apple publishes them.

Layout::

    ROOT/metadata_images_split_scene_v1.csv                               which frames belong to which split
    ROOT/SCENE/images/scene_CAM_final_preview/frame.NNNN.tonemap.jpg
    ROOT/SCENE/images/scene_CAM_geometry_hdf5/frame.NNNN.depth_meters.hdf5    distance along the ray, metres
    ROOT/SCENE/images/scene_CAM_geometry_hdf5/frame.NNNN.normal_cam.hdf5      camera frame, x right, y up, z back

Without the csv the folder below ROOT that is named as the split is read, as the preparation of Lotus leaves it. Where
ROOT holds ``complete_frames_SPLIT.txt``, made by `list_complete_frames`, only the frames it names are read.

Source: Roberts et al., "Hypersim" (arXiv 2011.02523) and apple/ml-hypersim; issues 9 and 26 there for the distances and
for normals that look away.
"""

from __future__ import annotations

import csv
import importlib
import io
import math
import re
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from ...errors import CorruptSampleError, DatasetError, MissingExtraError
from ..sample import Sample
from .archives import FileTree
from .pixels import read_array, rgb01
from .resizing import resize_picture, resize_plane

SPLIT_FILE: Final = "metadata_images_split_scene_v1.csv"
FOV_X_DEG: Final = 60.0
"""Horizontal field of view; 1024 pixels then have a focal length of 886.81."""

_PICTURE: Final = re.compile(
    r"(?:^|/)(?P<scene>ai_\d+_\d+)/images/scene_(?P<camera>[^/]+)_final_preview/frame\.(?P<frame>\d+)\.tonemap\.jpg$"
)
_SHORTEST: Final = 0.5


class Hypersim:
    """Hypersim's frames, as `Sample`: z-depth, and normals that face the camera.

    Args:
        files: The data set.
        split: "train", "val" or "test".
        size: (height, width) of every example.

    Raises:
        DatasetError: No frames of that split.
        MissingExtraError: h5py is not installed.
    """

    def __init__(self, files: FileTree, split: str = "train", size: tuple[int, int] = (576, 768)) -> None:
        require_h5py()
        self._files = files
        self._size = size
        self._names = _listed(files, split, _frames(files, split))

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Sample:
        """Return one frame.

        Raises:
            CorruptSampleError: A file of it is missing or damaged, or holds no depth at all.
        """
        name = self._names[index]
        geometry = _geometry(name)
        rgb = torch.from_numpy(read_array(self._files, name, rgb01))
        distance = self._read(f"{geometry}.depth_meters.hdf5", tuple(rgb.shape[:2]))
        normal = self._read(f"{geometry}.normal_cam.hdf5", tuple(rgb.shape))
        depth, vectors = z_depth(distance), camera_normals(normal)
        valid = depth.isfinite() & (depth > 0) & (vectors != 0).any(0)
        if not bool(valid.any()):
            raise CorruptSampleError(
                f"{name} has no pixel with depth and normal",
                path=self._files.path / name,
                remedy="leave it out",
            )
        return Sample(
            image=resize_picture(rgb.movedim(-1, 0) * 2.0 - 1.0, self._size).clamp(-1.0, 1.0),
            depth=resize_plane(torch.where(valid, depth, 0.0), self._size),
            normal=resize_plane(vectors * valid, self._size),
            valid=resize_plane(valid, self._size),
            sky=torch.zeros(self._size, dtype=torch.bool),
            name=str(self._files.path / name),
        )

    def _read(self, name: str, expected: tuple[int, ...]) -> Tensor:
        array = read_array(self._files, name, _hdf5)
        if array.shape != expected:
            raise CorruptSampleError(
                f"{name} does not fit its picture",
                path=self._files.path / name,
                found=f"shape {array.shape}, expected {expected}",
                remedy="download it again",
            )
        return torch.from_numpy(array.astype(np.float32))


def list_complete_frames(files: FileTree, split: str = "train") -> list[str]:
    """Return the frames of a split whose depth is known at every pixel: those that the published training uses.

    Every depth map is read, so this takes long. Written to ROOT as `complete_list_name` says, one name a line, the
    result limits what `Hypersim` reads. Frames whose depth cannot be read are left out.

    Args:
        files: The data set.
        split: "train", "val" or "test".

    Raises:
        DatasetError: No frames of that split.
        MissingExtraError: h5py is not installed.

    Source: Lotus, section 5.1: 39 of 54 thousand frames remain "after filtering out incomplete samples".
    """
    require_h5py()
    complete: list[str] = []
    for name in _frames(files, split):
        try:
            distance = read_array(files, f"{_geometry(name)}.depth_meters.hdf5", _hdf5)
        except CorruptSampleError:
            continue
        if np.isfinite(distance).all():
            complete.append(name)
    return complete


def complete_list_name(split: str) -> str:
    """Return the name of the list of complete frames, below the root of the data set."""
    return f"complete_frames_{split}.txt"


def z_depth(distance: Tensor) -> Tensor:
    """Return depth along the optical axis from distances along the rays: ``d * f / |(x, y, f)|``.

    At the middle of the picture both are equal; at the corner of 1024 x 768 a distance of 1 is a depth of 0.811.

    Args:
        distance: (H, W) float, of a picture with the field of view of Hypersim; NaN stays NaN.

    Returns:
        (H, W) float.
    """
    height, width = distance.shape
    focal = width / 2 / math.tan(math.radians(FOV_X_DEG) / 2)
    x = torch.arange(width, dtype=torch.float64) + 0.5 - width / 2
    y = torch.arange(height, dtype=torch.float64) + 0.5 - height / 2
    ray = (x[None, :] ** 2 + y[:, None] ** 2 + focal**2).sqrt() / focal
    return (distance.double() / ray).to(distance.dtype)


def camera_normals(normals: Tensor) -> Tensor:
    """Return Hypersim's normals in Lotus's frame, facing the camera.

    Hypersim has x to the right, y up and z toward the viewer, Lotus x to the left; so x is negated. Some of
    Hypersim's normals look away from the camera and are turned round.

    Args:
        normals: (H, W, 3) float; NaN or short vectors are unknown.

    Returns:
        (3, H, W) float unit vectors, +x left, +y up, +z toward the camera; zero where unknown.
    """
    vectors = normals.movedim(-1, 0) * normals.new_tensor([-1.0, 1.0, 1.0])[:, None, None]
    length = vectors.norm(dim=0)
    known = length.isfinite() & (length > _SHORTEST)
    unit = torch.where(known, vectors / torch.where(known, length, 1.0), 0.0)
    height, width = normals.shape[:2]
    focal = width / 2 / math.tan(math.radians(FOV_X_DEG) / 2)
    x = (torch.arange(width) + 0.5 - width / 2) / focal
    y = (torch.arange(height) + 0.5 - height / 2) / focal
    # In Lotus's frame the ray to a pixel that lies right of and below the middle is (-x, -y, -1).
    along_ray = -(unit[0] * x[None, :] + unit[1] * y[:, None] + unit[2])
    return torch.where(along_ray > 0, -unit, unit)


def require_h5py() -> Any:
    """Return the module h5py.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        return importlib.import_module("h5py")
    except ImportError as error:
        raise MissingExtraError("h5py", "train", "reading Hypersim") from error


def _hdf5(data: bytes) -> np.ndarray:
    with require_h5py().File(io.BytesIO(data), "r") as file:
        return np.asarray(file["dataset"])


def _geometry(name: str) -> str:
    return name.replace("_final_preview/", "_geometry_hdf5/").removesuffix(".tonemap.jpg")


def _listed(files: FileTree, split: str, names: list[str]) -> list[str]:
    """Return the frames that the list of complete ones names, or all where there is none."""
    wanted = complete_list_name(split)
    if wanted not in files.names():
        return names
    complete = set(files.read(wanted).decode("utf-8", errors="replace").split())
    kept = [name for name in names if name in complete]
    if not kept:
        raise DatasetError(
            f"{files.path / wanted} names no frame of this data set",
            path=files.path / wanted,
            remedy="make it again",
        )
    return kept


def _frames(files: FileTree, split: str) -> list[str]:
    names = files.names()
    pictures = {name: match for name in names if (match := _PICTURE.search(name))}
    tables = [name for name in names if name.split("/")[-1] == SPLIT_FILE]
    if tables:
        wanted = set(_split_rows(files, tables[0], split))
        chosen = [
            name for name, m in pictures.items() if (m["scene"], m["camera"], int(m["frame"])) in wanted
        ]
    else:
        chosen = [name for name in pictures if split in name.split("/")[:-1]]
    if not chosen:
        raise DatasetError(
            f"{files.path} holds no frames of Hypersim's split {split!r}",
            path=files.path,
            found=f"{len(pictures)} frames, {'with' if tables else 'without'} {SPLIT_FILE}",
            remedy=f"put {SPLIT_FILE} beside the scenes, or the scenes into a folder {split}/",
        )
    return chosen


def _split_rows(files: FileTree, name: str, split: str) -> Iterator[tuple[str, str, int]]:
    """Yield (scene, camera, frame) of the released frames of a split."""
    text = files.read(name).decode("utf-8", errors="replace")
    for row in csv.DictReader(io.StringIO(text)):
        try:
            released = row["included_in_public_release"].strip().lower() == "true"
            if released and row["split_partition_name"].strip() == split:
                yield row["scene_name"], row["camera_name"], int(row["frame_id"])
        except (KeyError, AttributeError, ValueError) as error:
            raise DatasetError(
                f"{files.path / name} cannot be read",
                path=files.path / name,
                found=f"a row {row}",
                remedy="download it again",
            ) from error
