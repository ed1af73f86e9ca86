"""The field's crops, at their published sizes."""

from __future__ import annotations

import pytest
import torch

from lotus_core.errors import ImageError, OptionError
from lotus_core.evaluation.crops import kitti_benchmark_crop, kitti_mask, nyu_eigen_mask


def extent(mask: torch.Tensor) -> tuple[int, int, int, int]:
    rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
    assert int(mask.sum()) == len(rows) * len(columns), "one rectangle"
    return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])


def test_nyu_counts_rows_45_to_470_and_columns_41_to_600():
    assert extent(nyu_eigen_mask(480, 640)) == (45, 470, 41, 600)


def test_nyu_of_another_size_is_refused():
    with pytest.raises(ImageError, match=r"640x480 \(found: 320x240\)"):
        nyu_eigen_mask(240, 320)


@pytest.mark.parametrize(
    ("crop", "expected"),
    [("garg", (143, 348, 43, 1171)), ("eigen", (117, 320, 43, 1171)), ("none", (0, 351, 0, 1215))],
)
def test_kitti_masks_at_the_benchmarks_size(crop, expected):
    # 0.40810811 * 352 = 143.65, 0.99189189 * 352 = 349.15; 0.03594771 * 1216 = 43.7, 0.96405229 * 1216 = 1172.3
    # 0.3324324 * 352 = 117.02, 0.91351351 * 352 = 321.56
    assert extent(kitti_mask(352, 1216, crop)) == expected


def test_an_unknown_crop_is_refused():
    with pytest.raises(OptionError, match='"eigen", "garg" or "none"'):
        kitti_mask(352, 1216, "middle")


def test_the_benchmark_crop_is_the_lower_middle_part():
    plane = torch.arange(375 * 1242).reshape(375, 1242)
    cropped = kitti_benchmark_crop(plane)
    assert cropped.shape == (352, 1216)
    assert int(cropped[0, 0]) == 23 * 1242 + 13
    assert int(cropped[-1, -1]) == 374 * 1242 + 1228


def test_the_benchmark_crop_keeps_channels():
    assert kitti_benchmark_crop(torch.zeros(352, 1216, 3)).shape == (352, 1216, 3)


def test_a_picture_smaller_than_the_benchmark_is_refused():
    with pytest.raises(ImageError, match=r"1216x352 pixels \(found: 640x352\)"):
        kitti_benchmark_crop(torch.zeros(352, 640))
