from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from lotus_core.geometry.camera import intrinsics_from_fov
from lotus_core.geometry.normals import log_depth_slopes
from lotus_core.geometry.snap import snap_mixed_pixels
from tests.core.geometry.analytic import room

HEIGHT, WIDTH = 48, 128  # windows reach 2 pixels to each side
CAMERA = intrinsics_from_fov(60.0, HEIGHT, WIDTH)


def snapped(depth, normals, kind="disparity", valid=None):
    slope_x, slope_y, cosine = log_depth_slopes(normals[None], CAMERA)
    mask = torch.ones(1, HEIGHT, WIDTH, dtype=torch.bool) if valid is None else valid[None]
    out, mixed = snap_mixed_pixels(depth.log()[None], slope_x, slope_y, cosine, CAMERA[:, :1, :1], mask, kind)
    return out[0].exp(), mixed[0]


def head_on():
    return torch.tensor([0.0, 0.0, -1.0]).expand(HEIGHT, WIDTH, 3)


def ramp(near, far, shares, kind):
    """Two walls with a ramp from the near one (left) to the far one, linear in the map."""
    depth = torch.full((HEIGHT, WIDTH), near)
    depth[:, 64:] = far
    for index, share in enumerate(shares):
        if kind == "depth":
            depth[:, 64 + index] = near + share * (far - near)
        else:
            depth[:, 64 + index] = 1 / (1 / near + share * (1 / far - 1 / near))
    return depth


@pytest.mark.parametrize("kind", ["depth", "disparity"])
def test_mixed_pixels_go_to_the_surface_that_is_nearer_in_the_blurred_map(kind):
    depth = ramp(2.0, 4.0, (0.3, 0.7), kind)
    made, mixed = snapped(depth, head_on(), kind)
    assert made[10, 62:68].tolist() == pytest.approx([2.0, 2.0, 2.0, 4.0, 4.0, 4.0], rel=1e-5)
    assert mixed[10].nonzero().flatten().tolist() == [64, 65]


def test_the_middle_of_a_ramp_differs_between_depth_and_disparity():
    # Half way in depth between 1 and 4 is 2.5; half way in disparity is 1.6: a pixel at 2 belongs to the near
    # surface of a depth map and to the far one of a disparity map.
    depth = torch.full((HEIGHT, WIDTH), 1.0)
    depth[:, 64:] = 4.0
    depth[:, 63], depth[:, 64], depth[:, 65] = 1.4, 2.0, 2.9
    assert float(snapped(depth, head_on(), "depth")[0][10, 64]) == pytest.approx(1.0)
    assert float(snapped(depth, head_on(), "disparity")[0][10, 64]) == pytest.approx(4.0)


def test_two_flat_walls_without_a_ramp_stay():
    depth = ramp(2.0, 4.0, (), "depth")
    made, mixed = snapped(depth, head_on())
    assert torch.allclose(made, depth)
    assert not bool(mixed.any())


def test_rooms_with_creases_and_steep_floors_stay():
    depth, normals = room(60.0, HEIGHT, WIDTH)
    made, _ = snapped(depth, normals)
    changed = ((made - depth).abs() > 1e-4 * depth).float().mean()
    assert float(changed) < 0.005


def test_small_ripples_are_no_occlusion():
    depth = 2.0 + 0.02 * torch.sin(torch.arange(WIDTH) / 2.0).expand(HEIGHT, WIDTH)
    assert not bool(snapped(depth, head_on())[1].any())


def test_a_ramp_that_the_normals_explain_stays():
    depth, normals = room(60.0, HEIGHT, WIDTH, turn_deg=0.0)
    floor = normals[..., 1] < -0.9
    steep = floor & (depth > 2.5)
    assert not bool(snapped(depth, normals)[1][steep].any())


def test_invalid_pixels_lend_no_value():
    depth = ramp(2.0, 4.0, (0.2, 0.4, 0.6, 0.8), "disparity")
    depth[:, 66:69] = 1e-3
    valid = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    valid[:, 66:69] = False
    made, mixed = snapped(depth, head_on(), "disparity", valid)
    assert float(made[valid].min()) >= 2.0 - 1e-4
    assert not bool(mixed[~valid].any())


def test_the_blur_of_a_box_of_three_pixels_is_undone():
    sharp = ramp(2.0, 5.0, (), "disparity")
    soft = functional.avg_pool2d(functional.pad(1 / sharp[None], (1, 1, 0, 0), mode="replicate"), (1, 3), 1)
    blurred = 1 / soft[0]
    assert int(((blurred - sharp).abs() > 0.05)[10].sum()) == 2
    assert torch.allclose(snapped(blurred, head_on())[0], sharp, rtol=1e-4)


def test_one_pixel_pictures_stay():
    camera = intrinsics_from_fov(60.0, 1, 1)
    slopes = log_depth_slopes(torch.tensor([[[[0.0, 0.0, -1.0]]]]), camera)
    made, mixed = snap_mixed_pixels(
        torch.zeros(1, 1, 1), *slopes, camera[:, :1, :1], torch.ones(1, 1, 1, dtype=torch.bool), "depth"
    )
    assert float(made) == 0.0
    assert not bool(mixed)
