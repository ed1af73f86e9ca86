"""Rules of data sets, and what all benchmarks have in common."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from lotus_core.evaluation.catalogue import open_depth, open_normals
from lotus_core.evaluation.rendered import SceneDepth, SceneNormals, SceneRange
from lotus_core.evaluation.samples import DepthSample, NormalSample, Rules
from tests.core.evaluation.layouts import (
    DEPTH_WRITERS,
    NORMAL_SETS,
    left_up_toward,
    picture,
    ramp,
    save,
    write_normals,
)


def every_depth(tmp_path):
    """Every data set with depth, small."""
    for name, write in DEPTH_WRITERS.items():
        write(tmp_path / name)
        yield open_depth(name, tmp_path / name)
    save(tmp_path / "mine/rgb/a.png", picture(16, 24))
    save(tmp_path / "mine/depth/a.npy", ramp(16, 24, 1.0, 3.0))
    yield open_depth(str(tmp_path / "mine"), None)
    yield SceneDepth(SceneRange(500_000, 1, 16, 24))


def every_normals(tmp_path):
    for name in NORMAL_SETS:
        write_normals(tmp_path / name, name)
        yield open_normals(name, tmp_path / name)
    save(tmp_path / "mine/rgb/a.png", picture(16, 24))
    save(tmp_path / "mine/normal/a.npy", -left_up_toward(16, 24))
    yield open_normals(str(tmp_path / "mine"), None)
    yield SceneNormals(SceneRange(500_000, 1, 16, 24))


def test_every_depth_sample_keeps_the_same_promises(tmp_path):
    for benchmark in every_depth(tmp_path):
        for name in benchmark.names():
            sample = benchmark.load(name)
            assert isinstance(sample, DepthSample)
            assert sample.name == name
            assert sample.rgb.ndim == 3
            assert sample.depth.shape == sample.valid.shape == sample.rgb.shape[:2]
            assert (float(sample.rgb.min()) >= 0.0, float(sample.rgb.max()) <= 1.0) == (True, True)
            assert bool((sample.depth[sample.valid] > 0).all())
            assert bool(sample.depth[sample.valid].isfinite().all())


def test_every_normal_sample_keeps_the_same_promises(tmp_path):
    for benchmark in every_normals(tmp_path):
        for name in benchmark.names():
            sample = benchmark.load(name)
            assert isinstance(sample, NormalSample)
            assert sample.normals.shape == sample.rgb.shape
            assert sample.valid.shape == sample.rgb.shape[:2]
            lengths = sample.normals[sample.valid].norm(dim=-1)
            assert torch.allclose(lengths, torch.ones_like(lengths), atol=0.02)  # 8 bits
            assert bool(sample.normals.isfinite().all())


def test_a_picture_is_the_same_however_often_it_is_read(tmp_path):
    for benchmark in every_depth(tmp_path):
        name = benchmark.names()[0]
        first, again = benchmark.load(name), benchmark.load(name)
        assert torch.equal(first.rgb, again.rgb)
        assert torch.equal(first.depth, again.depth)
        assert torch.equal(first.valid, again.valid)


def test_names_are_sorted_and_the_caller_may_change_his_list(tmp_path):
    for benchmark in every_depth(tmp_path):
        names = benchmark.names()
        assert names == sorted(names)
        names.clear()
        assert benchmark.names()


@pytest.mark.parametrize(
    ("depth", "counts"),
    [
        (0.5, False),
        (1.0, False),
        (1.5, True),
        (9.9, True),
        (10.0, False),
        (float("nan"), False),
        (float("inf"), False),
    ],
)
def test_a_range_is_open_at_both_ends(depth, counts):
    rules = Rules("x", nearest_m=1.0, farthest_m=10.0)
    assert bool(rules.in_range(torch.tensor(depth))) is counts


def test_infinity_never_counts_even_without_a_far_end():
    assert not bool(Rules("x").in_range(torch.tensor(float("inf"))))
    assert bool(Rules("x").in_range(torch.tensor(1e6)))


def test_rules_and_samples_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Rules("x").dataset = "y"  # pyright: ignore[reportAttributeAccessIssue]
