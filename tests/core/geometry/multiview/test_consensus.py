from __future__ import annotations

import torch

from lotus_core.geometry.multiview.consensus import TOLERANCE, disagreement, neighbours, reach_consensus
from tests.core.geometry.multiview.rig import HEIGHT, WIDTH, arc, look_from, see

EVERYWHERE = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)


def hear(index, depths, views, near, valid=None):
    masks = [EVERYWHERE] * len(views) if valid is None else valid
    return reach_consensus(index, depths, masks, [view.camera for view in views], near)


def test_views_that_are_exact_stay_as_they_are(four_views):
    depths = [view.depth for view in four_views]
    heard = hear(1, depths, four_views, [0, 2, 3])
    change = (heard.depth / depths[1]).log().abs()
    assert float(change[heard.supporters > 0].mean()) < 1e-3
    assert float((heard.supporters > 0).float().mean()) > 0.85


def test_errors_of_single_views_average_out(four_views):
    """One view 2 % too far among two exact ones: the mean of the three is 0.67 % off."""
    depths = [view.depth for view in four_views[:3]]
    wrong = [depths[0], depths[1] * 1.02, depths[2]]
    heard = hear(1, wrong, four_views[:3], [0, 2])
    all_three = heard.supporters == 2
    assert int(all_three.sum()) > 500
    error = (heard.depth / depths[1]).log()[all_three]
    assert abs(float(error.median()) - 0.0067) < 0.001


def test_a_view_alone_with_its_opinion_has_no_supporter(four_views):
    depths = [view.depth for view in four_views[:3]]
    heard = hear(1, [depths[0], depths[1] * 1.5, depths[2]], four_views[:3], [0, 2])
    assert float((heard.supporters > 0).float().mean()) < 0.05


def test_flying_pixels_have_no_supporter(four_views):
    """A pixel half way between the ball and the wall behind it is confirmed by nobody."""
    depths = [view.depth.clone() for view in four_views]
    row, column = HEIGHT // 2, WIDTH // 2
    depths[1][row - 1 : row + 2, column - 1 : column + 2] *= 1.3
    heard = hear(1, depths, four_views, [0, 2, 3])
    assert heard.supporters[row, column] == 0


def test_where_a_view_is_not_valid_it_keeps_its_depth_and_nobody_supports_it(four_views):
    depths = [view.depth for view in four_views]
    masks = [EVERYWHERE.clone() for _ in depths]
    masks[1][10:20, 10:20] = False
    heard = hear(1, depths, four_views, [0, 2, 3], masks)
    assert torch.equal(heard.depth[10:20, 10:20], depths[1][10:20, 10:20])
    assert not heard.supporters[10:20, 10:20].any()


def test_nan_depths_do_not_spread(four_views):
    depths = [view.depth.clone() for view in four_views]
    depths[0][5:10] = float("nan")
    masks = [torch.isfinite(depth) for depth in depths]
    heard = hear(1, depths, four_views, [0, 2], masks)
    assert torch.isfinite(heard.depth).all()


def test_what_another_picture_does_not_reach_finds_no_support(four_views):
    away = see(look_from(0.0, 0.0, 1.0, at=(0.0, 0.0, -2.0)))  # looks the other way
    views = [four_views[1], away]
    heard = hear(0, [v.depth for v in views], views, [1])
    assert not heard.supporters.any()


def test_types_are_small(four_views):
    heard = hear(0, [v.depth for v in four_views], four_views, [1])
    assert heard.supporters.dtype == torch.uint8
    assert heard.depth.dtype == torch.float32


def test_disagreement_of_exact_views_is_nearly_none_and_grows_with_their_scales(four_views):
    cameras, near = [v.camera for v in four_views], neighbours([v.camera for v in four_views])
    depths, masks = [v.depth for v in four_views], [EVERYWHERE] * 4
    assert disagreement(depths, masks, cameras, near) < 1e-3
    off = [depth * (1.02 if i % 2 else 1.0) for i, depth in enumerate(depths)]
    assert 0.01 < disagreement(off, masks, cameras, near) < 2 * TOLERANCE


def test_views_that_never_meet_disagree_without_bound(four_views):
    cameras = [look_from(0, 0, 1.0), look_from(0.1, 0, 1.0, at=(0.1, 0.0, -2.0))]
    depths = [see(c).depth for c in cameras]
    assert disagreement(depths, [EVERYWHERE] * 2, cameras, [[1], [0]]) == float("inf")


def test_neighbours_on_an_arc_are_the_nearest():
    near = neighbours(arc(7), most=2)
    assert sorted(near[0]) == [1, 2]
    assert sorted(near[3]) == [2, 4]
    assert sorted(near[6]) == [4, 5]


def test_views_that_look_the_other_way_are_no_neighbours():
    cameras = [*arc(3), look_from(0.1, 0.0, 0.4, at=(0.1, 0.0, -2.0))]
    assert all(3 not in row for row in neighbours(cameras)[:3])


def test_a_view_always_has_a_neighbour():
    cameras = [look_from(0.0, 0.0, 1.0), look_from(0.0, 0.0, 2.0, at=(0.0, 0.0, -2.0))]
    assert neighbours(cameras) == [[1], [0]]


def test_a_view_has_at_most_so_many_neighbours():
    assert {len(row) for row in neighbours(arc(12))} == {6}
    assert {len(row) for row in neighbours(arc(3))} == {2}
