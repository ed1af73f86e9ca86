from __future__ import annotations

import math

import pytest
import torch

from lotus_core.errors import GeometryError, ShapeError
from lotus_core.geometry.align import KnownDistance, MetricDepth, anchor_scale, apply_anchor
from lotus_core.geometry.anchors import DepthAnchors
from lotus_core.geometry.camera import intrinsics_from_focal
from tests.core.geometry.analytic import room

HEIGHT, WIDTH = 48, 64
CAMERA = intrinsics_from_focal(torch.tensor([50.0]), HEIGHT, WIDTH)
DEPTH = room(65.2, HEIGHT, WIDTH)[0][None]


def sparse(count, scale, wrong=0, seed=0, view=0):
    generator = torch.Generator().manual_seed(seed)
    column = torch.randint(0, WIDTH, (count,), generator=generator)
    row = torch.randint(0, HEIGHT, (count,), generator=generator)
    known = DEPTH[0, row, column] * scale
    known[:wrong] *= 3.0
    pixels = torch.stack([column, row], dim=-1) + 0.5
    return DepthAnchors(torch.full((count,), view), pixels, known)


def test_a_known_distance_between_two_points_of_a_wall():
    # Wall at depth 2, f = 50: pixels 10 apart are 10 / 50 * 2 = 0.4 apart; measured 1.2, so the scale is 3.
    wall = torch.full((1, HEIGHT, WIDTH), 2.0)
    made = anchor_scale(wall, CAMERA, KnownDistance(1.2, (20.5, 24.5), (30.5, 24.5)))
    assert float(made.scale) == pytest.approx(3.0, rel=1e-5)
    assert float(made.spread) == 0.0
    assert made.count.tolist() == [1]


def test_a_known_distance_from_the_camera_is_along_the_ray():
    # The ray of pixel (57, 24) is ((57 - 32) / 50, 0, 1) = (0.5, 0, 1): 2 * sqrt(1.25) away.
    wall = torch.full((1, HEIGHT, WIDTH), 2.0)
    pixel = (56.5, 23.5)
    away = 2.0 * math.sqrt(1 + ((56.5 - 32) / 50) ** 2 + ((23.5 - 24) / 50) ** 2)
    made = anchor_scale(wall, CAMERA, KnownDistance(5 * away, pixel))
    assert float(made.scale) == pytest.approx(5.0, rel=1e-5)


def test_applying_an_anchor_scales_the_depth():
    wall = torch.full((1, HEIGHT, WIDTH), 2.0)
    made = apply_anchor(wall, CAMERA, KnownDistance(1.2, (20.5, 24.5), (30.5, 24.5)))
    assert torch.allclose(made, 3 * wall)


def test_a_metric_depth_map_gives_its_scale():
    made = anchor_scale(DEPTH, CAMERA, MetricDepth(2.5 * DEPTH))
    assert float(made.scale) == pytest.approx(2.5, rel=1e-4)
    assert made.count.tolist() == [HEIGHT * WIDTH]


def test_a_third_of_wrong_metric_depths_does_not_matter():
    known = 2.5 * DEPTH
    known[:, : HEIGHT // 3] *= 4.0
    assert float(anchor_scale(DEPTH, CAMERA, MetricDepth(known)).scale) == pytest.approx(2.5, rel=1e-3)


def test_unknown_metric_depths_are_left_out():
    known = 2.5 * DEPTH
    known[:, :10], known[:, 10:20], known[:, 20:30] = 0.0, torch.nan, -1.0
    made = anchor_scale(DEPTH, CAMERA, MetricDepth(known))
    assert float(made.scale) == pytest.approx(2.5, rel=1e-4)
    assert made.count.tolist() == [(HEIGHT - 30) * WIDTH]


def test_noise_shows_as_spread():
    noise = torch.randn(DEPTH.shape, generator=torch.Generator().manual_seed(0))
    made = anchor_scale(DEPTH, CAMERA, MetricDepth(2.0 * DEPTH * torch.exp(0.05 * noise)))
    assert float(made.scale) == pytest.approx(2.0, rel=0.01)
    assert float(made.spread) == pytest.approx(0.05, rel=0.1)


@pytest.mark.parametrize("wrong", [0, 10])
def test_sparse_depths_give_their_scale_in_spite_of_outliers(wrong):
    made = anchor_scale(DEPTH, CAMERA, sparse(30, 0.7, wrong))
    assert float(made.scale) == pytest.approx(0.7, rel=1e-3)
    assert made.count.tolist() == [30]


def test_sparse_depths_outside_the_picture_are_left_out():
    points = sparse(10, 0.7)
    pixels = points.pixels.clone()
    pixels[0], pixels[1] = torch.tensor([-3.0, 5.0]), torch.tensor([5.0, 1000.0])
    made = anchor_scale(DEPTH, CAMERA, DepthAnchors(points.view, pixels, points.depth))
    assert made.count.tolist() == [8]
    assert float(made.scale) == pytest.approx(0.7, rel=1e-3)


def test_pictures_without_an_anchor_keep_their_scale():
    both = torch.cat([DEPTH, DEPTH])
    made = anchor_scale(both, CAMERA.expand(2, 3, 3), sparse(12, 4.0, view=1))
    assert made.scale.tolist() == pytest.approx([1.0, 4.0], rel=1e-3)
    assert made.count.tolist() == [0, 12]
    assert math.isinf(float(made.spread[0]))


def test_invalid_pixels_are_not_compared():
    valid = torch.ones(1, HEIGHT, WIDTH, dtype=torch.bool)
    valid[:, :40] = False
    known = 2.5 * DEPTH
    known[:, :40] *= 9.0
    made = anchor_scale(DEPTH, CAMERA, MetricDepth(known), valid=valid)
    assert float(made.scale) == pytest.approx(2.5, rel=1e-4)


@pytest.mark.parametrize("distance", [0.0, -1.0, float("nan"), float("inf")])
def test_a_distance_that_is_not_positive_is_refused(distance):
    with pytest.raises(GeometryError, match="a known distance must be positive"):
        anchor_scale(DEPTH, CAMERA, KnownDistance(distance, (1.0, 1.0)))


def test_a_distance_of_a_point_to_itself_is_refused():
    with pytest.raises(GeometryError, match="between a point and itself"):
        anchor_scale(DEPTH, CAMERA, KnownDistance(1.0, (5.2, 5.2), (5.7, 5.7)))


@pytest.mark.parametrize("pixel", [(-1.0, 5.0), (5.0, 48.5), (65.0, 5.0)])
def test_a_pixel_outside_the_picture_is_refused(pixel):
    with pytest.raises(GeometryError, match="a pixel lies outside the picture"):
        anchor_scale(DEPTH, CAMERA, KnownDistance(1.0, pixel))


def test_a_pixel_without_depth_is_refused():
    depth = DEPTH.clone()
    depth[0, 5, 5] = torch.nan
    with pytest.raises(GeometryError, match="no valid depth at a pixel"):
        anchor_scale(depth, CAMERA, KnownDistance(1.0, (5.5, 5.5)))


def test_a_picture_that_is_not_there_is_refused():
    with pytest.raises(GeometryError, match=r"picture 3 of 1.*count from 0"):
        anchor_scale(DEPTH, CAMERA, KnownDistance(1.0, (5.5, 5.5), picture=3))


def test_anchors_that_meet_no_depth_are_refused():
    with pytest.raises(GeometryError, match="the anchor meets no valid depth"):
        anchor_scale(DEPTH, CAMERA, MetricDepth(torch.zeros_like(DEPTH)))


def test_a_metric_depth_map_of_another_size_is_refused():
    with pytest.raises(ShapeError, match=r"metric depth has shape \(1, 24, 32\), expected \(1, 48, 64\)"):
        anchor_scale(DEPTH, CAMERA, MetricDepth(torch.ones(1, 24, 32)))
