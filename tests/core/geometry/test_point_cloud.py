from __future__ import annotations

import pytest
import torch

from lotus_core.errors import GeometryError, OptionError, ShapeError
from lotus_core.geometry.camera import intrinsics_from_fov
from lotus_core.geometry.point_cloud import point_cloud
from lotus_core.geometry.points import unproject


@pytest.fixture
def points() -> torch.Tensor:
    g = torch.Generator().manual_seed(3)
    return unproject(1 + torch.rand(1, 5, 6, generator=g), intrinsics_from_fov(60.0, 5, 6))[0]


def test_every_valid_pixel_gives_its_point_in_row_order(points):
    cloud = point_cloud(points)
    assert torch.equal(cloud.points, points.reshape(-1, 3))
    assert cloud.normals is None
    assert cloud.colours is None


def test_normals_and_colours_stay_with_their_point(points):
    mask = torch.zeros(5, 6, dtype=torch.bool)
    mask[1, 2] = mask[4, 5] = True
    normals = torch.nn.functional.normalize(torch.randn(5, 6, 3), dim=-1)
    image = torch.rand(5, 6, 3)
    cloud = point_cloud(points, mask=mask, normals=normals, image=image)
    assert torch.equal(cloud.points, torch.stack([points[1, 2], points[4, 5]]))
    assert cloud.normals is not None
    assert torch.equal(cloud.normals, torch.stack([normals[1, 2], normals[4, 5]]))
    assert cloud.colours is not None
    assert torch.equal(cloud.colours, torch.stack([image[1, 2], image[4, 5]]))


@pytest.mark.parametrize("bad", [float("inf"), float("nan"), 0.0, -2.0])
def test_points_that_are_not_in_front_are_left_out(points, bad):
    points[2, 3, 2] = bad
    cloud = point_cloud(points)
    assert cloud.points.shape == (29, 3)
    assert torch.isfinite(cloud.points).all()


def test_a_stride_takes_every_nth_pixel(points):
    assert torch.equal(point_cloud(points, stride=2).points, points[::2, ::2].reshape(-1, 3))


def test_a_single_pixel_is_a_point(points):
    assert point_cloud(points[:1, :1]).points.shape == (1, 3)


def test_no_valid_point_is_an_error(points):
    with pytest.raises(GeometryError, match=r"no point is valid \(found: 5 x 6 pixels\): check the mask"):
        point_cloud(points, mask=torch.zeros(5, 6, dtype=torch.bool))


def test_an_image_of_another_size_is_refused(points):
    with pytest.raises(ShapeError, match=r"image has shape \(6, 5, 3\), expected \(5, 6, 3\)"):
        point_cloud(points, image=torch.rand(6, 5, 3))


def test_a_stride_of_nothing_is_refused(points):
    with pytest.raises(OptionError, match="stride"):
        point_cloud(points, stride=0)
