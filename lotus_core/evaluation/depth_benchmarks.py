"""NYUv2, KITTI, ETH3D, ScanNet and DIODE in the layout that the field shares for affine-invariant depth.

Source: the evaluation archives of Marigold, also used by Lotus and Diffusion-E2E-FT; scale factors, ranges, crops and
working resolutions as in the public code of prs-eth/Marigold and EnVision-Research/Lotus.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import numpy as np
import torch
from torch import Tensor

from ..errors import CorruptSampleError
from ..training.data.archives import FileTree
from ..training.data.pixels import integers, npy, raw_float32, read_array, rgb01
from .crops import KittiCrop, kitti_benchmark_crop, kitti_mask, nyu_eigen_mask
from .samples import DepthSample, Rules
from .selection import choose_names


@dataclass(frozen=True)
class DepthLayout:
    """How one data set keeps its files.

    Attributes:
        rules: How it is scored.
        archive: The published archive, below the folder that holds all of them.
        pattern: Regular expression of a picture's path.
        load: Reads one picture: (files, its name, rules, crop) -> sample.
    """

    rules: Rules
    archive: str
    pattern: str
    load: Callable[[FileTree, str, Rules, KittiCrop], DepthSample]


@dataclass(frozen=True)
class DepthBenchmark:
    """One of the field's data sets, opened.

    Attributes:
        layout: How it keeps its files.
        files: The files.
        crop: Pixels that count, for KITTI.
        only: Names of a published file list, or None for all.
    """

    layout: DepthLayout
    files: FileTree
    crop: KittiCrop = "eigen"
    only: Sequence[str] | None = None
    _names: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        names = choose_names(self.files, self.layout.pattern, self.only)
        object.__setattr__(self, "_names", names)

    @property
    def rules(self) -> Rules:
        """How it is scored."""
        return self.layout.rules

    def names(self) -> list[str]:
        """Return the names of all pictures."""
        return list(self._names)

    def load(self, name: str) -> DepthSample:
        """Return one picture and its depth.

        Raises:
            CorruptSampleError: A file of it is missing or damaged.
        """
        return self.layout.load(self.files, name, self.rules, self.crop)


def _nyu(files: FileTree, name: str, rules: Rules, crop: KittiCrop) -> DepthSample:
    depth = _metres(files, name.replace("/rgb_", "/depth_"), 1000.0)
    valid = rules.in_range(depth) & nyu_eigen_mask(depth.shape[0], depth.shape[1])
    return _sample(files, name, _picture(files, name), depth, valid)


def _scannet(files: FileTree, name: str, rules: Rules, crop: KittiCrop) -> DepthSample:
    depth = _metres(files, re.sub(r"color/(\d+)\.jpg$", r"depth/\1.png", name), 1000.0)
    return _sample(files, name, _picture(files, name), depth, rules.in_range(depth))


def _kitti(files: FileTree, name: str, rules: Rules, crop: KittiCrop) -> DepthSample:
    depth_name = re.sub(
        r"\d{4}_\d\d_\d\d/([^/]+)/image_02/data/(\d+\.png)$", r"\1/proj_depth/groundtruth/image_02/\2", name
    )
    depth = kitti_benchmark_crop(_metres(files, depth_name, 256.0))
    valid = rules.in_range(depth) & kitti_mask(depth.shape[0], depth.shape[1], crop)
    return _sample(files, name, kitti_benchmark_crop(_picture(files, name)), depth, valid)


def _eth3d(files: FileTree, name: str, rules: Rules, crop: KittiCrop) -> DepthSample:
    rgb = _picture(files, name)
    depth_name = re.sub(
        r"rgb/([^/]+)/images/dslr_images/([^/]+)$",
        r"depth/\1_dslr_depth/\1/ground_truth_depth/dslr_images/\2",
        name,
    )
    array = read_array(files, depth_name, raw_float32(rgb.shape[0], rgb.shape[1]))
    depth = torch.from_numpy(np.where(np.isfinite(array), array, 0.0).astype(np.float32))
    return _sample(files, name, rgb, depth, rules.in_range(depth))


def _diode(files: FileTree, name: str, rules: Rules, crop: KittiCrop) -> DepthSample:
    stem = name.removesuffix(".png")
    depth, mask = (
        torch.from_numpy(read_array(files, stem + end, npy).astype(np.float32)).squeeze()
        for end in ("_depth.npy", "_depth_mask.npy")
    )
    # The published protocol takes DIODE's own mask alone; a masked depth of 0 would have no logarithm.
    valid = (mask > 0.5) & (depth > 0) & depth.isfinite() if mask.shape == depth.shape else mask > 0.5
    return _sample(files, name, _picture(files, name), depth, valid)


def _picture(files: FileTree, name: str) -> Tensor:
    return torch.from_numpy(read_array(files, name, rgb01))


def _metres(files: FileTree, name: str, per_metre: float) -> Tensor:
    return torch.from_numpy(read_array(files, name, integers).astype(np.float32) / np.float32(per_metre))


def _sample(files: FileTree, name: str, rgb: Tensor, depth: Tensor, valid: Tensor) -> DepthSample:
    if depth.shape != rgb.shape[:2] or valid.shape != depth.shape:
        raise CorruptSampleError(
            f"the depth of {name} does not fit its picture",
            path=files.path / name,
            found=f"{tuple(depth.shape)} and {tuple(rgb.shape[:2])}",
            remedy="use the data set as published",
        )
    return DepthSample(name, rgb, depth, valid)


DEPTH_LAYOUTS: Final = MappingProxyType(
    {
        "nyuv2": DepthLayout(
            Rules("NYUv2", 654, nearest_m=1e-3, farthest_m=10.0),
            "nyuv2/nyu_labeled_extracted.tar",
            r"test/[^/]+/rgb_\d+\.png",
            _nyu,
        ),
        "kitti": DepthLayout(
            Rules("KITTI", 652, nearest_m=1e-5, farthest_m=80.0),
            "kitti/kitti_eigen_split_test.tar",
            r"\d{4}_\d\d_\d\d/[^/]+_sync/image_02/data/\d+\.png",
            _kitti,
        ),
        "eth3d": DepthLayout(
            Rules("ETH3D", 454, resolution=768, nearest_m=1e-5, fit_max_side=1024),
            "eth3d/eth3d.tar",
            r"rgb/[^/]+/images/dslr_images/[^/]+\.JPG",
            _eth3d,
        ),
        "scannet": DepthLayout(
            Rules("ScanNet", 800, nearest_m=1e-3, farthest_m=10.0),
            "scannet/scannet_val_sampled_800_1.tar",
            r"scene\d+_\d+/color/\d+\.jpg",
            _scannet,
        ),
        "diode": DepthLayout(
            Rules("DIODE", 771, resolution=640, nearest_m=0.6, farthest_m=350.0),
            "diode/diode_val.tar",
            r"(?:indoors|outdoor)/scene_\d+/scan_\d+/[^/]+\.png",
            _diode,
        ),
    }
)
"""By name. The numbers of pictures are those of the published archives."""
