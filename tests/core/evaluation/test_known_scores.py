"""Whole evaluations in the field's layouts whose result is known before they are run.

The stand-in model gives back what it sees in blocks of 8 x 8 pixels: a picture that paints its truth scores perfectly.
"""

from __future__ import annotations

import numpy as np
import pytest

from lotus_core.evaluation.catalogue import open_depth, open_normals
from lotus_core.evaluation.run import evaluate_depth, evaluate_normals
from lotus_core.inference.options import InferenceOptions
from tests.core.evaluation.layouts import painted, save, write_oasis
from tests.core.inference.models import passing_model

OWN_SIZE = InferenceOptions(resolution=0)


def even_blocks(height: int, width: int, seed: int) -> np.ndarray:
    """Grey levels that are even in blocks of 8 x 8 pixels."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(20, 235, (height // 8, width // 8), dtype=np.uint8)
    return levels.repeat(8, 0).repeat(8, 1)


def write_scannet(root, depth_of):
    for number, scene in enumerate(("scene0406_02", "scene0088_02")):
        grey = even_blocks(48, 64, number)
        # a JPEG of even 8 x 8 blocks is exact to its quantisation
        (root / f"{scene}/color").mkdir(parents=True)
        save(root / f"{scene}/color/000300.jpg", np.stack([grey] * 3, -1))
        save(root / f"{scene}/depth/000300.png", (depth_of(grey / 255.0) * 1000).round().astype(np.uint16))


@pytest.mark.parametrize(
    ("kind", "depth_of"),
    [("depth", lambda grey: 1.0 + 6.0 * grey), ("disparity", lambda grey: 1.0 / (0.15 + 0.6 * grey))],
)
def test_a_picture_that_paints_its_depth_scores_perfectly(tmp_path, kind, depth_of):
    write_scannet(tmp_path, depth_of)
    score = evaluate_depth(passing_model("d", kind), open_depth("scannet", tmp_path), OWN_SIZE)
    assert score.mean.abs_rel < 0.02  # what JPEG leaves
    assert score.mean.delta1 == 100.0
    assert score.images == 2


def test_an_even_picture_is_as_good_as_the_mean_depth(tmp_path):
    depth = np.full((48, 64), 2.0)
    depth[:, 32:] = 6.0
    save(tmp_path / "scene0001_00/color/000000.jpg", np.full((48, 64, 3), 128, np.uint8))
    save(tmp_path / "scene0001_00/depth/000000.png", (depth * 1000).astype(np.uint16))
    score = evaluate_depth(passing_model("d", "depth"), open_depth("scannet", tmp_path), OWN_SIZE)
    # aligned to 4 m everywhere: |4 - 2| / 2 and |4 - 6| / 6
    assert score.mean.abs_rel == pytest.approx((1.0 + 1 / 3) / 2, rel=1e-3)
    assert score.mean.rmse == pytest.approx(2.0, rel=1e-3)
    assert score.mean.delta1 == 0.0
    assert score.mean.delta2 == pytest.approx(50.0)  # 6 / 4 = 1.5 is under 1.5625, 4 / 2 is not


def test_depths_beyond_the_range_do_not_count(tmp_path):
    depth = np.full((48, 64), 2.0)
    depth[:, 32:] = 60.0  # ScanNet counts up to 10 m
    save(tmp_path / "scene0001_00/color/000000.jpg", np.full((48, 64, 3), 128, np.uint8))
    save(tmp_path / "scene0001_00/depth/000000.png", (depth * 1000).astype(np.uint16))
    score = evaluate_depth(passing_model("d", "depth"), open_depth("scannet", tmp_path), OWN_SIZE)
    assert score.mean.abs_rel == pytest.approx(0.0, abs=1e-6)


def test_kitti_is_scored_on_the_crop_alone(tmp_path):
    drive = "2011_09_26_drive_0002_sync"
    save(tmp_path / f"2011_09_26/{drive}/image_02/data/0000000001.png", np.full((375, 1242, 3), 90, np.uint8))
    depth = np.full((375, 1242), 10.0)
    depth[:130] = 70.0  # above the crop: row 23 + 117 = 140 is the first that counts
    save(
        tmp_path / f"{drive}/proj_depth/groundtruth/image_02/0000000001.png",
        (depth * 256).round().astype(np.uint16),
    )
    options = InferenceOptions(resolution=64)
    eigen = evaluate_depth(passing_model("d", "depth"), open_depth("kitti", tmp_path), options)
    whole = evaluate_depth(passing_model("d", "depth"), open_depth("kitti", tmp_path, crop="none"), options)
    assert eigen.mean.abs_rel == pytest.approx(0.0, abs=1e-6)
    assert whole.mean.abs_rel > 0.5


@pytest.mark.parametrize(
    ("turn", "expected"),
    [((1.0, 1.0, 1.0), 0.0), ((-1.0, 1.0, 1.0), 2 * 36.87), ((1.0, 1.0, -1.0), 180 - 2 * 36.87)],
)
def test_a_picture_that_paints_its_normals_scores_by_the_angle_between(tmp_path, turn, expected):
    # n = (0.6, 0, 0.8) in DSINE's frame, which is also how Lotus paints it; atan(0.6 / 0.8) = 36.87 degrees
    vector = np.broadcast_to(np.float32([0.6, 0.0, 0.8]), (32, 32, 3))
    save(tmp_path / "scene0532_00/000000_img.png", painted(vector))
    save(tmp_path / "scene0532_00/000000_normal.png", painted(vector * np.float32(turn)))
    score = evaluate_normals(passing_model("d", "normal"), open_normals("scannet", tmp_path), OWN_SIZE)
    assert score.mean.mean == pytest.approx(expected, abs=0.6)  # 8 bits


def test_oasis_is_read_in_its_own_frame(tmp_path):
    vector = np.broadcast_to(np.float32([0.6, 0.0, 0.8]), (32, 32, 3))
    save(tmp_path / "val/100277_DT_img.png", painted(vector))
    write_oasis(tmp_path / "val/100277_DT_normal.pkl", vector[1:])
    score = evaluate_normals(passing_model("d", "normal"), open_normals("oasis", tmp_path), OWN_SIZE)
    assert score.mean.mean == pytest.approx(0.0, abs=0.5)
