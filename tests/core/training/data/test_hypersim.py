"""Hypersim, from a small folder in the published layout."""

from __future__ import annotations

import math
import sys

import h5py
import numpy as np
import pytest
import torch

from lotus_core.errors import CorruptSampleError, DatasetError, MissingExtraError, OptionError
from lotus_core.training.data import open_dataset
from lotus_core.training.data.archives import open_tree
from lotus_core.training.data.hypersim import (
    SPLIT_FILE,
    camera_normals,
    complete_list_name,
    list_complete_frames,
    z_depth,
)
from tests.core.evaluation.layouts import pack_tar, picture, save

HEIGHT, WIDTH = 48, 64
HEADER = "scene_name,camera_name,frame_id,included_in_public_release,exclude_reason,split_partition_name\n"


def write_hdf5(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["dataset"] = array


def write_frame(root, scene="ai_001_001", frame=0, *, distance=None, normals=None, level=51):
    """A wall seen head-on: half of it with its normals the right way round, half turned away."""
    images = root / scene / "images"
    save(images / f"scene_cam_00_final_preview/frame.{frame:04}.tonemap.jpg", picture(HEIGHT, WIDTH, level))
    if distance is None:
        distance = np.full((HEIGHT, WIDTH), 3.0, np.float16)
    if normals is None:
        normals = np.zeros((HEIGHT, WIDTH, 3), np.float16)
        normals[..., 2] = 1.0
        normals[:, : WIDTH // 2, 2] = -1.0
    geometry = images / "scene_cam_00_geometry_hdf5"
    write_hdf5(geometry / f"frame.{frame:04}.depth_meters.hdf5", distance)
    write_hdf5(geometry / f"frame.{frame:04}.normal_cam.hdf5", normals)


@pytest.fixture
def root(tmp_path):
    for scene, frame in (("ai_001_001", 0), ("ai_001_001", 7), ("ai_003_010", 2)):
        write_frame(tmp_path, scene, frame)
    rows = [
        "ai_001_001,cam_00,0,True,,train",
        "ai_001_001,cam_00,7,False,bad lighting,",
        "ai_003_010,cam_00,2,True,,val",
    ]
    (tmp_path / SPLIT_FILE).write_text(HEADER + "\n".join(rows) + "\n")
    return tmp_path


def test_the_table_says_which_frames_belong_to_a_split(root):
    train, val = open_dataset("hypersim", root, size=(48, 64)), open_dataset("hypersim", root, split="val")
    assert (len(train), len(val)) == (1, 1)
    assert train[0].name.endswith("ai_001_001/images/scene_cam_00_final_preview/frame.0000.tonemap.jpg")
    assert "ai_003_010" in val[0].name


def test_without_the_table_the_folder_of_the_split_is_read(tmp_path):
    write_frame(tmp_path / "train")
    write_frame(tmp_path / "val", "ai_003_010")
    assert "ai_001_001" in open_dataset("hypersim", tmp_path)[0].name


def test_an_example_has_the_documented_shapes_and_frame(root):
    sample = open_dataset("hypersim", root, size=(48, 64))[0]
    assert sample.image.shape == sample.normal.shape == (3, 48, 64)
    assert float(sample.image.mean()) == pytest.approx(0.2 * 2 - 1, abs=0.01)
    assert bool(sample.valid.all())
    assert not sample.sky.any()
    # both halves face the camera now: +z in Lotus's frame
    assert torch.allclose(sample.normal, torch.tensor([0.0, 0.0, 1.0])[:, None, None].expand(3, 48, 64))


def test_the_published_size_is_the_default(root):
    assert open_dataset("hypersim", root)[0].image.shape == (3, 576, 768)


def test_distances_along_the_ray_become_depths():
    # 1024 x 768 at 60 degrees: f = 512 / tan 30; the corner pixel is (511.5, 383.5) off the middle
    focal = 512 / math.tan(math.radians(30))
    depth = z_depth(torch.ones(768, 1024))
    assert focal == pytest.approx(886.81, abs=0.01)
    corner = focal / math.sqrt(511.5**2 + 383.5**2 + focal**2)
    assert [float(depth[y, x]) for y, x in ((0, 0), (0, 1023), (767, 0), (767, 1023))] == pytest.approx(
        [corner] * 4
    )
    assert float(depth[383, 511]) == pytest.approx(1.0, abs=1e-6)


def test_a_wall_is_flat_after_the_conversion():
    z = torch.full((HEIGHT, WIDTH), 2.5, dtype=torch.float64)
    distance = z / z_depth(torch.ones_like(z))  # longer toward the corners
    assert torch.allclose(z_depth(distance), z)


def test_normals_are_turned_into_lotuss_frame():
    normals = torch.tensor([0.6, 0.0, 0.8]).expand(4, 4, 3)  # to the right and toward the camera
    assert torch.allclose(
        camera_normals(normals), torch.tensor([-0.6, 0.0, 0.8])[:, None, None].expand(3, 4, 4)
    )


def test_normals_that_look_away_from_their_ray_are_turned_round():
    # a wall on the right, seen at its right edge: its normal points left; both ways round give the same
    left, right = torch.tensor([-1.0, 0.0, 0.0]), torch.tensor([1.0, 0.0, 0.0])
    for vector in (left, right):
        found = camera_normals(vector.expand(4, 64, 3))
        assert torch.allclose(
            found[:, :, 60], torch.tensor([1.0, 0.0, 0.0])[:, None].expand(3, 4)
        )  # Lotus: +x left


def test_unknown_pixels_do_not_count(tmp_path):
    distance = np.full((HEIGHT, WIDTH), 3.0, np.float32)
    normals = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    normals[..., 2] = 1.0
    distance[0], distance[1], normals[2], normals[3] = np.nan, 0.0, np.nan, 0.0
    write_frame(tmp_path / "train", distance=distance, normals=normals)
    sample = open_dataset("hypersim", tmp_path, size=(48, 64))[0]
    assert not sample.valid[:4].any()
    assert bool(sample.valid[4:].all())
    assert bool(sample.depth.isfinite().all())
    assert not sample.normal[:, :4].any()


def test_incomplete_frames_can_be_left_out_as_published(tmp_path):
    holes = np.full((HEIGHT, WIDTH), 3.0, np.float32)
    holes[5, 5] = np.nan
    write_frame(tmp_path / "train", frame=0)
    write_frame(tmp_path / "train", frame=1, distance=holes)
    write_frame(tmp_path / "train", frame=2)
    [damaged] = tmp_path.rglob("frame.0002.depth_meters.hdf5")
    damaged.write_bytes(b"")
    complete = list_complete_frames(open_tree(tmp_path))
    assert [name.split("/")[-1] for name in complete] == ["frame.0000.tonemap.jpg"]
    assert len(open_dataset("hypersim", tmp_path)) == 3
    (tmp_path / complete_list_name("train")).write_text("\n".join(complete))
    assert len(open_dataset("hypersim", tmp_path)) == 1


def test_a_list_of_another_data_set_is_refused(tmp_path):
    write_frame(tmp_path / "train")
    (tmp_path / complete_list_name("train")).write_text("elsewhere.jpg\n")
    with pytest.raises(DatasetError, match=r"complete_frames_train\.txt names no frame of this data set"):
        open_dataset("hypersim", tmp_path)


def test_a_tar_is_as_good_as_the_folder(root, tmp_path_factory):
    archive = pack_tar(root, tmp_path_factory.mktemp("packed") / "hypersim.tar")
    assert torch.equal(open_dataset("hypersim", archive)[0].depth, open_dataset("hypersim", root)[0].depth)


@pytest.mark.parametrize("end", ["tonemap.jpg", "depth_meters.hdf5", "normal_cam.hdf5"])
@pytest.mark.parametrize("keep", [0, 100])
def test_a_damaged_file_is_named(root, end, keep):
    [path] = root.glob(f"ai_001_001/images/*/frame.0000.{end}")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CorruptSampleError, match="is truncated or damaged") as caught:
        open_dataset("hypersim", root)[0]
    assert caught.value.path == path


def test_a_missing_file_is_named(root):
    [path] = root.glob("ai_001_001/images/*/frame.0000.normal_cam.hdf5")
    path.unlink()
    with pytest.raises(CorruptSampleError, match=r"normal_cam\.hdf5 cannot be read"):
        open_dataset("hypersim", root)[0]


def test_a_map_of_another_size_is_named(tmp_path):
    write_frame(tmp_path / "train", distance=np.ones((HEIGHT, WIDTH - 1), np.float32))
    with pytest.raises(
        CorruptSampleError, match=r"depth_meters.hdf5 does not fit its picture \(found: shape \(48, 63\)"
    ):
        open_dataset("hypersim", tmp_path)[0]


def test_a_frame_without_any_depth_is_named(tmp_path):
    write_frame(tmp_path / "train", distance=np.full((HEIGHT, WIDTH), np.nan, np.float32))
    with pytest.raises(CorruptSampleError, match="has no pixel with depth and normal"):
        open_dataset("hypersim", tmp_path)[0]


def test_a_split_without_frames_says_what_is_there(root):
    with pytest.raises(DatasetError, match=r"no frames of Hypersim's split 'test' \(found: 3 frames, with"):
        open_dataset("hypersim", root, split="test")


def test_a_table_that_is_no_table_is_named(root):
    (root / SPLIT_FILE).write_text("scene_name,camera\nai_001_001,cam_00\n")
    with pytest.raises(DatasetError, match=rf"{SPLIT_FILE} cannot be read"):
        open_dataset("hypersim", root)


def test_h5py_is_asked_for_by_its_extra(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r"reading Hypersim needs h5py.*lotus-geometry\[train\]"):
        open_dataset("hypersim", root)


@pytest.mark.parametrize("size", [(0, 8), (50, 64), (48, 60)])
def test_a_size_that_the_vae_cannot_take_is_refused(root, size):
    with pytest.raises(OptionError, match="multiples of 8"):
        open_dataset("hypersim", root, size=size)


def test_an_unknown_kind_is_refused(root):
    with pytest.raises(OptionError, match='"hypersim" or "virtual-kitti"'):
        open_dataset("taskonomy", root)
