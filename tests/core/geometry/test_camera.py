from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lotus_core.errors import GeometryError, OptionError, ShapeError
from lotus_core.geometry.camera import (
    Camera,
    check_fov,
    focal_from_fov,
    fov_from_exif,
    fov_from_focal,
    intrinsics_from_focal,
    intrinsics_from_fov,
    invert_rigid,
    pixel_grid,
    pixel_rays,
    resize_intrinsics,
)


def rigid(angle: float, axis: tuple[float, float, float], move: tuple[float, float, float]) -> torch.Tensor:
    """Rodrigues' formula."""
    k = torch.tensor(axis, dtype=torch.float64)
    k = k / k.norm()
    cross = torch.tensor([[0, -k[2], k[1]], [k[2], 0, -k[0]], [-k[1], k[0], 0]], dtype=torch.float64)
    out = torch.eye(4, dtype=torch.float64)
    out[:3, :3] += math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross
    out[:3, 3] = torch.tensor(move, dtype=torch.float64)
    return out


def test_sixty_degrees_over_640_pixels_is_a_focal_length_of_554_pixels():
    assert focal_from_fov(60, 640) == pytest.approx(554.2563, abs=1e-4)


def test_ninety_degrees_make_the_focal_length_half_of_the_side():
    assert focal_from_fov(90, 512) == pytest.approx(256.0)


@given(st.floats(1.0, 170.0), st.integers(1, 10_000))
def test_field_of_view_and_focal_length_are_inverse(fov, side):
    assert fov_from_focal(focal_from_fov(fov, side), side) == pytest.approx(fov, rel=1e-9)


def test_exif_focal_length_is_defined_on_the_diagonal():
    # 28 mm of 43.2666 mm: f = 28 / 43.2666 * 5000 px = 3235.7 px; 2 atan(2000 / 3235.7) = 63.44 degrees
    assert fov_from_exif(28, 4000, 3000) == pytest.approx(63.44, abs=0.01)


def test_exif_of_a_full_frame_picture_agrees_with_its_36_mm_width():
    # On 3:2 pictures the diagonal and the width definitions coincide: 2 atan(18 / 50).
    assert fov_from_exif(50, 6000, 4000) == pytest.approx(math.degrees(2 * math.atan(18 / 50)), abs=1e-3)


def test_an_upright_picture_has_a_narrower_field_of_view_than_the_same_lens_lying():
    assert fov_from_exif(28, 3000, 4000) < fov_from_exif(28, 4000, 3000)


@pytest.mark.parametrize("focal", [0, -28, float("nan"), float("inf")])
def test_an_unknown_exif_focal_length_is_refused(focal):
    with pytest.raises(GeometryError, match="EXIF names no 35 mm focal length"):
        fov_from_exif(focal, 4000, 3000)


@pytest.mark.parametrize("focal", [0.0, -1.0, float("nan")])
def test_a_focal_length_that_is_not_positive_is_refused(focal):
    with pytest.raises(GeometryError, match="positive number of pixels"):
        fov_from_focal(focal, 640)


@pytest.mark.parametrize("fov", [0, 0.5, 171, -60, float("nan"), float("inf"), "60", True, None])
def test_an_impossible_field_of_view_is_refused(fov):
    with pytest.raises(OptionError, match="fov_x_deg must be a number of degrees from 1 to 170"):
        check_fov(fov)


def test_a_possible_field_of_view_comes_back_as_a_float():
    assert check_fov(60) == 60.0
    assert isinstance(check_fov(60), float)


def test_intrinsics_have_square_pixels_and_the_principal_point_in_the_middle():
    expected = torch.tensor([[[100.0, 0.0, 32.0], [0.0, 100.0, 24.0], [0.0, 0.0, 1.0]]])
    assert torch.equal(intrinsics_from_focal(torch.tensor([100.0]), 48, 64), expected)


def test_intrinsics_are_batched_and_differentiable():
    focal = torch.tensor([100.0, 200.0], requires_grad=True)
    made = intrinsics_from_focal(focal, 48, 64)
    made[:, 0, 0].sum().backward()
    assert made.shape == (2, 3, 3)
    assert torch.equal(focal.grad, torch.ones(2))


def test_intrinsics_of_a_field_of_view_give_it_back():
    camera = Camera(intrinsics_from_fov(73.0, 30, 40)[0], torch.eye(4), 40, 30)
    assert camera.fov_x_deg == pytest.approx(73.0, abs=1e-4)


def test_intrinsics_need_one_focal_length_for_each_picture():
    with pytest.raises(ShapeError, match="focal_px has shape"):
        intrinsics_from_focal(torch.ones(2, 2), 4, 4)


def test_resizing_scales_focal_lengths_and_principal_point():
    made = resize_intrinsics(intrinsics_from_focal(torch.tensor([100.0]), 48, 64), (48, 64), (24, 128))
    expected = torch.tensor([[[200.0, 0.0, 64.0], [0.0, 50.0, 12.0], [0.0, 0.0, 1.0]]])
    assert torch.equal(made, expected)


def test_resizing_keeps_the_field_of_view():
    made = resize_intrinsics(intrinsics_from_fov(47.0, 48, 64), (48, 64), (480, 640))
    assert fov_from_focal(float(made[0, 0, 0]), 640) == pytest.approx(47.0, abs=1e-4)


def test_pixel_centres_lie_at_one_half():
    grid = pixel_grid(2, 3)
    assert grid.shape == (2, 3, 2)
    assert grid[0, 0].tolist() == [0.5, 0.5]
    assert grid[1, 2].tolist() == [2.5, 1.5]


def test_rays_have_unit_depth_and_a_worked_direction():
    # Pixel (0.5, 0.5) of a 4 x 2 picture, f = 10: ((0.5 - 2) / 10, (0.5 - 1) / 10, 1)
    rays = pixel_rays(intrinsics_from_focal(torch.tensor([10.0]), 2, 4), 2, 4)
    assert rays.shape == (1, 2, 4, 3)
    assert torch.allclose(rays[0, 0, 0], torch.tensor([-0.15, -0.05, 1.0]))
    assert torch.equal(rays[..., 2], torch.ones(1, 2, 4))


def test_rays_are_symmetric_about_the_middle():
    rays = pixel_rays(intrinsics_from_fov(60.0, 5, 8), 5, 8)
    assert torch.allclose(rays[..., 0], -rays.flip(2)[..., 0])
    assert torch.allclose(rays[..., 1], -rays.flip(1)[..., 1])


def test_the_outermost_pixel_borders_span_the_field_of_view():
    rays = pixel_rays(intrinsics_from_fov(60.0, 4, 640), 4, 640)
    half_pixel = 0.5 / focal_from_fov(60.0, 640)
    assert math.degrees(2 * math.atan(float(rays[0, 0, -1, 0]) + half_pixel)) == pytest.approx(60.0, abs=1e-4)


def test_rays_need_three_by_three_matrices():
    with pytest.raises(ShapeError, match="intrinsics has shape"):
        pixel_rays(torch.eye(3), 4, 4)


def test_a_rigid_transform_times_its_inverse_is_the_identity():
    transform = rigid(0.7, (1.0, 2.0, -0.5), (3.0, -1.0, 2.0))
    assert torch.allclose(transform @ invert_rigid(transform), torch.eye(4, dtype=torch.float64), atol=1e-12)


def test_inverting_works_on_batches():
    batch = torch.stack([rigid(0.1 * i, (0.0, 1.0, 0.1), (i, 0.0, 1.0)) for i in range(3)])
    product = invert_rigid(batch) @ batch
    assert torch.allclose(product, torch.eye(4, dtype=torch.float64).expand(3, 4, 4), atol=1e-12)


def test_camera_from_world_undoes_world_from_camera():
    pose = rigid(1.1, (0.2, 1.0, 0.3), (0.5, 2.0, 4.0))
    camera = Camera(torch.eye(3), pose, 4, 4)
    assert torch.allclose(camera.camera_from_world @ pose, torch.eye(4, dtype=torch.float64), atol=1e-12)
