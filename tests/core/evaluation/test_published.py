"""Figures quoted from the paper of Lotus, spot-checked against its tables."""

from __future__ import annotations

import pytest

from lotus_core.evaluation.catalogue import DATASETS
from lotus_core.evaluation.published import published_rows


def figures(dataset, purpose, method):
    [row] = [row for row in published_rows(dataset, purpose) if row.method == method]
    return row.figures


@pytest.mark.parametrize("purpose", ["depth", "normal"])
def test_every_data_set_of_the_field_has_published_rows(purpose):
    expected = {"depth": {"Marigold", "GeoWizard", "Depth Anything"}, "normal": {"GeoWizard", "DSINE"}}[
        purpose
    ]
    for dataset in DATASETS[purpose]:
        rows = published_rows(dataset, purpose)
        assert {"Lotus-G", "Lotus-D", *expected} <= {row.method for row in rows}, dataset
        table = {"depth": 1, "normal": 2}[purpose]
        assert all(row.source == f"arXiv:2409.18124v5, table {table}" for row in rows)


@pytest.mark.parametrize(
    ("dataset", "method", "abs_rel", "delta1", "delta2"),
    [
        ("nyuv2", "Lotus-D", 0.051, 97.2, 99.2),
        ("kitti", "Lotus-G", 0.085, 92.2, 98.4),
        ("eth3d", "Depth Anything", 0.127, 88.2, 98.3),
        ("scannet", "GeoWizard", 0.064, 95.0, 98.4),
        ("diode", "Marigold", 0.308, 77.3, 88.7),
        ("nyuv2", "Depth Anything V2", 0.045, 97.9, 99.3),
    ],
)
def test_depth_as_in_table_1(dataset, method, abs_rel, delta1, delta2):
    assert figures(dataset, "depth", method) == {"abs_rel": abs_rel, "delta1": delta1, "delta2": delta2}


@pytest.mark.parametrize(
    ("dataset", "method", "mean", "within_11_25", "within_30"),
    [
        ("nyuv2", "Lotus-D", 16.2, 59.8, 83.9),
        ("scannet", "Lotus-G", 15.1, 63.9, 85.3),
        ("ibims", "DSINE", 17.1, 67.4, 82.3),
        ("sintel", "GeoWizard", 40.3, 12.3, 43.5),
        ("oasis", "Lotus-D", 22.3, 31.8, 76.1),
    ],
)
def test_normals_as_in_table_2(dataset, method, mean, within_11_25, within_30):
    expected = {"mean": mean, "within_11_25": within_11_25, "within_30": within_30}
    assert figures(dataset, "normal", method) == expected


def test_what_the_paper_leaves_out_is_left_out():
    assert figures("nyuv2", "normal", "Marigold") == {"mean": 20.9, "within_11_25": 50.5}
    assert "Marigold" not in {row.method for row in published_rows("sintel", "normal")}


def test_data_sets_of_ones_own_have_no_published_rows():
    assert published_rows("scenes", "depth") == []
    assert published_rows("kitti", "normal") == []
