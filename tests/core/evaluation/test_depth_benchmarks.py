"""NYUv2, KITTI, ETH3D, ScanNet and DIODE layouts, read from small folders of the same shape."""

from __future__ import annotations

import pytest
import torch

from lotus_core.errors import CorruptSampleError, DatasetError
from lotus_core.evaluation.catalogue import open_depth
from lotus_core.evaluation.depth_benchmarks import DEPTH_LAYOUTS
from tests.core.evaluation.layouts import DEPTH_WRITERS, pack_tar, picture, save, write_scannet


@pytest.fixture(params=sorted(DEPTH_WRITERS))
def dataset(request, tmp_path):
    DEPTH_WRITERS[request.param](tmp_path / "set")
    return request.param, tmp_path / "set"


def first(name, root, **options):
    benchmark = open_depth(name, root, **options)
    return benchmark.load(benchmark.names()[0])


def written(name, tmp_path):
    DEPTH_WRITERS[name](tmp_path)
    return tmp_path


def test_both_pictures_are_found_with_a_truth_of_their_size(dataset):
    name, root = dataset
    benchmark = open_depth(name, root)
    assert len(benchmark.names()) == 2
    for picture_name in benchmark.names():
        sample = benchmark.load(picture_name)
        assert sample.rgb.shape == (*sample.depth.shape, 3)
        assert sample.valid.shape == sample.depth.shape
        assert (sample.rgb.dtype, sample.depth.dtype, sample.valid.dtype) == (
            torch.float32,
            torch.float32,
            torch.bool,
        )
        assert float(sample.rgb.mean()) == pytest.approx(0.2, abs=0.01)
        assert bool(sample.valid.any())
        assert float(sample.depth[sample.valid].min()) > benchmark.rules.nearest_m


def test_the_archive_as_published_is_found_below_the_folder_of_all(dataset, tmp_path):
    name, root = dataset
    pack_tar(root, tmp_path / "all" / DEPTH_LAYOUTS[name].archive)
    from_tar, from_folder = open_depth(name, tmp_path / "all"), open_depth(name, root)
    assert from_tar.names() == from_folder.names()
    for picture_name in from_folder.names():
        assert torch.equal(from_tar.load(picture_name).depth, from_folder.load(picture_name).depth)


def test_nyu_is_in_millimetres_and_counts_the_eigen_crop_up_to_10_m(tmp_path):
    sample = first("nyuv2", written("nyuv2", tmp_path))
    assert float(sample.depth[200, 0]) == pytest.approx(1.0)
    assert float(sample.depth[200, 639]) == pytest.approx(9.0)
    assert not sample.valid[:45].any()
    assert not sample.valid[100, 100]
    assert not sample.valid[100, 101]
    assert bool(sample.valid[100, 102])
    assert int(sample.valid.sum()) == 426 * 560 - 2


def test_nyu_leaves_the_training_pictures_out(tmp_path):
    names = open_depth("nyuv2", written("nyuv2", tmp_path)).names()
    assert names == ["test/kitchen_0004/rgb_0001.png", "test/office_0005/rgb_0009.png"]


def test_kitti_is_cropped_and_counts_up_to_80_m(tmp_path):
    root = written("kitti", tmp_path)
    sample = first("kitti", root)
    assert sample.rgb.shape == (352, 1216, 3)
    # column 13 of 1242 is the first; depth is stored in 1/256 m
    assert float(sample.depth[0, 0]) == pytest.approx(2.0 + 88.0 * 13 / 1241, abs=1 / 256)
    assert not sample.valid[1::2].any()  # row 23 of the file is the first, so even rows have a depth
    assert float(sample.depth[sample.valid].max()) < 80.0
    rows = sample.valid.any(1).nonzero()
    assert (int(rows[0]), int(rows[-1])) == (118, 320)


def test_kittis_crop_can_be_chosen(tmp_path):
    root = written("kitti", tmp_path)
    garg, all_of_it = first("kitti", root, crop="garg"), first("kitti", root, crop="none")
    assert int(garg.valid.any(1).nonzero()[0]) == 144
    assert int(all_of_it.valid.any(1).nonzero()[0]) == 0


def test_eth3d_is_bare_floats_with_infinity_for_no_depth(tmp_path):
    sample = first("eth3d", written("eth3d", tmp_path))
    assert not sample.valid[0, 0]
    assert float(sample.depth[1, 47]) == pytest.approx(5.0)
    assert int(sample.valid.sum()) == 32 * 48 - 1


def test_eth3d_of_another_length_is_named(tmp_path):
    root = written("eth3d", tmp_path)
    [path, _] = sorted((root / "depth").rglob("*.JPG"))
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(
        CorruptSampleError, match=r"DSC_0219.JPG is truncated or damaged.*6140 bytes; expected 6144"
    ) as e:
        first("eth3d", root)
    assert e.value.path == path


def test_scannet_is_in_millimetres_up_to_10_m(tmp_path):
    sample = first("scannet", written("scannet", tmp_path))
    assert not sample.valid[:, 0].any()
    assert float(sample.depth[sample.valid].max()) < 10.0


def test_diode_counts_by_its_own_mask(tmp_path):
    sample = first("diode", written("diode", tmp_path))
    assert not sample.valid[0].any()
    assert not sample.valid[:, 0].any()  # a depth of 0 m, which the mask forgot
    assert bool(sample.valid[1:, 1:].all())


def test_a_file_list_chooses_and_orders(tmp_path):
    root = written("scannet", tmp_path)
    benchmark = open_depth("scannet", root, only=["scene0406_02/color/000300.jpg"])
    assert benchmark.names() == ["scene0406_02/color/000300.jpg"]


def test_a_listed_picture_that_is_missing_is_named(tmp_path):
    with pytest.raises(
        DatasetError, match=r"1 of 1 listed pictures are not in .*found: no scene9999_00/color/1.jpg"
    ):
        open_depth("scannet", written("scannet", tmp_path), only=["scene9999_00/color/1.jpg"])


@pytest.mark.parametrize("damage", [b"", b"\x89PNG\r\n\x1a\n", b"not a picture at all"])
def test_a_damaged_depth_file_is_named(tmp_path, damage):
    write_scannet(tmp_path)
    path = tmp_path / "scene0088_02/depth/001100.png"
    path.write_bytes(damage)
    with pytest.raises(CorruptSampleError, match=r"001100\.png is truncated or damaged"):
        first("scannet", tmp_path)


def test_a_missing_depth_file_is_named(tmp_path):
    write_scannet(tmp_path)
    (tmp_path / "scene0088_02/depth/001100.png").unlink()
    with pytest.raises(CorruptSampleError, match=r"001100\.png cannot be read"):
        first("scannet", tmp_path)


def test_a_depth_of_another_size_than_its_picture_is_refused(tmp_path):
    write_scannet(tmp_path)
    save(tmp_path / "scene0088_02/color/001100.jpg", picture(20, 32))
    with pytest.raises(
        CorruptSampleError, match=r"does not fit its picture \(found: \(24, 32\) and \(20, 32\)\)"
    ):
        first("scannet", tmp_path)


def test_a_folder_of_another_layout_is_told_what_is_expected(tmp_path):
    write_scannet(tmp_path)
    with pytest.raises(
        DatasetError, match=r"no pictures in the expected layout \(found: 4 files such as scene0088_02"
    ):
        open_depth("kitti", tmp_path)


def test_a_named_data_set_needs_its_place():
    with pytest.raises(DatasetError, match=r"nyuv2 needs its files.*--data: nyuv2/nyu_labeled_extracted.tar"):
        open_depth("nyuv2", None)


def test_what_is_neither_a_name_nor_a_folder_is_told_the_names():
    with pytest.raises(
        DatasetError, match="nyu2 is neither a data set with depth nor a folder: choose scenes, nyuv2"
    ):
        open_depth("nyu2", None)
