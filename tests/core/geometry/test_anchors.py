from __future__ import annotations

import pytest
import torch

from lotus_core.errors import GeometryError, ShapeError
from lotus_core.geometry.anchors import DepthAnchors, SparsePoints, anchors_from_depth, anchors_from_points
from lotus_core.geometry.camera import Camera, intrinsics_from_fov


def camera(x: float = 0.0) -> Camera:
    pose = torch.eye(4)
    pose[0, 3] = x
    return Camera(intrinsics_from_fov(90.0, 100, 200)[0], pose, 200, 100)  # f = 100


def test_a_point_lands_on_its_pixel_with_its_depth():
    anchors = anchors_from_points(SparsePoints(torch.tensor([[0.5, -0.25, 2.0]])), [camera()])
    torch.testing.assert_close(anchors.pixels, torch.tensor([[125.0, 37.5]]))
    torch.testing.assert_close(anchors.depth, torch.tensor([2.0]))
    assert anchors.view.tolist() == [0]


def test_the_pose_of_each_view_is_applied():
    anchors = anchors_from_points(SparsePoints(torch.tensor([[0.5, 0.0, 2.0]])), [camera(), camera(1.0)])
    assert anchors.view.tolist() == [0, 1]
    torch.testing.assert_close(anchors.pixels[:, 0], torch.tensor([125.0, 75.0]))


def test_points_behind_or_beside_the_camera_are_left_out():
    points = torch.tensor([[0.0, 0, 2], [0, 0, -2], [5, 0, 2], [0, 0, 0], [float("nan"), 0, 2]])
    anchors = anchors_from_points(SparsePoints(points), [camera()])
    assert anchors.depth.tolist() == [2.0]


def test_only_the_views_that_saw_a_point_count_when_the_file_says():
    points = SparsePoints(
        torch.tensor([[0.0, 0, 2], [0.1, 0, 4]]),
        views=torch.tensor([0, 1, 1]),
        points=torch.tensor([1, 0, 1]),
    )
    anchors = anchors_from_points(points, [camera(), camera(0.5)])
    assert [(v, d) for v, d in zip(anchors.view.tolist(), anchors.depth.tolist(), strict=True)] == [
        (0, 4.0),
        (1, 2.0),
        (1, 4.0),
    ]


def test_no_point_in_any_picture_is_an_error():
    with pytest.raises(GeometryError, match=r"no sparse point.*1 points, 1 views.*same reconstruction"):
        anchors_from_points(SparsePoints(torch.tensor([[0.0, 0, -1]])), [camera()])


def test_points_of_another_shape_are_refused():
    with pytest.raises(ShapeError, match="positions"):
        anchors_from_points(SparsePoints(torch.zeros(4, 2)), [camera()])


def test_depth_maps_give_every_nth_known_pixel():
    depth = torch.arange(48.0).reshape(6, 8)
    depth[2, 2] = float("nan")
    depth[2, 6] = -1.0
    anchors = anchors_from_depth([depth, depth + 100], stride=4)
    # Rows 2 and columns 2, 6 are taken; the centre of column 2 is at 2.5. In the second map -1 became 99.
    assert anchors.view.tolist() == [1]
    assert anchors.pixels.tolist() == [[6.5, 2.5]]
    assert anchors.depth.tolist() == [99.0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 0.0, -3.0])
def test_unknown_depth_everywhere_is_an_error(bad):
    with pytest.raises(GeometryError, match="no depth is known"):
        anchors_from_depth([torch.full((8, 8), bad)])


def test_the_anchors_of_one_view_are_its_own():
    anchors = DepthAnchors(
        torch.tensor([0, 1, 0]), torch.arange(6.0).reshape(3, 2), torch.tensor([1.0, 2, 3])
    )
    pixels, depth = anchors.of_view(0)
    assert pixels.tolist() == [[0, 1], [4, 5]]
    assert depth.tolist() == [1, 3]
