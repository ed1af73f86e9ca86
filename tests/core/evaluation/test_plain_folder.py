"""A plain folder of one's own: every kind of file it may hold."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from lotus_core.conventions import NormalConvention
from lotus_core.errors import CorruptSampleError, DatasetError
from lotus_core.evaluation.catalogue import open_depth, open_normals
from lotus_core.io.exr import write_exr
from tests.core.evaluation.layouts import pack_tar, pack_zip, picture, ramp, save

DEPTH = ramp(16, 20, 1.0, 5.0)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "mine"
    save(root / "rgb/hall/a.png", picture(16, 20))
    save(root / "rgb/b.jpg", picture(16, 20))
    return root


def only(benchmark):
    [name] = benchmark.names()
    return benchmark.load(name)


def test_depth_as_npy_is_in_metres(folder):
    save(folder / "depth/hall/a.npy", DEPTH)
    sample = only(open_depth(str(folder), None))
    assert sample.name == "rgb/hall/a.png"
    assert torch.allclose(sample.depth, torch.from_numpy(DEPTH).float())
    assert bool(sample.valid.all())


def test_whole_numbers_as_npy_are_metres_too(folder):
    save(folder / "depth/b.npy", np.full((16, 20), 7, np.int32))
    assert float(only(open_depth(str(folder), None)).depth[0, 0]) == 7.0


def test_depth_as_png_is_in_millimetres_unless_the_folder_says_otherwise(folder):
    save(folder / "depth/b.png", (DEPTH * 1000).astype(np.uint16))
    assert float(only(open_depth(str(folder), None)).depth[0, -1]) == pytest.approx(5.0)
    (folder / "dataset.json").write_text(json.dumps({"depth_per_metre": 500, "name": "Hall"}))
    benchmark = open_depth(str(folder), None)
    assert float(only(benchmark).depth[0, -1]) == pytest.approx(10.0)
    assert benchmark.rules.dataset == "Hall"


@pytest.mark.parametrize("channel", ["Y", "Z", "depth"])
def test_depth_as_exr(folder, channel):
    write_exr(folder / "depth/b.exr", {channel: torch.from_numpy(DEPTH)})
    assert torch.allclose(only(open_depth(str(folder), None)).depth, torch.from_numpy(DEPTH).float())


def test_unknown_depths_do_not_count(folder):
    depth = DEPTH.copy()
    depth[0, :4] = (0.0, np.nan, np.inf, -1.0)
    save(folder / "depth/b.npy", depth)
    sample = only(open_depth(str(folder), None))
    assert not sample.valid[0, :4].any()
    assert int(sample.valid.sum()) == 16 * 20 - 4
    assert bool(sample.depth.isfinite().all())


def test_the_range_of_depths_can_be_said(folder):
    save(folder / "depth/b.npy", DEPTH)
    (folder / "dataset.json").write_text(json.dumps({"nearest_m": 2.0, "farthest_m": 3.0, "resolution": 512}))
    benchmark = open_depth(str(folder), None)
    depths = only(benchmark).depth[only(benchmark).valid]
    assert float(depths.min()) > 2.0
    assert float(depths.max()) < 3.0
    assert benchmark.rules.resolution == 512


def test_a_mask_leaves_pixels_out(folder):
    save(folder / "depth/b.npy", DEPTH)
    mask = np.zeros((16, 20), np.uint8)
    mask[3] = 255
    save(folder / "mask/b.png", mask)
    assert only(open_depth(str(folder), None)).valid.any(1).nonzero().tolist() == [[3]]


def test_normals_as_npy_are_opencv_vectors(folder):
    normals = np.zeros((16, 20, 3), np.float32)
    normals[1:, :, 2] = -1.0
    save(folder / "normal/b.npy", normals)
    sample = only(open_normals(str(folder), None))
    assert torch.equal(sample.normals, torch.from_numpy(normals))
    assert not sample.valid[0].any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("convention", list(NormalConvention))
def test_painted_normals_are_read_by_their_convention(folder, convention, dtype):
    vector = np.array([0.6, 0.0, -0.8])
    colour = vector * convention.signs_from_opencv * 0.5 + 0.5
    painted = np.broadcast_to((colour * np.iinfo(dtype).max).round(), (16, 20, 3)).astype(dtype)
    if dtype == np.uint16:
        from tests.core.evaluation.png16 import save_rgb16

        save_rgb16(folder / "normal/b.png", painted)
    else:
        save(folder / "normal/b.png", painted)
    (folder / "dataset.json").write_text(json.dumps({"normal_convention": convention.value}))
    sample = only(open_normals(str(folder), None))
    assert torch.allclose(sample.normals[4, 4], torch.tensor(vector).float(), atol=5e-3)
    assert bool(sample.valid.all())


def test_black_is_no_normal(folder):
    painted = np.full((16, 20, 3), 255, np.uint8)
    painted[5] = 0
    save(folder / "normal/b.png", painted)
    sample = only(open_normals(str(folder), None))
    assert not sample.valid[5].any()
    assert bool(sample.valid[6].all())


def test_a_tar_or_a_zip_is_as_good_as_the_folder(folder, tmp_path):
    save(folder / "depth/b.npy", DEPTH)
    for archive in (
        pack_tar(folder, tmp_path / "out/m.tar"),
        pack_zip(folder, tmp_path / "out/m.zip", "mine/"),
    ):
        assert torch.allclose(only(open_depth(str(archive), None)).depth, torch.from_numpy(DEPTH).float())


def test_a_depth_of_another_size_is_named(folder):
    save(folder / "depth/b.npy", DEPTH[:, :-1])
    with pytest.raises(
        CorruptSampleError, match=r"depth/b.npy does not fit its picture .*\(16, 19\), expected \(16, 20"
    ):
        only(open_depth(str(folder), None))


def test_a_truth_of_an_unknown_kind_is_named(folder):
    (folder / "depth").mkdir()
    (folder / "depth/b.txt").write_text("far")
    with pytest.raises(CorruptSampleError, match=r"b\.txt is of a kind that is not read: use \.npy"):
        only(open_depth(str(folder), None))


def test_pickled_arrays_are_refused(folder):
    save(folder / "depth/b.npy", np.array([{"x": 1}], dtype=object))
    with pytest.raises(CorruptSampleError, match=r"b\.npy is truncated or damaged"):
        only(open_depth(str(folder), None))


def test_a_folder_without_truth_says_what_is_missing(folder):
    with pytest.raises(DatasetError, match=r"no picture of .* has a file of its name in normal/"):
        open_normals(str(folder), None)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"scale": 2}', '{"depth_per_metre": "many"}', '{"normal_convention": "blender"}']
)
def test_settings_that_cannot_be_used_are_refused(folder, text):
    save(folder / "depth/b.npy", DEPTH)
    (folder / "dataset.json").write_text(text)
    with pytest.raises(
        DatasetError, match=r"dataset\.json cannot be used.*use the keys name, depth_per_metre"
    ):
        open_depth(str(folder), None)
