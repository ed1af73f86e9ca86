"""Every file of every data set, cut at every tenth: a named error or a picture, never anything else."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from lotus_core.errors import CorruptSampleError, DatasetError
from lotus_core.evaluation.catalogue import open_depth, open_normals
from tests.core.evaluation.layouts import DEPTH_WRITERS, NORMAL_SETS, pack_tar, write_normals

SMALL = ("eth3d", "scannet", "diode")  # NYUv2 and KITTI need full-sized pictures and are cut once below


def open_set(purpose, name, root):
    return open_depth(name, root) if purpose == "depth" else open_normals(name, root)


def load_all(purpose, name, root) -> list[str]:
    """Load every picture; return the paths that errors name."""
    named = []
    benchmark = open_set(purpose, name, root)
    for picture in benchmark.names():
        try:
            sample = benchmark.load(picture)
        except CorruptSampleError as error:
            named.append(str(error.path))
        else:
            assert sample.valid.shape == sample.rgb.shape[:2]
    return named


CASES = [("depth", name) for name in SMALL] + [("normal", name) for name in NORMAL_SETS]


@pytest.mark.parametrize(("purpose", "name"), CASES)
def test_a_cut_file_is_named_or_harmless(purpose, name, tmp_path):
    if purpose == "depth":
        DEPTH_WRITERS[name](tmp_path)
    else:
        write_normals(tmp_path, name)
    first = open_set(purpose, name, tmp_path).names()[0].rsplit("/", 1)[-1].split(".")[0].split("_img")[0]
    files = [path for path in tmp_path.rglob(f"*{first}*") if path.is_file()]
    assert len(files) >= 2
    for path in files:
        whole = path.read_bytes()
        for tenth in range(0, 10, 3):
            path.write_bytes(whole[: len(whole) * tenth // 10])
            named = load_all(purpose, name, tmp_path)
            assert named in ([], [str(path)])
        assert load_all(purpose, name, tmp_path) == named
        path.write_bytes(whole)
    assert load_all(purpose, name, tmp_path) == []


@pytest.mark.parametrize("name", ["nyuv2", "kitti"])
def test_a_cut_depth_of_a_large_set_is_named(name, tmp_path):
    DEPTH_WRITERS[name](tmp_path)
    [path, *_] = sorted(p for p in tmp_path.rglob("*.png") if "depth_" in p.name or "groundtruth" in str(p))
    path.write_bytes(path.read_bytes()[:-200])
    assert load_all("depth", name, tmp_path) == [str(path)]


def test_random_changes_of_a_file_never_raise_anything_else(tmp_path):
    write_normals(tmp_path, "oasis")
    rng = np.random.default_rng(1)
    path = tmp_path / "val/100277_DT_normal.pkl"
    whole = path.read_bytes()
    for _ in range(60):
        data = bytearray(whole)
        for place in rng.integers(0, min(len(data), 400), 4):
            data[place] = rng.integers(0, 256)
        path.write_bytes(bytes(data))
        assert load_all("normal", "oasis", tmp_path) in ([], [str(path)])


def test_a_tar_cut_short_is_named(tmp_path):
    DEPTH_WRITERS["scannet"](tmp_path / "set")
    archive = pack_tar(tmp_path / "set", tmp_path / "out.tar")
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size * 6 // 10])
    with pytest.raises(DatasetError, match=r"out\.tar cannot be read"):
        open_depth("scannet", archive)


def test_a_folder_that_loses_a_file_after_it_was_opened_names_it(tmp_path):
    DEPTH_WRITERS["diode"](tmp_path)
    benchmark = open_depth("diode", tmp_path)
    shutil.rmtree(tmp_path / "indoors")
    with pytest.raises(CorruptSampleError, match=r"indoors.*cannot be read"):
        benchmark.load(benchmark.names()[0])
    assert benchmark.load(benchmark.names()[1]).valid.any()
