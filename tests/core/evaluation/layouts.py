"""Writes data sets of two pictures in the layouts in which the field shares them."""

from __future__ import annotations

import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from lotus_core.io.exr import write_exr


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".exr":
        write_exr(path, {c: torch.from_numpy(array[..., i].copy()) for i, c in enumerate("RGB")})
    else:
        Image.fromarray(array).save(path)


def picture(height: int, width: int, level: int = 51) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def ramp(height: int, width: int, near: float, far: float) -> np.ndarray:
    """Depth in metres that grows from the left to the right, float64."""
    return np.linspace(near, far, width)[None].repeat(height, 0)


def write_nyu(root: Path) -> None:
    for scene, number in (("kitchen_0004", 1), ("office_0005", 9)):
        save(root / f"test/{scene}/rgb_{number:04}.png", picture(480, 640))
        depth = (ramp(480, 640, 1.0, 9.0) * 1000).round().astype(np.uint16)
        depth[100, 100], depth[100, 101] = 0, 12_000  # nothing measured; farther than 10 m
        save(root / f"test/{scene}/depth_{number:04}.png", depth)
        save(root / f"test/{scene}/filled_{number:04}.png", depth)
    save(root / "train/office_0003/rgb_0003.png", picture(480, 640))


def write_kitti(root: Path) -> None:
    for frame in ("0000000005", "0000000069"):
        drive = "2011_09_26_drive_0002_sync"
        save(root / f"2011_09_26/{drive}/image_02/data/{frame}.png", picture(375, 1242))
        depth = (ramp(375, 1242, 2.0, 90.0) * 256).round().astype(np.uint16)
        depth[::2] = 0  # a lidar leaves gaps
        save(root / f"{drive}/proj_depth/groundtruth/image_02/{frame}.png", depth)


def write_eth3d(root: Path) -> None:
    for name in ("DSC_0219", "DSC_0220"):
        save(root / f"rgb/office/images/dslr_images/{name}.JPG", picture(32, 48))
        depth = ramp(32, 48, 1.0, 5.0).astype("<f4")
        depth[0, 0] = np.inf
        path = root / f"depth/office_dslr_depth/office/ground_truth_depth/dslr_images/{name}.JPG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(depth.tobytes())


def write_scannet(root: Path) -> None:
    for scene, frame in (("scene0406_02", "000300"), ("scene0088_02", "001100")):
        save(root / f"{scene}/color/{frame}.jpg", picture(24, 32))
        save(root / f"{scene}/depth/{frame}.png", (ramp(24, 32, 0.0, 12.0) * 1000).round().astype(np.uint16))


def write_diode(root: Path) -> None:
    for where, name in (
        ("indoors", "00021_00189_indoors_200_010"),
        ("outdoor", "00022_00196_outdoor_350_020"),
    ):
        folder = root / where / f"scene_{name[:5]}" / f"scan_{name[6:11]}"
        save(folder / f"{name}.png", picture(24, 32))
        depth = ramp(24, 32, 0.0, 31.0).astype(np.float32)
        save(folder / f"{name}_depth.npy", depth[..., None])
        mask = np.ones((24, 32), np.float32)
        mask[0] = 0
        save(folder / f"{name}_depth_mask.npy", mask)


def painted(normals: np.ndarray) -> np.ndarray:
    """8-bit picture of normals in DSINE's frame."""
    return ((normals * 0.5 + 0.5) * 255).round().astype(np.uint8)


def left_up_toward(height: int, width: int) -> np.ndarray:
    """Normals in DSINE's frame: left half toward the camera, right half up."""
    normals = np.zeros((height, width, 3), np.float32)
    normals[:, : width // 2, 2] = 1.0
    normals[:, width // 2 :, 1] = 1.0
    return normals


def write_normals(root: Path, dataset: str, size: tuple[int, int] = (24, 32)) -> None:
    """One of DSINE's data sets; the first row has no truth."""
    stems = {
        "nyuv2": ("test/000000", "test/000001"),
        "scannet": ("scene0532_00/000000", "scene0220_02/000450"),
        "ibims": ("ibims/corridor_01", "ibims/corridor_02"),
        "sintel": ("alley_1/frame_0001", "alley_1/frame_0002"),
        "oasis": ("val/100277_DT", "val/100591_DT"),
    }[dataset]
    normals = left_up_toward(*size)
    for stem in stems:
        save(root / f"{stem}_img.png", picture(*size))
        np.save(root / f"{stem}_intrins.npy", np.eye(3))
        if dataset in ("ibims", "sintel"):
            masked = normals.copy()
            masked[0] = 0
            save(root / f"{stem}_normal.exr", masked)
        elif dataset == "oasis":
            write_oasis(root / f"{stem}_normal.pkl", normals[1:])
        else:
            image = painted(normals)
            image[0] = 0
            save(root / f"{stem}_normal.png", image)


def write_oasis(path: Path, lut: np.ndarray, protocol: int = 4) -> None:
    """OASIS's record of the region of all rows but the first; its x and y are DSINE's, negated."""
    height, width = lut.shape[:2]
    record = {
        "normal": lut * np.float32([-1, -1, 1]),
        "min_y": 1,
        "max_y": np.int64(height),
        "min_x": 0,
        "max_x": np.int64(width - 1),
    }
    path.write_bytes(pickle.dumps(record, protocol=protocol))


def pack_tar(folder: Path, archive: Path, prefix: str = "./") -> Path:
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w") as tar:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                tar.add(file, prefix + file.relative_to(folder).as_posix())
    return archive


def pack_zip(folder: Path, archive: Path, prefix: str = "") -> Path:
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w") as pack:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                pack.write(file, prefix + file.relative_to(folder).as_posix())
    return archive


DEPTH_WRITERS = {
    "nyuv2": write_nyu,
    "kitti": write_kitti,
    "eth3d": write_eth3d,
    "scannet": write_scannet,
    "diode": write_diode,
}
NORMAL_SETS = ("nyuv2", "scannet", "ibims", "sintel", "oasis")
