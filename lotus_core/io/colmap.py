"""Poses and points of a COLMAP reconstruction, in its text or its binary format.

The format is small and documented, and is read here with every count checked against what is left of the file:
COLMAP's own bindings take a damaged file for a shorter one, or read on for ever.

Convention:
    COLMAP stores camera_from_world as a unit quaternion (w, x, y, z) and a translation, in OpenCV's axes, and
    intrinsics in pixels with centres at +0.5: nothing has to be turned.

Source: https://colmap.github.io/format.html and https://colmap.github.io/cameras.html
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import GeometryError
from ..geometry.anchors import SparsePoints
from ..geometry.camera import Camera, invert_rigid
from ..geometry.distortion import Distortion
from .cameras import CameraSet, PosedImage
from .colmap_records import CameraRow, ImageRow, Points, read_binary, read_text

FILES = ("cameras", "images", "points3D")


def read_colmap(path: str | Path) -> CameraSet:
    """Read a COLMAP model.

    Args:
        path: Folder with cameras, images and points3D as ``.bin`` or ``.txt``, or a folder above it that holds
            the model as ``sparse/0``, ``sparse`` or ``colmap/sparse/0``.

    Returns:
        The views by name, and the points with their observations.

    Raises:
        GeometryError: No model is there, a file is damaged, or a camera model is no pinhole with radial and
            tangential distortion.
    """
    folder, suffix = find_model(path)
    reader = read_binary if suffix == ".bin" else read_text
    cameras, images, points = reader(folder)
    rows = sorted(images, key=lambda row: row.name)
    if not rows:
        raise GeometryError(
            f"the COLMAP model in {folder} has no registered picture", remedy="reconstruct it again"
        )
    posed = tuple(_posed_image(row, cameras, folder) for row in rows)
    return CameraSet(images=posed, points=_sparse_points(rows, points))


def find_model(path: str | Path) -> tuple[Path, str]:
    """Return the folder of a COLMAP model and the suffix of its files, ".bin" or ".txt".

    Raises:
        GeometryError: No model is there.
    """
    root = Path(path)
    for folder in (root, root / "sparse" / "0", root / "sparse", root / "colmap" / "sparse" / "0"):
        for suffix in (".bin", ".txt"):
            if all((folder / f"{name}{suffix}").is_file() for name in FILES):
                return folder, suffix
    raise GeometryError(
        f"no COLMAP model is in {root}",
        remedy="expected cameras, images and points3D as .bin or .txt, there or in sparse/0",
    )


def _posed_image(row: ImageRow, cameras: dict[int, CameraRow], folder: Path) -> PosedImage:
    camera = cameras.get(row.camera_id)
    if camera is None:
        raise GeometryError(
            f"{row.name} in {folder} uses a camera that the model does not have",
            found=f"camera {row.camera_id}",
            remedy="export the model again",
        )
    fx, fy, cx, cy = camera.pinhole
    intrinsics = torch.tensor([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
    pose = invert_rigid(_camera_from_world(row, folder)).float()
    return PosedImage(
        row.name, Camera(intrinsics, pose, camera.width, camera.height), Distortion(**camera.lens)
    )


def _camera_from_world(row: ImageRow, folder: Path) -> Tensor:
    """(4, 4) float64 from a quaternion (w, x, y, z) and a translation."""
    quaternion = torch.tensor(row.quaternion, dtype=torch.float64)
    length = float(quaternion.norm())
    if not abs(length - 1) < 1e-3 or not bool(np.isfinite(row.translation).all()):
        raise GeometryError(
            f"the pose of {row.name} in {folder} is no rigid motion",
            found=f"quaternion {row.quaternion}, translation {row.translation}",
            remedy="export the model again",
        )
    w, x, y, z = (quaternion / length).tolist()
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = torch.tensor(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    pose[:3, 3] = torch.tensor(row.translation, dtype=torch.float64)
    return pose


def _sparse_points(rows: list[ImageRow], points: Points) -> SparsePoints | None:
    """Points with their observations, renumbered from 0."""
    if len(points.ids) == 0:
        return None
    order = np.argsort(points.ids)
    ids, positions = points.ids[order], points.positions[order]
    views, seen = [], []
    for view, row in enumerate(rows):
        index = np.searchsorted(ids, row.point_ids).clip(max=len(ids) - 1)
        index = np.unique(index[ids[index] == row.point_ids])
        seen.append(index)
        views.append(np.full(len(index), view))
    return SparsePoints(
        positions=torch.from_numpy(positions).float(),
        views=torch.from_numpy(np.concatenate(views).astype(np.int64)),
        points=torch.from_numpy(np.concatenate(seen).astype(np.int64)),
    )
