"""Virtual KITTI 2: rendered streets, in the layout in which Naver Labs publishes them.

Layout::

    ROOT/SceneNN/VARIATION/frames/rgb/Camera_C/rgb_NNNNN.jpg
    ROOT/SceneNN/VARIATION/frames/depth/Camera_C/depth_NNNNN.png      16 bits, centimetres, sky at 65535
    ROOT/SceneNN/VARIATION/intrinsic.txt                              frame, camera, fx, fy, cx, cy

The three may also lie below ROOT/rgb, ROOT/depth and ROOT/textgt, as in the evaluation archives of Marigold.

Source: Cabon et al., "Virtual KITTI 2" (arXiv 2001.10773) and its page at Naver Labs.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np
import torch
from torch import Tensor

from ...errors import CorruptSampleError, DatasetError, OptionError
from ..sample import Sample
from .archives import FileTree
from .pixels import integers, read_array, rgb01
from .plane_fit import normals_by_plane_fit
from .resizing import lower_middle, resize_picture, resize_plane

PUBLISHED_CROP: Final = (352, 1216)
NEAREST_M: Final = 1e-5
FARTHEST_M: Final = 80.0
"""From here on everything counts as sky. Source: Marigold and Lotus (section 5.1: "the far plane at 80m")."""

SPLITS: Final = {"train": ("02", "06", "18", "20"), "val": ("01",)}
"""Source: Lotus, section 5.1: four of the five scenes."""

_PICTURE: Final = re.compile(
    r"(?:^|/)Scene(?P<scene>\d\d)/(?P<variation>[^/]+)/frames/rgb/Camera_(?P<camera>[01])/rgb_(?P<frame>\d{5})\.jpg$"
)
_DEFAULT: Final = (725.0087, 725.0087, 620.5, 187.0)
"""fx, fy, cx, cy of every frame, where intrinsic.txt is not there. Source: the data set's page."""


class VirtualKitti:
    """Virtual KITTI 2's frames, as `Sample`: depth in metres, sky, and normals from fitted planes.

    Args:
        files: The data set.
        split: "train" or "val".
        size: (height, width) of every example: the published crop, brought to this size.

    Raises:
        DatasetError: No frames of that split.
        OptionError: An unknown split.
    """

    def __init__(self, files: FileTree, split: str = "train", size: tuple[int, int] = PUBLISHED_CROP) -> None:
        if split not in SPLITS:
            raise OptionError("split", split, '"train" or "val"')
        self._files = files
        self._size = size
        self._cameras: dict[str, dict[tuple[int, int], tuple[float, ...]]] = {}
        names = files.names()
        self._all = frozenset(names)
        matches = {name: match for name in names if (match := _PICTURE.search(name))}
        self._frames = [(name, match) for name, match in matches.items() if match["scene"] in SPLITS[split]]
        if not self._frames:
            raise DatasetError(
                f"{files.path} holds no frames of Virtual KITTI's split {split!r}",
                path=files.path,
                found=f"{len(matches)} frames of other scenes" if matches else "no SceneNN/.../rgb_NNNNN.jpg",
                remedy=f"unpack the published archives there: scenes {', '.join(SPLITS[split])}",
            )

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Sample:
        """Return one frame.

        Raises:
            CorruptSampleError: A file of it is missing or damaged.
        """
        name, match = self._frames[index]
        rgb = torch.from_numpy(read_array(self._files, name, rgb01)).movedim(-1, 0)
        depth = self._depth(name, tuple(rgb.shape[-2:]))
        valid, sky = (depth > NEAREST_M) & (depth < FARTHEST_M), depth >= FARTHEST_M
        normals = normals_by_plane_fit(depth, valid, self._intrinsics(name, match))
        valid = valid & (normals != 0).any(-1)
        return Sample(
            image=self._fitted(rgb * 2.0 - 1.0, picture=True).clamp(-1.0, 1.0),
            depth=self._fitted(torch.where(sky, torch.inf, depth)),
            normal=self._fitted(-normals.movedim(-1, 0)),  # OpenCV's frame with every axis turned is Lotus's
            valid=self._fitted(valid),
            sky=self._fitted(sky),
            name=str(self._files.path / name),
        )

    def _depth(self, name: str, size: tuple[int, ...]) -> Tensor:
        depth_name = _beside(name, "depth").replace("/rgb_", "/depth_").removesuffix(".jpg") + ".png"
        array = read_array(self._files, depth_name, integers)
        if array.shape != size:
            raise CorruptSampleError(
                f"{depth_name} does not fit its picture",
                path=self._files.path / depth_name,
                found=f"shape {array.shape}, expected {tuple(size)}",
                remedy="download it again",
            )
        return torch.from_numpy(array.astype(np.float32) / np.float32(100.0))

    def _intrinsics(self, name: str, match: re.Match[str]) -> Tensor:
        """Return (3, 3) intrinsics with pixel centres at +0.5; the files count them from 0."""
        folder = name[: name.index("/frames/")]
        candidates = (
            f"{folder}/intrinsic.txt",
            re.sub(r"(^|/)rgb/(?=Scene)", r"\1textgt/", folder) + "/intrinsic.txt",
        )
        table = next((candidate for candidate in candidates if candidate in self._all), None)
        values = _DEFAULT
        if table is not None:
            if table not in self._cameras:
                self._cameras[table] = _read_intrinsics(self._files, table)
            key = (int(match["frame"]), int(match["camera"]))
            if key not in self._cameras[table]:
                raise CorruptSampleError(
                    f"{table} has no row for frame {key[0]} of camera {key[1]}",
                    path=self._files.path / table,
                    remedy="download it again",
                )
            values = self._cameras[table][key]
        fx, fy, cx, cy = values
        return torch.tensor([[fx, 0.0, cx + 0.5], [0.0, fy, cy + 0.5], [0.0, 0.0, 1.0]], dtype=torch.float64)

    def _fitted(self, plane: Tensor, *, picture: bool = False) -> Tensor:
        """Return the published crop of a (..., H, W) plane, at this data set's size."""
        resize = resize_picture if picture else resize_plane
        height, width = plane.shape[-2:]
        growth = max(PUBLISHED_CROP[0] / height, PUBLISHED_CROP[1] / width)
        if growth > 1:
            plane = resize(
                plane,
                (max(PUBLISHED_CROP[0], int(height * growth)), max(PUBLISHED_CROP[1], int(width * growth))),
            )
        return resize(lower_middle(plane, PUBLISHED_CROP), self._size)


def _beside(name: str, kind: str) -> str:
    """Return a picture's name in the tree of another kind of file."""
    name = re.sub(r"(^|/)rgb/(?=Scene\d\d/)", rf"\1{kind}/", name)
    return name.replace("/frames/rgb/", f"/frames/{kind}/")


def _read_intrinsics(files: FileTree, name: str) -> dict[tuple[int, int], tuple[float, ...]]:
    """Return (fx, fy, cx, cy) by frame and camera."""
    lines = files.read(name).decode("ascii", errors="replace").splitlines()[1:]
    try:
        rows = [line.split() for line in lines if line.strip()]
        return {(int(r[0]), int(r[1])): (float(r[2]), float(r[3]), float(r[4]), float(r[5])) for r in rows}
    except (ValueError, IndexError) as error:
        raise CorruptSampleError(
            f"{files.path / name} is damaged",
            path=files.path / name,
            found=str(error),
            remedy="download it again",
        ) from error
