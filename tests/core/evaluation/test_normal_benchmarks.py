"""DSINE's layouts, read from small folders of the same shape."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lotus_core.errors import CorruptSampleError, DatasetError
from lotus_core.evaluation.catalogue import open_normals
from tests.core.evaluation.layouts import (
    NORMAL_SETS,
    pack_tar,
    pack_zip,
    picture,
    save,
    write_normals,
    write_oasis,
)


@pytest.fixture(params=NORMAL_SETS)
def dataset(request, tmp_path):
    write_normals(tmp_path / "data" / "dsine_eval" / request.param, request.param)
    return request.param, tmp_path / "data"


def load(name, root, index=0):
    benchmark = open_normals(name, root)
    return benchmark.load(benchmark.names()[index])


def test_normals_come_in_the_opencv_frame(dataset):
    name, root = dataset
    sample = load(name, root)
    # toward the camera is -z, up is -y; 8-bit pictures are exact to 1/255
    assert torch.allclose(sample.normals[5, 0], torch.tensor([0.0, 0.0, -1.0]), atol=5e-3)
    assert torch.allclose(sample.normals[5, 31], torch.tensor([0.0, -1.0, 0.0]), atol=5e-3)


def test_where_nothing_is_known_nothing_counts(dataset):
    name, root = dataset
    sample = load(name, root)
    assert not sample.valid[0].any()
    assert bool(sample.valid[1:].all())
    assert sample.rgb.shape == sample.normals.shape == (24, 32, 3)


def test_both_pictures_are_found_wherever_the_data_lies(dataset, tmp_path):
    name, root = dataset
    places = [root, root / "dsine_eval", root / "dsine_eval" / name]
    places.append(pack_zip(root, tmp_path / "packed" / "dsine_eval.zip").parent)
    places.append(pack_tar(root / "dsine_eval" / name, tmp_path / f"{name}.tar"))
    for place in places:
        assert len(open_normals(name, place).names()) == 2, place


def test_an_archive_of_several_data_sets_gives_only_the_one_that_is_asked_for(tmp_path):
    for name in NORMAL_SETS:
        write_normals(tmp_path / "data" / "dsine_eval" / name, name)
    archive = pack_zip(tmp_path / "data", tmp_path / "out" / "dsine_eval.zip")
    for name in NORMAL_SETS:
        names = open_normals(name, archive).names()
        assert len(names) == 2
        assert all(f"/{name}/" in found for found in names)


def test_nyus_training_pictures_are_left_out(tmp_path):
    write_normals(tmp_path, "nyuv2")
    save(tmp_path / "train/000002_img.png", picture(24, 32))
    assert open_normals("nyuv2", tmp_path).names() == ["test/000000_img.png", "test/000001_img.png"]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_oasis_is_read_from_every_kind_of_pickle(tmp_path, protocol):
    write_normals(tmp_path, "oasis")
    lut = np.zeros((10, 32, 3), np.float32)
    lut[..., 0] = 1.0
    write_oasis(tmp_path / "val/100277_DT_normal.pkl", lut, protocol)
    sample = load("oasis", tmp_path)
    assert torch.allclose(sample.normals[5, 5], torch.tensor([-1.0, 0.0, 0.0]))
    assert int(sample.valid.sum()) == 10 * 32


def test_an_oasis_region_outside_its_picture_is_refused(tmp_path):
    write_normals(tmp_path, "oasis")
    write_oasis(tmp_path / "val/100277_DT_normal.pkl", np.ones((30, 32, 3), np.float32))
    with pytest.raises(CorruptSampleError, match="a region of shape"):
        load("oasis", tmp_path)


@pytest.mark.parametrize("name", ["scannet", "ibims", "oasis"])
def test_a_damaged_truth_is_named(tmp_path, name):
    write_normals(tmp_path, name)
    [path, *_] = sorted(p for p in tmp_path.rglob("*_normal.*"))
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2])
    with pytest.raises(CorruptSampleError, match=f"{path.name} is truncated or damaged"):
        load(name, tmp_path)


def test_a_truth_of_another_size_is_refused(tmp_path):
    write_normals(tmp_path, "scannet")
    save(tmp_path / "scene0220_02/000450_normal.png", picture(24, 30))
    with pytest.raises(CorruptSampleError, match="do not fit their picture"):
        load("scannet", tmp_path)


def test_a_grey_truth_is_refused(tmp_path):
    write_normals(tmp_path, "scannet")
    save(tmp_path / "scene0220_02/000450_normal.png", np.zeros((24, 32), np.uint8))
    with pytest.raises(CorruptSampleError, match="is no 8-bit colour picture"):
        load("scannet", tmp_path)


def test_what_is_neither_a_name_nor_a_folder_is_told_the_names():
    with pytest.raises(
        DatasetError, match=r"kitti is neither a data set with normals nor a folder.*nyuv2, scannet"
    ):
        open_normals("kitti", None)
