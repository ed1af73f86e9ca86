from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lotus_core.errors import ShapeError
from lotus_core.geometry.camera import Camera, intrinsics_from_fov
from lotus_core.geometry.distortion import Distortion, distort, undistort_image

LENS = Distortion(k1=-0.12, k2=0.03, p1=0.002, p2=-0.003)


def camera(height: int, width: int, fov: float = 60.0) -> Camera:
    return Camera(intrinsics_from_fov(fov, height, width)[0], torch.eye(4), width, height)


def test_radial_distortion_by_hand():
    # r^2 = 0.25: 0.5 * (1 + 0.1 * 0.25) = 0.5125
    torch.testing.assert_close(
        distort(torch.tensor([0.5, 0.0]), Distortion(k1=0.1)), torch.tensor([0.5125, 0.0])
    )


def test_higher_radial_terms_by_hand():
    # At (1, 0), r = 1: every term counts once.
    moved = distort(torch.tensor([1.0, 0.0]), Distortion(k1=0.1, k2=0.02, k3=0.003, k4=0.0004))
    torch.testing.assert_close(moved, torch.tensor([1.1234, 0.0]))


def test_tangential_distortion_by_hand():
    # (1, 2), r^2 = 5: x + 2 p1 x y + p2 (r^2 + 2 x^2) = 1 + 4 p1 + 7 p2,
    # and y + p1 (r^2 + 2 y^2) + 2 p2 x y = 2 + 13 p1 + 4 p2.
    moved = distort(torch.tensor([1.0, 2.0]), Distortion(p1=0.01, p2=0.001))
    torch.testing.assert_close(moved, torch.tensor([1.047, 2.134]))


@settings(max_examples=30, deadline=None)
@given(st.floats(-1, 1), st.floats(-1, 1))
def test_a_perfect_lens_moves_nothing(x, y):
    xy = torch.tensor([x, y])
    assert torch.equal(distort(xy, Distortion()), xy)
    assert Distortion().is_zero
    assert not LENS.is_zero


def test_the_optical_axis_never_moves():
    assert torch.equal(distort(torch.zeros(2), LENS), torch.zeros(2))


def test_distortion_agrees_with_colmaps_opencv_model():
    import pycolmap

    reference = pycolmap.Camera(
        model="OPENCV", width=640, height=480, params=[500, 510, 320, 240, LENS.k1, LENS.k2, LENS.p1, LENS.p2]
    )
    xy = torch.rand(20, 2, dtype=torch.float64) - 0.5
    expected = reference.img_from_cam(torch.cat([xy, torch.ones(20, 1)], dim=1).numpy())
    ours = distort(xy, LENS) * torch.tensor([500.0, 510.0]) + torch.tensor([320.0, 240.0])
    torch.testing.assert_close(ours, torch.from_numpy(expected), atol=1e-9, rtol=0)


def test_undistorting_looks_a_smooth_picture_up_where_the_lens_put_it():
    view = camera(48, 64)
    focal = float(view.intrinsics[0, 0])
    # A picture whose red is the x of the distorted plane and green the y: what comes back must be distort(ray).
    grid = torch.stack(torch.meshgrid(torch.arange(64) + 0.5, torch.arange(48) + 0.5, indexing="xy"), dim=-1)
    plane = (grid - torch.tensor([32.0, 24.0])) / focal
    image = torch.cat([plane, torch.zeros(48, 64, 1)], dim=-1)
    result, seen = undistort_image(image, view, LENS)
    expected = distort(plane, LENS)
    inner = torch.zeros_like(seen)
    inner[2:-2, 2:-2] = True
    assert seen[inner].all()
    torch.testing.assert_close(result[..., :2][inner], expected[inner], atol=2e-6, rtol=0)


def test_a_perfect_lens_gives_the_picture_back():
    image = torch.rand(20, 30, 3)
    result, seen = undistort_image(image, camera(20, 30), Distortion())
    torch.testing.assert_close(result, image, atol=1e-5, rtol=0)
    assert seen.all()


def test_pixels_that_the_lens_never_saw_are_marked():
    # k1 > 0 (pincushion): the straight corner needs light from outside the picture.
    _, seen = undistort_image(torch.rand(48, 64, 3), camera(48, 64), Distortion(k1=0.3))
    assert not seen[0, 0]
    assert not seen[-1, -1]
    assert seen[24, 32]


def test_a_polynomial_that_folds_back_is_not_believed():
    # r (1 - r^2) turns at r = 0.577: 90 degrees across see up to r = 1 at the side.
    _, seen = undistort_image(torch.rand(9, 64, 3), camera(9, 64, 90.0), Distortion(k1=-1.0))
    radius = (torch.arange(64) + 0.5 - 32).abs() / 32
    assert not seen[4][radius > 0.58].any()
    assert seen[4][radius < 0.57].all()


def test_a_picture_of_another_size_is_refused():
    with pytest.raises(ShapeError, match=r"image has shape \(10, 30, 3\), expected \(20, 30, 3\)"):
        undistort_image(torch.rand(10, 30, 3), camera(20, 30), LENS)
