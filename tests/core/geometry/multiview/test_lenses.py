"""Views through real lenses: maps and pictures are moved to where a pinhole puts them."""

from __future__ import annotations

import pytest
import torch

from lotus_core.errors import ShapeError
from lotus_core.geometry.camera import Camera, pixel_grid
from lotus_core.geometry.distortion import Distortion
from lotus_core.geometry.multiview import undistort_views
from lotus_core.types import DepthPrediction, JointPrediction, ModelInfo, NormalPrediction

HEIGHT, WIDTH, FOCAL = 40, 60, 40.0
K = torch.tensor([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1.0]])
CAMERA = Camera(K, torch.eye(4), WIDTH, HEIGHT)
INFO = ModelInfo("exact", "d", "disparity", 64, "made up", "made up", 0, 0)
PINCUSHION = Distortion(k1=0.1)


def ramp() -> torch.Tensor:
    """(H, W): the x of each pixel's centre, as a share of the width."""
    return pixel_grid(HEIGHT, WIDTH)[..., 0] / WIDTH


def views(lenses: list[Distortion]):
    count = len(lenses)
    values = ramp().expand(count, HEIGHT, WIDTH)
    turned = torch.stack([ramp() - 0.5, torch.zeros_like(ramp()), -torch.ones_like(ramp())], dim=-1)
    vectors = torch.nn.functional.normalize(turned, dim=-1).expand(count, -1, -1, -1)
    given = JointPrediction(
        DepthPrediction(values, "disparity", torch.zeros_like(values), INFO),
        NormalPrediction(vectors, None, INFO),
    )
    images = values[..., None].expand(-1, -1, -1, 3)
    return given, undistort_views(given, images, [CAMERA] * count, lenses)


def test_perfect_lenses_change_nothing():
    given, (straight, images, seen) = views([Distortion()])
    assert torch.equal(straight.depth.values, given.depth.values)
    assert torch.equal(straight.normals.vectors, given.normals.vectors)
    assert torch.equal(images[0, ..., 1], ramp())
    assert bool(seen.all())


def test_a_map_is_read_where_the_lens_has_put_the_point():
    """x / z = 0.5 is at pixel 50 without the lens, and k1 = 0.1 moves it to 0.5125: to pixel 50.5."""
    _, (straight, images, _) = views([PINCUSHION])
    row = straight.depth.values[0, HEIGHT // 2 - 1 : HEIGHT // 2 + 1].mean(0)  # y = 0 lies between two rows
    between = (row[49] + row[50]) / 2 * WIDTH  # pixel 50 is the border of columns 49 and 50
    assert float(between) == pytest.approx(50.5, abs=0.02)
    torch.testing.assert_close(images[0, ..., 0], straight.depth.values[0])


def test_normals_move_along_and_stay_unit_vectors():
    _, (straight, _, seen) = views([PINCUSHION])
    vectors = straight.normals.vectors[0]
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(HEIGHT, WIDTH))
    slope = vectors[..., 0] / -vectors[..., 2] + 0.5
    torch.testing.assert_close(slope[seen[0]], straight.depth.values[0][seen[0]], atol=1e-3, rtol=0)


def test_pixels_beyond_the_picture_were_not_seen():
    _, (_, _, seen) = views([PINCUSHION])
    corner = (torch.tensor([-29.5, -19.5]) / FOCAL).square().sum()
    assert float(29.5 * (1 + 0.1 * corner)) > WIDTH / 2  # moved out of the picture
    assert not bool(seen[0, 0, 0])
    assert bool(seen[0, HEIGHT // 2, WIDTH // 2])


def test_every_view_has_its_own_lens():
    _, (straight, _, seen) = views([Distortion(), PINCUSHION])
    assert torch.equal(straight.depth.values[0], ramp())
    assert not torch.equal(straight.depth.values[1], ramp())
    assert bool(seen[0].all())
    assert not bool(seen[1].all())


def test_uncertainty_is_dropped():
    _, (straight, _, _) = views([PINCUSHION])
    assert straight.depth.uncertainty is None
    assert straight.depth.model == INFO


def test_a_camera_of_another_size_is_told():
    given, _ = views([Distortion()])
    other = Camera(K, torch.eye(4), WIDTH // 2, HEIGHT // 2)
    with pytest.raises(ShapeError, match=r"\(20, 30, 3\)"):
        undistort_views(given, ramp()[None, ..., None].expand(-1, -1, -1, 3), [other], [PINCUSHION])
