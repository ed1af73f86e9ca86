"""NYUv2, ScanNet, iBims-1, Sintel and OASIS in DSINE's layout for surface normals.

A picture ``x_img.png`` has its truth beside it: ``x_normal.png`` (8 bits), ``.exr`` or ``.pkl``. All hold x to the
left, y up, z toward the camera, but for OASIS's, whose x and y are the other way round.

Source: DSINE (arXiv 2403.00712) and the public readers of baegwangbin/DSINE and EnVision-Research/Lotus.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import numpy as np
import torch

from ..errors import CorruptSampleError
from ..training.data.archives import FileTree
from ..training.data.pixels import exr_rgb, integers, read_array, rgb01
from .pickled_arrays import read_pickled
from .samples import NormalSample, Rules
from .selection import choose_names

Truth = tuple[np.ndarray, np.ndarray]
"""Normals in DSINE's frame (left, up, toward), (H, W, 3) float32, and where they are known, (H, W) bool."""


@dataclass(frozen=True)
class NormalLayout:
    """How one data set keeps its files.

    Attributes:
        rules: How it is scored.
        folder: Its folder in the published archive.
        pattern: Regular expression of a picture's path.
        suffix: What takes the place of "_img.*" in the truth's name.
        decode: Reads the truth: (files, name, height, width) -> normals and mask.
    """

    rules: Rules
    folder: str
    pattern: str
    suffix: str
    decode: Callable[[FileTree, str, int, int], Truth]


@dataclass(frozen=True)
class NormalBenchmark:
    """One of the field's data sets, opened.

    Attributes:
        layout: How it keeps its files.
        files: The files.
        only: Names of a published file list, or None for all.
    """

    layout: NormalLayout
    files: FileTree
    only: Sequence[str] | None = None
    _names: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        names = choose_names(self.files, self.layout.pattern, self.only, folder=self.layout.folder)
        object.__setattr__(self, "_names", names)

    @property
    def rules(self) -> Rules:
        """How it is scored."""
        return self.layout.rules

    def names(self) -> list[str]:
        """Return the names of all pictures."""
        return list(self._names)

    def load(self, name: str) -> NormalSample:
        """Return one picture and its normals.

        Raises:
            CorruptSampleError: A file of it is missing or damaged.
            MissingExtraError: The truth is an EXR and the package OpenEXR is not installed.
        """
        rgb = read_array(self.files, name, rgb01)
        truth = re.sub(r"_img\.\w+$", self.layout.suffix, name)
        normals, known = self.layout.decode(self.files, truth, *rgb.shape[:2])
        if normals.shape != rgb.shape:
            raise CorruptSampleError(
                f"the normals of {name} do not fit their picture",
                path=self.files.path / truth,
                found=f"{normals.shape} and {rgb.shape}",
                remedy="use the data set as published",
            )
        # DSINE's frame is the OpenCV frame with every axis turned round.
        vectors = torch.from_numpy(-normals.astype(np.float32))
        return NormalSample(name, torch.from_numpy(rgb), vectors, torch.from_numpy(known))


def _eight_bits(files: FileTree, name: str, height: int, width: int) -> Truth:
    painted = read_array(files, name, integers)
    if painted.ndim != 3 or painted.dtype != np.uint8:
        raise CorruptSampleError(
            f"{name} is no 8-bit colour picture",
            path=files.path / name,
            found=f"{painted.dtype} of shape {painted.shape}",
            remedy="use the data set as published",
        )
    painted = painted[..., :3]
    return painted.astype(np.float32) / 255.0 * 2.0 - 1.0, (painted != 0).any(axis=-1)


def _floats(files: FileTree, name: str, height: int, width: int) -> Truth:
    normals = np.nan_to_num(read_array(files, name, exr_rgb))
    return normals, np.asarray(np.linalg.norm(normals, axis=-1) > 0.5)


def _oasis(files: FileTree, name: str, height: int, width: int) -> Truth:
    """Return the normals of one region of interest, in place; all else is unknown."""

    def decode(data: bytes) -> np.ndarray:
        record = read_pickled(data)
        region = np.asarray(record["normal"], dtype=np.float32)
        top, bottom, left, right = (int(record[key]) for key in ("min_y", "max_y", "min_x", "max_x"))
        inside = 0 <= top <= bottom < height and 0 <= left <= right < width
        if not inside or region.shape != (bottom - top + 1, right - left + 1, 3):
            raise ValueError(
                f"a region of shape {region.shape} at rows {top}-{bottom}, columns {left}-{right}"
            )
        whole = np.zeros((height, width, 3), dtype=np.float32)
        whole[top : bottom + 1, left : right + 1] = region * np.array([-1.0, -1.0, 1.0], dtype=np.float32)
        return whole

    normals = read_array(files, name, decode)
    return normals, (normals != 0).any(-1)


NORMAL_LAYOUTS: Final = MappingProxyType(
    {
        "nyuv2": NormalLayout(Rules("NYUv2", 654), "nyuv2", r"test/\d+_img\.png", "_normal.png", _eight_bits),
        "scannet": NormalLayout(
            Rules("ScanNet", 300), "scannet", r"scene\d+_\d+/\d+_img\.png", "_normal.png", _eight_bits
        ),
        "ibims": NormalLayout(Rules("iBims-1", 100), "ibims", r"[^/]+_img\.png", "_normal.exr", _floats),
        "sintel": NormalLayout(
            Rules("Sintel", 1064), "sintel", r"[^/]+/frame_\d+_img\.png", "_normal.exr", _floats
        ),
        "oasis": NormalLayout(Rules("OASIS", 10_000), "oasis", r"val/[^/]+_img\.png", "_normal.pkl", _oasis),
    }
)
"""By name. The numbers of pictures are those of DSINE's file lists."""
