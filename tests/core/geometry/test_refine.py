from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from lotus_core.errors import GeometryError, ShapeError
from lotus_core.geometry.camera import intrinsics_from_fov
from lotus_core.geometry.normals import normals_from_points
from lotus_core.geometry.points import unproject
from lotus_core.geometry.refine import refine
from tests.core.geometry.analytic import angle_deg, median_scaled_error, plane, room

HEIGHT, WIDTH = 96, 128
CAMERA = intrinsics_from_fov(60.0, HEIGHT, WIDTH)


def smooth_noise(amount, seed=0, sigma=6):
    kernel = torch.exp(-torch.arange(-18, 19.0).square() / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    noise = torch.randn(1, 1, HEIGHT + 36, WIDTH + 36, generator=torch.Generator().manual_seed(seed))
    noise = functional.conv2d(functional.conv2d(noise, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))[
        0, 0
    ]
    return amount * noise / noise.std()


def box_in_room():
    """A room with a wall-parallel plate in front of it, and where the plate is."""
    depth, normals = room(60.0, HEIGHT, WIDTH, turn_deg=0.0)
    depth, normals = depth.clone(), normals.clone()
    plate = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    plate[30:70, 40:80] = True
    depth[plate] = 2.0
    normals[plate] = torch.tensor([0.0, 0.0, -1.0])
    return depth, normals, plate


def test_exact_depth_stays_exact_on_a_plane():
    depth, normals = plane(60.0, (0.4, -0.3, -0.85), HEIGHT, WIDTH)
    refined = refine(depth[None], normals[None], CAMERA)[0]
    assert refined.shape == (HEIGHT, WIDTH)
    assert median_scaled_error(refined, depth) < 2e-4


def test_exact_rooms_are_hardly_harmed():
    depth, normals = room(60.0, HEIGHT, WIDTH)
    assert median_scaled_error(refine(depth[None], normals[None], CAMERA)[0], depth) < 0.003


def test_noise_gives_way_to_the_normals():
    depth, normals = room(60.0, HEIGHT, WIDTH)
    noisy = depth * (1 + smooth_noise(0.02) + 0.003 * torch.randn(HEIGHT, WIDTH))
    refined = refine(noisy[None], normals[None], CAMERA)
    before = angle_deg(normals_from_points(unproject(noisy[None], CAMERA))[0], normals).median()
    after = angle_deg(normals_from_points(unproject(refined, CAMERA))[0], normals).median()
    assert float(after) < 0.25 * float(before)
    assert median_scaled_error(refined[0], depth) < 0.9 * median_scaled_error(noisy, depth)


@pytest.mark.parametrize("kind", ["depth", "disparity"])
def test_blurred_occlusions_become_sharp(kind):
    depth, normals, plate = box_in_room()
    exact = depth if kind == "depth" else 1 / depth
    soft = functional.avg_pool2d(functional.pad(exact[None, None], (1, 1, 1, 1), mode="replicate"), 3, 1)[
        0, 0
    ]
    blurred = soft if kind == "depth" else 1 / soft
    refined = refine(blurred[None], normals[None], CAMERA, kind=kind)[0]
    band = torch.zeros_like(plate)
    band[27:73, 37:83] = True
    band[33:67, 43:77] = False
    error = lambda z: float(((z - depth).abs() / depth)[band].mean())  # noqa: E731
    assert error(refined) < 0.5 * error(blurred)
    row = refined[50, 37:43].log()
    assert float(row.diff().abs().max()) > 0.7 * float((depth[50, 36] / depth[50, 44]).log())


def test_a_surface_does_not_lean_on_the_one_behind_it():
    depth, normals, plate = box_in_room()
    refined = refine(depth[None], normals[None], CAMERA)[0]
    assert torch.allclose(refined[plate], depth[plate], rtol=0.01)


def test_scale_goes_through():
    depth, normals = room(60.0, HEIGHT, WIDTH)
    noisy = depth * (1 + smooth_noise(0.02))
    small = refine(noisy[None], normals[None], CAMERA)
    large = refine(50 * noisy[None], normals[None], CAMERA)
    assert torch.allclose(large, 50 * small, rtol=1e-3)


def test_pictures_of_a_batch_are_refined_independently():
    first, second = room(60.0, HEIGHT, WIDTH), plane(60.0, (0.3, 0.2, -0.9), HEIGHT, WIDTH)
    depth = torch.stack([first[0] * (1 + smooth_noise(0.02)), second[0] * (1 + smooth_noise(0.02, 1))])
    normals = torch.stack([first[1], second[1]])
    together = refine(depth, normals, CAMERA.expand(2, 3, 3))
    alone = refine(depth[1:], normals[1:], CAMERA)
    assert torch.allclose(together[1:], alone, rtol=1e-4)


def test_invalid_pixels_come_back_unchanged_and_have_no_say():
    depth, normals = room(60.0, HEIGHT, WIDTH)
    valid = torch.ones(1, HEIGHT, WIDTH, dtype=torch.bool)
    valid[0, :20] = False
    spoilt = depth.clone()
    spoilt[:20] = 77.0
    refined = refine(spoilt[None], normals[None], CAMERA, valid=valid)
    assert torch.equal(refined[0, :20], spoilt[:20])
    assert median_scaled_error(refined[0, 20:], depth[20:]) < 0.002


@pytest.mark.parametrize("what", ["depth", "normals"])
def test_pixels_that_are_not_finite_do_not_spread(what):
    depth, normals = room(60.0, HEIGHT, WIDTH)
    maps = {"depth": depth.clone(), "normals": normals.clone()}
    maps[what][40:44, 50:60] = torch.nan
    refined = refine(maps["depth"][None], maps["normals"][None], CAMERA)[0]
    rest = torch.ones_like(depth, dtype=torch.bool)
    rest[40:44, 50:60] = False
    assert bool(refined[rest].isfinite().all())
    assert median_scaled_error(refined[rest], depth[rest]) < 0.002


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (7, 1), (2, 3), (5, 5)])
def test_tiny_pictures_are_refined_without_harm(height, width):
    depth, normals = plane(60.0, (0.2, -0.2, -0.95), height, width)
    refined = refine(depth[None], normals[None], intrinsics_from_fov(60.0, height, width))[0]
    assert torch.allclose(refined, depth, rtol=5e-3)


def test_results_are_positive():
    depth, normals = room(60.0, HEIGHT, WIDTH)
    wild = depth * torch.exp(0.5 * torch.randn(HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0)))
    assert float(refine(wild[None], normals[None], CAMERA).min()) > 0


def test_depth_that_is_not_positive_is_refused():
    depth, normals = room(60.0, HEIGHT, WIDTH)
    depth = depth.clone()
    depth[3, 4] = -0.5
    with pytest.raises(GeometryError, match=r"depth must be positive.*-0.5.*calibrate"):
        refine(depth[None], normals[None], CAMERA)


@pytest.mark.parametrize(
    ("depth", "normals", "camera", "named"),
    [
        ((96, 128), (1, 96, 128, 3), (1, 3, 3), "depth"),
        ((1, 96, 128), (1, 3, 96, 128), (1, 3, 3), "normals"),
        ((2, 96, 128), (2, 96, 128, 3), (1, 3, 3), "intrinsics"),
    ],
)
def test_other_shapes_are_refused(depth, normals, camera, named):
    with pytest.raises(ShapeError, match=f"{named} has shape"):
        refine(torch.ones(depth), torch.ones(normals), torch.ones(camera))
