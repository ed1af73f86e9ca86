from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lotus_core.errors import GeometryError
from lotus_core.geometry.anchors import DepthAnchors
from lotus_core.geometry.multiview.sweep import Sweep
from lotus_core.geometry.multiview.verdict import Agreement, judge, refuse_mismatch
from lotus_core.geometry.multiview.views import Affine, gather_views
from tests.core.geometry.multiview.solved import all_pairs, exact_affine


@pytest.fixture(scope="module")
def views(inputs):
    return gather_views(inputs)


def agreement(**changed) -> Agreement:
    """Four views in perfect order."""
    good = {
        "overlap": torch.full((4,), 0.9, dtype=torch.float64),
        "agreement": torch.full((4,), 0.97, dtype=torch.float64),
        "scale_spread": 0.001,
        "patches": torch.full((4,), 200),
        "matched": torch.full((4,), 60),
    }
    return Agreement(**{**good, **changed})


def test_exact_views_agree_nearly_everywhere(views, four_views):
    found = judge(views, all_pairs(views), exact_affine(views, four_views), None)
    assert (found.agreement > 0.97).all()
    assert (found.overlap > 0.5).all()
    assert found.scale_spread < 1e-3
    assert found.patches.tolist() == found.matched.tolist() == [0, 0, 0, 0]


def test_a_view_of_another_scale_agrees_less_and_spreads(views, four_views):
    exact = exact_affine(views, four_views)
    off = Affine(exact.log_middle + torch.tensor([0.0, 0.0, 0.05, 0.0]), exact.log_shift)
    found = judge(views, all_pairs(views), off, None)
    assert 0.02 < found.scale_spread < 0.06
    far = Affine(exact.log_middle + torch.tensor([0.0, 0.0, 0.4, 0.0]), exact.log_shift)
    assert float(judge(views, all_pairs(views), far, None).agreement[2]) < 0.4


def test_normals_that_contradict_each_other_are_no_agreement(views, four_views):
    """At the right depth, but with x, y and z of the normals exchanged: not the same surface."""
    maps = views.maps.clone()
    maps[1, ..., 3:] = views.maps[1][..., [4, 5, 3]]
    turned = replace(views, maps=maps)
    found = judge(turned, all_pairs(turned), exact_affine(views, four_views), None)
    assert float(found.agreement[1]) < 0.2


def test_what_the_pictures_gave_is_counted(views, four_views):
    depths = DepthAnchors(torch.tensor([0, 0, 2]), torch.zeros(3, 2), torch.ones(3))
    sweep = Sweep(depths, torch.tensor([9, 8, 7, 6]))
    found = judge(views, all_pairs(views, 50), exact_affine(views, four_views), sweep)
    assert found.matched.tolist() == [2, 0, 1, 0]
    assert found.patches.tolist() == [9, 8, 7, 6]


def test_views_in_order_pass():
    refuse_mismatch(agreement(), 0.65)


def test_a_view_that_shares_nothing_is_refused_by_its_number():
    overlap = torch.tensor([0.9, 0.9, 0.02, 0.9])
    with pytest.raises(GeometryError, match=r"view 2 shares nothing .*2% of it is seen"):
        refuse_mismatch(agreement(overlap=overlap), 0.65)


def test_a_view_that_shares_nothing_is_refused_also_where_agreement_is_not_asked_for():
    with pytest.raises(GeometryError, match="shares nothing"):
        refuse_mismatch(agreement(overlap=torch.zeros(4)), 0.0)


def test_one_wrong_pose_is_named():
    wrong = torch.tensor([0.9, 0.95, 0.9, 0.3])
    with pytest.raises(GeometryError, match=r"the pose of view 3 does not match its picture .*30%"):
        refuse_mismatch(agreement(agreement=wrong), 0.65)


def test_a_view_far_behind_the_others_is_named_though_it_agrees_somewhat():
    """0.7 of what it shares, where the others agree on 0.97: less than four fifths of theirs."""
    behind = torch.tensor([0.97, 0.7, 0.97, 0.97])
    with pytest.raises(GeometryError, match="the pose of view 1 does not match"):
        refuse_mismatch(agreement(agreement=behind), 0.65)


def test_views_that_all_agree_less_are_not_singled_out():
    refuse_mismatch(agreement(agreement=torch.tensor([0.8, 0.7, 0.82, 0.8])), 0.65)


def test_poses_that_are_all_somewhat_wrong_are_refused():
    with pytest.raises(GeometryError, match=r"the poses do not match the pictures .*same order"):
        refuse_mismatch(agreement(agreement=torch.full((4,), 0.55)), 0.65)


def test_maps_in_doubt_need_pictures_that_look_alike():
    doubtful = torch.tensor([0.95, 0.78, 0.95, 0.95])
    unlike = torch.tensor([60, 3, 60, 60])
    with pytest.raises(GeometryError, match=r"view 1 does not match .*3 of 200 patches"):
        refuse_mismatch(agreement(agreement=doubtful, matched=unlike), 0.65)
    refuse_mismatch(agreement(agreement=doubtful), 0.65)
    refuse_mismatch(agreement(matched=unlike), 0.65)  # dim pictures of maps that agree


def test_nothing_is_asked_of_the_agreement_at_zero():
    refuse_mismatch(agreement(agreement=torch.zeros(4)), 0.0)
