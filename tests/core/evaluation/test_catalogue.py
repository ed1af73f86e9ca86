"""Data sets by name, wherever their files lie."""

from __future__ import annotations

import shutil

import pytest

from lotus_core.errors import DatasetError
from lotus_core.evaluation.catalogue import DATASETS, open_depth, open_normals
from lotus_core.evaluation.depth_benchmarks import DEPTH_LAYOUTS
from lotus_core.evaluation.normal_benchmarks import NORMAL_LAYOUTS
from tests.core.evaluation.layouts import pack_tar, pack_zip, write_normals, write_scannet


def test_the_data_sets_are_those_of_the_field():
    assert DATASETS == {
        "depth": ("nyuv2", "kitti", "eth3d", "scannet", "diode"),
        "normal": ("nyuv2", "scannet", "ibims", "sintel", "oasis"),
    }


@pytest.mark.parametrize(
    ("name", "pictures", "range_m", "resolution"),
    [
        ("nyuv2", 654, (1e-3, 10.0), 0),
        ("kitti", 652, (1e-5, 80.0), 0),
        ("eth3d", 454, (1e-5, float("inf")), 768),
        ("scannet", 800, (1e-3, 10.0), 0),
        ("diode", 771, (0.6, 350.0), 640),
    ],
)
def test_the_rules_of_depth_are_the_published_ones(name, pictures, range_m, resolution):
    rules = DEPTH_LAYOUTS[name].rules
    assert rules.published_images == pictures
    assert (rules.nearest_m, rules.farthest_m) == range_m
    assert rules.resolution == resolution
    assert rules.fit_max_side == (1024 if name == "eth3d" else None)


def test_the_numbers_of_normals_are_the_published_ones():
    found = {name: layout.rules.published_images for name, layout in NORMAL_LAYOUTS.items()}
    assert found == {"nyuv2": 654, "scannet": 300, "ibims": 100, "sintel": 1064, "oasis": 10_000}


@pytest.mark.parametrize(
    "place",
    [
        "scannet/scannet_val_sampled_800_1.tar",  # the published archive below the folder of all
        "scannet_val_sampled_800_1.tar",  # beside others, without its folder
        "scannet/scannet_val_sampled_800_1",  # unpacked in its place
        "scannet",  # unpacked under its name
        ".",  # unpacked right there
    ],
)
def test_depth_is_found_wherever_it_was_unpacked(tmp_path, place):
    write_scannet(tmp_path / "made")
    target = tmp_path / "data" / place
    if place.endswith(".tar"):
        pack_tar(tmp_path / "made", target)
    else:
        shutil.copytree(tmp_path / "made", target, dirs_exist_ok=True)
    assert len(open_depth("scannet", tmp_path / "data").names()) == 2


def test_an_archive_may_be_named_itself(tmp_path):
    write_scannet(tmp_path / "made")
    for archive in (
        pack_tar(tmp_path / "made", tmp_path / "s.tar"),
        pack_zip(tmp_path / "made", tmp_path / "s.zip"),
    ):
        benchmark = open_depth("scannet", archive)
        assert len(benchmark.names()) == 2
        assert benchmark.load(benchmark.names()[0]).valid.any()


def test_the_published_tar_is_taken_before_a_folder_beside_it(tmp_path):
    write_scannet(tmp_path / "made")
    pack_tar(tmp_path / "made", tmp_path / "data/scannet/scannet_val_sampled_800_1.tar")
    (tmp_path / "data/scannet/notes").mkdir()
    assert len(open_depth("scannet", tmp_path / "data").names()) == 2


def test_depth_and_normals_of_one_name_are_two_data_sets(tmp_path):
    write_scannet(tmp_path / "data/scannet")
    write_normals(tmp_path / "data/dsine_eval/scannet", "scannet")
    depth, normals = open_depth("scannet", tmp_path / "data"), open_normals("scannet", tmp_path / "data")
    assert depth.names()[0].endswith(".jpg")
    assert normals.names()[0].endswith("_img.png")
    assert depth.rules.published_images == 800
    assert normals.rules.published_images == 300


def test_a_place_that_is_not_there_is_said(tmp_path):
    with pytest.raises(DatasetError, match="there is no data set at"):
        open_depth("kitti", tmp_path / "gone")
    with pytest.raises(DatasetError, match="there is no data set at"):
        open_normals("ibims", tmp_path / "gone")


def test_normals_of_a_name_need_their_place():
    with pytest.raises(DatasetError, match=r"oasis needs its files.*--data: dsine_eval/oasis"):
        open_normals("oasis", None)


def test_an_empty_folder_says_what_was_expected(tmp_path):
    with pytest.raises(DatasetError, match=r"no pictures in the expected layout \(found: no files\)"):
        open_depth("nyuv2", tmp_path)
