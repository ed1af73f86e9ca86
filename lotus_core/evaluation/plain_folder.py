"""A plain folder of one's own pictures with depth or normals beside them.

Layout::

    FOLDER/rgb/NAME.png                  pictures (also .jpg, .jpeg, .webp, .tif)
    FOLDER/depth/NAME.npy                metres; or 16-bit .png in 1/1000 m; or .exr (channel Y or Z) in metres
    FOLDER/normal/NAME.npy               OpenCV vectors, (H, W, 3); or .exr (R, G, B = x, y, z); or 8- or 16-bit .png
    FOLDER/mask/NAME.png                 optional: pixels other than 0 count
    FOLDER/dataset.json                  optional: see `FolderSettings`

A depth of 0, NaN or infinity and a normal shorter than 0.5 are unknown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import PurePosixPath
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from ..conventions import NormalConvention
from ..errors import CorruptSampleError, DatasetError
from ..training.data.archives import FileTree
from ..training.data.pixels import Decoder, exr_plane, exr_rgb, integers, npy, read_array, rgb01
from .samples import DepthSample, NormalSample, Purpose, Rules
from .selection import matching_names

_PICTURE: Final = r"rgb/.+\.(?:png|jpe?g|webp|tiff?)"


@dataclass(frozen=True)
class FolderSettings:
    """What ``dataset.json`` may say; every key may be left out.

    Attributes:
        name: Title in the table.
        depth_per_metre: What a depth PNG counts in a metre.
        nearest_m: Depths that count, metres.
        farthest_m: Likewise.
        normal_convention: How a normal PNG is painted: "lotus", "opengl", "directx" or "opencv".
        resolution: Longest side at which a model works; 0: the picture's own size.
    """

    name: str = ""
    depth_per_metre: float = 1000.0
    nearest_m: float = 1e-3
    farthest_m: float = float("inf")
    normal_convention: str = "lotus"
    resolution: int = 0


@dataclass(frozen=True)
class PlainFolder:
    """The pictures of a plain folder that have a truth.

    Attributes:
        files: The folder, tar or zip.
        purpose: Which truth is read.
        settings: What its dataset.json says.
    """

    files: FileTree
    purpose: Purpose
    settings: FolderSettings = field(init=False)
    _truths: dict[str, str] = field(init=False, repr=False)
    _masks: dict[str, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        pictures = matching_names(self.files, _PICTURE)
        names = self.files.names()
        beside = {_stem(name): name for name in names if f"/{self.purpose}/" in f"/{name}"}
        masks = {_stem(name): name for name in names if "/mask/" in f"/{name}"}
        truths = {name: beside[_stem(name)] for name in pictures if _stem(name) in beside}
        if not truths:
            raise DatasetError(
                f"no picture of {self.files.path} has a file of its name in {self.purpose}/",
                path=self.files.path,
                found=f"{len(pictures)} pictures such as {pictures[0]}",
                remedy=f"give {self.purpose}/ files the names of the pictures",
            )
        object.__setattr__(self, "settings", _read_settings(self.files, names))
        object.__setattr__(self, "_truths", truths)
        object.__setattr__(self, "_masks", {n: masks[_stem(n)] for n in truths if _stem(n) in masks})

    @property
    def rules(self) -> Rules:
        """How it is scored."""
        s = self.settings
        title = s.name or self.files.path.name
        return Rules(title, resolution=s.resolution, nearest_m=s.nearest_m, farthest_m=s.farthest_m)

    def names(self) -> list[str]:
        """Return the names of all pictures."""
        return list(self._truths)

    def _read(self, name: str, decoders: Mapping[str, Decoder]) -> tuple[Tensor, np.ndarray]:
        """Return a picture and its truth as stored."""
        truth = self._truths[name]
        decode = decoders.get(PurePosixPath(truth).suffix.lower())
        if decode is None:
            raise CorruptSampleError(
                f"{truth} is of a kind that is not read",
                path=self.files.path / truth,
                remedy=f"use {', '.join(decoders)}",
            )
        rgb = torch.from_numpy(read_array(self.files, name, rgb01))
        return rgb, read_array(self.files, truth, decode)

    def _is_png(self, name: str) -> bool:
        return PurePosixPath(self._truths[name]).suffix.lower() == ".png"

    def _mask(self, name: str, size: tuple[int, ...]) -> Tensor:
        """Return where a picture's mask lets pixels count; everywhere without one."""
        mask_name = self._masks.get(name)
        if mask_name is None:
            return torch.ones(size, dtype=torch.bool)
        array = read_array(self.files, mask_name, integers)
        mask = torch.from_numpy((array if array.ndim == 2 else array[..., 0]) != 0)
        _require_size(self.files, mask_name, mask, size)
        return mask


class PlainDepth(PlainFolder):
    """Depth of a plain folder."""

    def load(self, name: str) -> DepthSample:
        """Return one picture and its depth.

        Raises:
            CorruptSampleError: A file of it is missing or damaged, or they differ in size.
        """
        rgb, array = self._read(name, {".npy": npy, ".png": integers, ".exr": exr_plane})
        depth = torch.from_numpy(array.astype(np.float32)).squeeze()
        if self._is_png(name):
            depth = depth / self.settings.depth_per_metre
        _require_size(self.files, self._truths[name], depth, rgb.shape[:2])
        valid = self.rules.in_range(depth) & self._mask(name, rgb.shape[:2])
        return DepthSample(name, rgb, torch.where(valid, depth, 0.0), valid)


class PlainNormals(PlainFolder):
    """Normals of a plain folder."""

    def load(self, name: str) -> NormalSample:
        """Return one picture and its normals.

        Raises:
            CorruptSampleError: A file of it is missing or damaged, or they differ in size.
        """
        rgb, array = self._read(name, {".npy": npy, ".png": integers, ".exr": exr_rgb})
        normals = torch.from_numpy(array.astype(np.float32)).nan_to_num()
        _require_size(self.files, self._truths[name], normals, rgb.shape)
        if self._is_png(name):
            white = float(np.iinfo(array.dtype).max)
            signs = NormalConvention(self.settings.normal_convention).signs_from_opencv
            painted = (normals != 0).any(-1, keepdim=True)
            normals = (normals / white * 2.0 - 1.0) * normals.new_tensor(signs) * painted
        valid = (normals.norm(dim=-1) > 0.5) & self._mask(name, rgb.shape[:2])
        return NormalSample(name, rgb, normals, valid)


def _stem(name: str) -> str:
    """Return a name below its rgb/, depth/, normal/ or mask/ folder, without its suffix."""
    parts = PurePosixPath(name).with_suffix("").parts
    for folder in ("rgb", "depth", "normal", "mask"):
        if folder in parts[:-1]:
            return "/".join(parts[parts.index(folder) + 1 :])
    return "/".join(parts)


def _require_size(files: FileTree, name: str, array: Tensor, expected: tuple[int, ...]) -> None:
    if tuple(array.shape) != tuple(expected):
        raise CorruptSampleError(
            f"{name} does not fit its picture",
            path=files.path / name,
            found=f"shape {tuple(array.shape)}, expected {tuple(expected)}",
            remedy="give both the same size",
        )


def _read_settings(files: FileTree, names: list[str]) -> FolderSettings:
    found = [name for name in names if name.split("/")[-1] == "dataset.json"]
    if not found:
        return FolderSettings()
    path = files.path / found[0]
    try:
        said: dict[str, Any] = json.loads(files.read(found[0]))
        settings = FolderSettings(**said)
        NormalConvention(settings.normal_convention)
        for entry in fields(FolderSettings):
            value = getattr(settings, entry.name)
            if isinstance(value, bool) or not isinstance(value, str if entry.type == "str" else (int, float)):
                raise ValueError(f"{entry.name} is {value!r}")
    except (ValueError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"{path} cannot be used",
            path=path,
            found=str(error),
            remedy=f"use the keys {', '.join(entry.name for entry in fields(FolderSettings))}",
        ) from error
    return settings
