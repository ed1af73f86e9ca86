from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from lotus_core.geometry.multiview.scale_search import CANDIDATES, SCALE_RANGE, search_scales
from lotus_core.geometry.multiview.views import gather_views
from tests.core.geometry.multiview.solved import all_pairs, exact_affine

STEP = math.log(SCALE_RANGE[1] / SCALE_RANGE[0]) / (CANDIDATES - 1)


@pytest.fixture(scope="module")
def views(inputs):
    return gather_views(inputs)


def test_every_scale_is_found_to_within_a_candidate(views, four_views):
    exact = exact_affine(views, four_views)
    found = search_scales(views, all_pairs(views), exact.log_shift)
    assert (found.log_middle - exact.log_middle).abs().max() <= STEP


def test_shifts_that_are_somewhat_wrong_do_not_mislead_it(views, four_views):
    exact = exact_affine(views, four_views)
    rough = exact.log_shift + torch.tensor([0.2, -0.2, 0.1, -0.1])
    found = search_scales(views, all_pairs(views), rough)
    assert (found.log_middle - exact.log_middle).abs().max() <= 2 * STEP


def test_the_given_shifts_are_kept(views, four_views):
    shift = exact_affine(views, four_views).log_shift
    assert torch.equal(search_scales(views, all_pairs(views, 100), shift).log_shift, shift)


def test_the_scale_follows_the_unit_of_the_poses(views, four_views):
    """Poses in centimetres: the same scene, all scales 100 times as large."""
    exact = exact_affine(views, four_views)
    poses = views.world_from_camera.clone()
    poses[:, :3, 3] *= 100
    found = search_scales(replace(views, world_from_camera=poses), all_pairs(views), exact.log_shift)
    assert (found.log_middle - exact.log_middle - math.log(100)).abs().max() <= STEP
