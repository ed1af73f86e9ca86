from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from lotus_core.errors import GeometryError, OptionError, ShapeError
from lotus_core.geometry.calibrate import calibrate, check_maps
from lotus_core.geometry.camera import focal_from_fov
from tests.core.geometry.analytic import median_scaled_error, network_map, plane, room

KINDS = ("depth", "disparity")
FOVS = (38.0, 60.0, 84.0)


def noisy(values, normals, amount, seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = values + amount * torch.randn(values.shape, generator=generator)
    normals = normals + 3 * amount * torch.randn(normals.shape, generator=generator)
    return values, functional.normalize(normals, dim=-1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fov", FOVS)
def test_a_clean_room_gives_its_camera_and_shift_back(kind, fov):
    depth, normals = room(fov)
    values, shift = network_map(depth, kind)
    found = calibrate(values[None], normals[None], kind=kind)
    assert float(found.fov_x_deg) == pytest.approx(fov, abs=0.5)
    assert float(found.shift) == pytest.approx(shift, rel=0.05)
    assert median_scaled_error(found.resolve_depth(values[None])[0], depth) < 0.003
    assert found.focal_source == ("normals",)
    assert found.shift_source == ("normals",)
    assert found.reason == ("",)
    assert float(found.sd_log_focal) < 0.05


def test_results_have_their_documented_shapes_and_types():
    depth, normals = room(60.0, 48, 64)
    values, _ = network_map(depth, "depth")
    found = calibrate(values.expand(3, 48, 64), normals.expand(3, 48, 64, 3), kind="depth")
    assert found.intrinsics.shape == (3, 3, 3)
    for field in (
        found.fov_x_deg,
        found.shift,
        found.low,
        found.sd_log_focal,
        found.angle_deg,
        found.coverage,
    ):
        assert field.shape == (3,)
        assert field.dtype == torch.float32
    assert len(found.focal_source) == len(found.shift_source) == len(found.reason) == 3
    assert found.resolve_depth(values.expand(3, 48, 64)).shape == (3, 48, 64)


def test_intrinsics_are_in_pixels_of_the_map():
    depth, normals = room(60.0, 48, 64)
    values, _ = network_map(depth, "depth")
    found = calibrate(values[None], normals[None], kind="depth", fov_x_deg=60.0)
    focal = focal_from_fov(60.0, 64)
    expected = torch.tensor([[focal, 0.0, 32.0], [0.0, focal, 24.0], [0.0, 0.0, 1.0]])
    assert torch.allclose(found.intrinsics[0], expected, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_a_batch_do_not_disturb_each_other(kind):
    scenes = [room(fov) for fov in FOVS]
    values = torch.stack([network_map(depth, kind)[0] for depth, _ in scenes])
    normals = torch.stack([n for _, n in scenes])
    together = calibrate(values, normals, kind=kind)
    for index in range(3):
        alone = calibrate(values[index : index + 1], normals[index : index + 1], kind=kind)
        assert float(together.fov_x_deg[index]) == pytest.approx(float(alone.fov_x_deg), abs=1e-3)
        assert float(together.shift[index]) == pytest.approx(float(alone.shift), rel=1e-3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("scale", "offset"), [(10.0, 0.0), (0.3, 0.5), (255.0, -40.0)])
def test_scale_and_offset_of_the_map_change_nothing_but_the_shift(kind, scale, offset):
    depth, normals = room(60.0)
    values, _ = network_map(depth, kind)
    plain = calibrate(values[None], normals[None], kind=kind)
    moved = calibrate(values[None] * scale + offset, normals[None], kind=kind)
    assert float(moved.fov_x_deg) == pytest.approx(float(plain.fov_x_deg), abs=0.05)
    assert float(moved.shift) == pytest.approx(
        float(plain.shift) * scale - offset, rel=0.01, abs=0.02 * scale
    )
    assert median_scaled_error(moved.resolve_depth(values[None] * scale + offset)[0], depth) < 0.004


def test_mirroring_the_picture_leaves_the_camera():
    depth, normals = room(50.0)
    values, _ = network_map(depth, "disparity")
    mirrored = normals.flip(1) * torch.tensor([-1.0, 1.0, 1.0])
    straight = calibrate(values[None], normals[None], kind="disparity")
    turned = calibrate(values.flip(1)[None], mirrored[None], kind="disparity")
    assert float(turned.fov_x_deg) == pytest.approx(float(straight.fov_x_deg), abs=0.05)


def test_the_length_of_the_normals_does_not_matter():
    depth, normals = room(60.0)
    values, _ = network_map(depth, "depth")
    found = calibrate(values[None], 0.999 * normals[None], kind="depth")
    assert float(found.fov_x_deg) == pytest.approx(60.0, abs=0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_larger_picture_of_the_same_scene_has_the_same_camera(kind):
    found = []
    for height, width in ((72, 96), (144, 192), (101, 135)):
        depth, normals = room(66.0, height, width)
        values, _ = network_map(depth, kind)
        found.append(float(calibrate(values[None], normals[None], kind=kind).fov_x_deg))
    assert found == pytest.approx([66.0] * 3, abs=0.7)


@pytest.mark.parametrize("kind", KINDS)
def test_an_upright_picture_is_calibrated_as_well(kind):
    depth, normals = room(45.0, 160, 96)
    values, _ = network_map(depth, kind)
    assert float(calibrate(values[None], normals[None], kind=kind).fov_x_deg) == pytest.approx(45.0, abs=1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_given_field_of_view_is_taken_as_it_is(kind):
    depth, normals = room(60.0)
    values, _ = network_map(depth, kind)
    found = calibrate(values[None], normals[None], kind=kind, fov_x_deg=47.0)
    assert float(found.fov_x_deg) == pytest.approx(47.0, abs=1e-3)
    assert found.focal_source == ("given",)
    assert found.reason == ("",)


@pytest.mark.parametrize("kind", KINDS)
def test_the_shift_is_found_with_the_true_field_of_view_given(kind):
    depth, normals = room(75.0)
    values, shift = network_map(depth, kind)
    found = calibrate(values[None], normals[None], kind=kind, fov_x_deg=75.0)
    assert float(found.shift) == pytest.approx(shift, rel=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_widens_the_reported_deviation(kind):
    depth, normals = room(60.0)
    values, _ = network_map(depth, kind)
    clean = calibrate(values[None], normals[None], kind=kind)
    rough = calibrate(*(part[None] for part in noisy(values, normals, 0.01)), kind=kind)
    assert float(rough.sd_log_focal) > 2 * float(clean.sd_log_focal)
    assert float(rough.angle_deg) > float(clean.angle_deg)
    assert (
        abs(math.log(math.tan(math.radians(30)) / math.tan(math.radians(float(rough.fov_x_deg)) / 2))) < 0.3
    )


@pytest.mark.parametrize("noise", [0.0, 0.003, 0.02])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fov", [35.0, 85.0])
def test_a_wall_seen_head_on_falls_back_to_the_prior_and_says_so(kind, noise, fov):
    depth, normals = plane(fov, (0.0, 0.0, -1.0))
    values, normals = noisy(torch.full_like(depth, 0.5), normals, noise)
    found = calibrate(values[None], normals[None], kind=kind)
    assert found.focal_source == ("prior",)
    assert found.shift_source == ("prior",)
    assert float(found.sd_log_focal) > 0.3
    assert float(found.fov_x_deg) == pytest.approx(60.0, abs=5.0)
    assert "the map is constant up to noise" in found.reason[0]


@pytest.mark.parametrize("noise", [0.003, 0.02])
@pytest.mark.parametrize("kind", KINDS)
def test_the_noise_of_a_flat_wall_is_not_blown_up(kind, noise):
    depth, normals = plane(60.0, (0.0, 0.0, -1.0))
    values, normals = noisy(torch.full_like(depth, 0.5), normals, noise)
    resolved = calibrate(values[None], normals[None], kind=kind).resolve_depth(values[None])
    assert float(resolved.std() / resolved.mean()) < 0.05


@pytest.mark.parametrize("noise", [0.0, 0.003, 0.02])
@pytest.mark.parametrize("fov", [35.0, 60.0, 85.0])
def test_one_slanted_plane_in_disparity_does_not_tell_its_focal_length(noise, fov):
    depth, normals = plane(fov, (0.5, -0.17, -0.85))
    values, normals = noisy(network_map(depth, "disparity")[0], normals, noise)
    found = calibrate(values[None], normals[None], kind="disparity")
    assert found.focal_source == ("prior",)
    assert float(found.sd_log_focal) > 0.3
    assert float(found.fov_x_deg) == pytest.approx(60.0, abs=5.0)
    assert "the picture does not tell its focal length (sd of ln f = " in found.reason[0]


@pytest.mark.parametrize("fov", [35.0, 60.0, 85.0])
def test_one_slanted_plane_in_depth_tells_its_focal_length(fov):
    depth, normals = plane(fov, (0.5, -0.17, -0.85))
    found = calibrate(network_map(depth, "depth")[0][None], normals[None], kind="depth")
    assert found.focal_source == ("normals",)
    assert float(found.fov_x_deg) == pytest.approx(fov, abs=1.0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_two_walls_seen_head_on_fall_back_to_the_prior(kind, noise):
    depth, normals = plane(60.0, (0.0, 0.0, -1.0))
    depth = depth.clone()
    depth[:, :64] *= 0.6
    values, normals = noisy(network_map(depth, kind)[0], normals, noise)
    found = calibrate(values[None], normals[None], kind=kind)
    assert found.focal_source == ("prior",)
    assert found.shift_source == ("prior",)
    assert found.reason[0] != ""


def test_a_given_field_of_view_is_kept_where_nothing_can_be_fitted():
    depth, normals = plane(60.0, (0.0, 0.0, -1.0))
    found = calibrate(depth[None], normals[None], kind="depth", fov_x_deg=50.0)
    assert float(found.fov_x_deg) == pytest.approx(50.0, abs=1e-3)
    assert found.focal_source == ("given",)
    assert found.shift_source == ("prior",)


def test_another_prior_is_used_where_the_picture_does_not_tell():
    depth, normals = plane(60.0, (0.5, 0.0, -0.85))
    values, _ = network_map(depth, "disparity")
    found = calibrate(values[None], normals[None], kind="disparity", prior_fov_x_deg=72.0)
    assert float(found.fov_x_deg) == pytest.approx(72.0, abs=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_masked_pixels_have_no_say(kind):
    depth, normals = room(60.0)
    values, _ = network_map(depth, kind)
    valid = torch.ones_like(values, dtype=torch.bool)
    valid[:30, :50] = False
    spoilt, turned = values.clone(), normals.clone()
    spoilt[~valid] = 40.0
    turned[~valid] = torch.tensor([1.0, 0.0, 0.0])
    found = calibrate(spoilt[None], turned[None], kind=kind, valid=valid[None])
    assert float(found.fov_x_deg) == pytest.approx(60.0, abs=0.7)


@pytest.mark.parametrize("spoil", ["values", "normals"])
def test_pixels_that_are_not_finite_are_left_out(spoil):
    depth, normals = room(60.0)
    values, _ = network_map(depth, "depth")
    values, normals = values.clone(), normals.clone()
    {"values": values, "normals": normals}[spoil][10:40, 20:70] = float("nan")
    found = calibrate(values[None], normals[None], kind="depth")
    assert float(found.fov_x_deg) == pytest.approx(60.0, abs=0.7)
    assert bool(found.intrinsics.isfinite().all())


@pytest.mark.parametrize(("height", "width"), [(1, 40), (40, 1), (1, 1), (2, 2), (5, 3)])
def test_pictures_too_small_to_fit_use_the_prior(height, width):
    values = torch.linspace(0.1, 0.9, height * width).reshape(1, height, width)
    normals = torch.tensor([0.0, -0.6, -0.8]).expand(1, height, width, 3)
    found = calibrate(values, normals, kind="depth")
    assert found.focal_source == ("prior",)
    assert bool((found.resolve_depth(values) > 0).all())
    assert bool(found.intrinsics.isfinite().all())


@pytest.mark.parametrize("kind", KINDS)
def test_resolved_depth_is_positive_and_ordered(kind):
    depth, normals = room(60.0)
    values, _ = network_map(depth, kind)
    found = calibrate(values[None], normals[None], kind=kind)
    resolved = found.resolve_depth(torch.linspace(-0.2, 1.2, 50).reshape(1, 5, 10)).flatten()
    assert bool((resolved > 0).all())
    steps = resolved.diff()
    assert bool((steps >= 0).all() if kind == "depth" else (steps <= 0).all())


def test_a_mask_of_nothing_is_refused():
    depth, normals = room(60.0, 48, 64)
    nothing = torch.zeros(1, 48, 64, dtype=torch.bool)
    with pytest.raises(GeometryError, match="a mask keeps no pixel"):
        calibrate(depth[None], normals[None], kind="depth", valid=nothing)


@pytest.mark.parametrize(("what", "name"), [("values", "depth"), ("normals", "normals")])
def test_a_map_without_any_finite_pixel_is_refused(what, name):
    depth, normals = room(60.0, 48, 64)
    maps = {"values": depth[None].clone(), "normals": normals[None].clone()}
    maps[what].fill_(float("nan"))
    with pytest.raises(GeometryError, match=f"the {name} of picture 0 are not finite anywhere"):
        calibrate(maps["values"], maps["normals"], kind="depth")


def test_the_error_names_the_picture_of_a_batch():
    values, normals = torch.rand(3, 8, 8), torch.rand(3, 8, 8, 3)
    values[2] = float("inf")
    with pytest.raises(GeometryError, match="picture 2"):
        check_maps(values, normals, None)


@pytest.mark.parametrize(
    ("values", "normals", "valid", "named"),
    [
        ((48, 64), (1, 48, 64, 3), None, "values"),
        ((1, 48, 64), (1, 3, 48, 64), None, "normals"),
        ((2, 48, 64), (1, 48, 64, 3), None, "normals"),
        ((1, 48, 64), (1, 24, 32, 3), None, "normals"),
        ((1, 48, 64), (1, 48, 64, 3), (1, 64, 48), "valid"),
    ],
)
def test_maps_of_other_shapes_are_refused(values, normals, valid, named):
    mask = None if valid is None else torch.ones(valid, dtype=torch.bool)
    with pytest.raises(ShapeError, match=f"{named} has shape"):
        calibrate(torch.rand(values), torch.rand(normals), kind="depth", valid=mask)


def test_an_impossible_field_of_view_is_refused():
    depth, normals = room(60.0, 48, 64)
    with pytest.raises(OptionError, match="fov_x_deg"):
        calibrate(depth[None], normals[None], kind="depth", fov_x_deg=200.0)
