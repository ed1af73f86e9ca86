"""Data sets by name, or a plain folder by its path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ..errors import DatasetError
from ..training.data.archives import FileTree, open_tree
from .crops import KittiCrop
from .depth_benchmarks import DEPTH_LAYOUTS, DepthBenchmark
from .normal_benchmarks import NORMAL_LAYOUTS, NormalBenchmark
from .plain_folder import PlainDepth, PlainNormals
from .samples import Benchmark, DepthSample, NormalSample, Purpose

DATASETS: Final[dict[Purpose, tuple[str, ...]]] = {
    "depth": tuple(DEPTH_LAYOUTS),
    "normal": tuple(NORMAL_LAYOUTS),
}
"""Names of the field's data sets."""

_DSINE: Final = "dsine_eval"


def open_depth(
    dataset: str, data: Path | None, *, crop: KittiCrop = "eigen", only: Sequence[str] | None = None
) -> Benchmark[DepthSample]:
    """Return a data set with depth.

    Args:
        dataset: One of `DATASETS`, or a plain folder (or archive of one).
        data: Where a named data set lies: its archive or folder, or the folder that holds all archives as published.
        crop: Pixels that count, for KITTI.
        only: Names of a published file list, or None for all pictures.

    Raises:
        DatasetError: An unknown name, nothing there, or another layout.
    """
    if dataset not in DEPTH_LAYOUTS:
        return PlainDepth(_plain(dataset, "depth"), "depth")
    layout = DEPTH_LAYOUTS[dataset]
    root = _required(dataset, data, layout.archive)
    archive = Path(layout.archive)
    files = _first(root, [archive, archive.parent / archive.stem, Path(archive.name), archive.parent])
    return DepthBenchmark(layout, files, crop, only)


def open_normals(
    dataset: str, data: Path | None, *, only: Sequence[str] | None = None
) -> Benchmark[NormalSample]:
    """Return a data set with normals.

    Args:
        dataset: One of `DATASETS`, or a plain folder (or archive of one).
        data: Where a named data set lies: the unpacked or zipped dsine_eval, or its folder in it.
        only: Names of a published file list, or None for all pictures.

    Raises:
        DatasetError: An unknown name, nothing there, or another layout.
    """
    if dataset not in NORMAL_LAYOUTS:
        return PlainNormals(_plain(dataset, "normal"), "normal")
    layout = NORMAL_LAYOUTS[dataset]
    root = _required(dataset, data, f"{_DSINE}/{layout.folder}")
    candidates = [
        Path(_DSINE) / layout.folder,
        Path(f"{_DSINE}.zip"),
        Path(f"{_DSINE}.tar"),
        Path(layout.folder),
    ]
    return NormalBenchmark(layout, _first(root, candidates), only)


def _plain(dataset: str, purpose: Purpose) -> FileTree:
    if not Path(dataset).exists():
        raise DatasetError(
            f"{dataset} is neither a data set with {'normals' if purpose == 'normal' else 'depth'} nor a folder",
            path=dataset,
            remedy=f"choose scenes, {', '.join(DATASETS[purpose])}, or a folder with rgb/ and {purpose}/",
        )
    return open_tree(dataset)


def _required(dataset: str, data: Path | None, published: str) -> Path:
    if data is None:
        raise DatasetError(
            f"{dataset} needs its files",
            path=published,
            remedy=f"say where they are with --data: {published}, or the folder that holds it",
        )
    return data


def _first(root: Path, candidates: Sequence[Path]) -> FileTree:
    if root.is_dir():
        for candidate in candidates:
            if (root / candidate).exists():
                return open_tree(root / candidate)
    return open_tree(root)
