"""Rendered scenes as a benchmark: reproducible, held out, of any size and layout."""

from __future__ import annotations

import pytest
import torch

from lotus_core.errors import OptionError
from lotus_core.evaluation.rendered import FARTHEST_M, SceneDepth, SceneNormals, SceneRange
from lotus_core.training.scenes.sampling import LAYOUT_SHARES


def test_a_seed_gives_the_same_scene_whatever_range_it_is_in():
    alone = SceneDepth(SceneRange(500_002, 1, 16, 24)).load("500002")
    among = SceneDepth(SceneRange(500_000, 5, 16, 24)).load("500002")
    assert torch.equal(alone.rgb, among.rgb)
    assert torch.equal(alone.depth, among.depth)


@pytest.mark.parametrize("layout", sorted(LAYOUT_SHARES))
def test_every_layout_can_be_scored_on(layout):
    scenes = SceneRange(500_000, 1, 24, 32, layout)
    depth, normals = SceneDepth(scenes).load("500000"), SceneNormals(scenes).load("500000")
    assert bool(depth.valid.any())
    assert bool(normals.valid.any())
    assert bool((depth.valid <= normals.valid).all())  # far surfaces have a normal but no depth that counts


def test_far_surfaces_are_left_out_of_depth_alone():
    for seed in range(500_000, 500_040):
        scenes = SceneRange(seed, 1, 16, 24, "landscape")
        frame = scenes.frame(str(seed), colour=False)
        far = frame.valid & (frame.depth >= FARTHEST_M)
        if bool(far.any()):
            assert not SceneDepth(scenes).load(str(seed), colour=False).valid[far].any()
            assert bool(SceneNormals(scenes).load(str(seed), colour=False).valid[far].all())
            return
    pytest.fail("no landscape with a far surface among 40")


@pytest.mark.parametrize("size", [(16, 16), (17, 33), (40, 24)])
def test_any_size_can_be_rendered(size):
    scenes = SceneRange(500_000, 1, *size)
    assert SceneDepth(scenes).load("500000").rgb.shape == (*size, 3)


def test_an_unknown_layout_is_refused():
    with pytest.raises(OptionError, match="layout must be one of"):
        SceneDepth(SceneRange(500_000, 1, 16, 16, "moon")).load("500000")


def test_supersampling_changes_the_picture_and_not_the_truth():
    plain, fine = (SceneDepth(SceneRange(500_000, 1, 24, 32, "room", s)).load("500000") for s in (1, 2))
    assert not torch.equal(plain.rgb, fine.rgb)
    assert torch.equal(plain.depth, fine.depth)
