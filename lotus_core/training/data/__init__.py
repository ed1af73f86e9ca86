"""Readers of training data in its published folder layouts (extra `train`)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ...errors import OptionError
from ..sample import Dataset
from .archives import open_tree
from .hypersim import Hypersim
from .virtual_kitti import VirtualKitti

Kind = Literal["hypersim", "virtual-kitti"]


def open_dataset(
    kind: Kind, folder: str | Path, *, split: str = "train", size: tuple[int, int] | None = None
) -> Dataset:
    """Return a data set whose examples all have one size.

    Args:
        kind: "hypersim" or "virtual-kitti" (Virtual KITTI 2).
        folder: Its folder, tar or zip, in the published layout.
        split: "train", "val" or (Hypersim) "test".
        size: (height, width) in pixels, multiples of 8; None: as published, 576 x 768 for Hypersim and 352 x 1216 for
            Virtual KITTI.

    Raises:
        DatasetError: Nothing there, or another layout.
        OptionError: An unknown kind, split or size.
        MissingExtraError: h5py is not installed (Hypersim).
    """
    if size is not None and (min(size) < 8 or size[0] % 8 or size[1] % 8):
        raise OptionError("size", size, "(height, width), multiples of 8")
    if kind == "hypersim":
        return (
            Hypersim(open_tree(folder), split) if size is None else Hypersim(open_tree(folder), split, size)
        )
    if kind == "virtual-kitti":
        files = open_tree(folder)
        return VirtualKitti(files, split) if size is None else VirtualKitti(files, split, size)
    raise OptionError("kind", kind, '"hypersim" or "virtual-kitti"')


__all__ = ["Hypersim", "Kind", "VirtualKitti", "open_dataset"]
