from __future__ import annotations

import math

import pytest
import torch

from lotus_core.geometry.evidence import WORKING_SIDE, gather_evidence
from tests.core.geometry.analytic import network_map, plane, room

KINDS = ("depth", "disparity")


def everywhere(values):
    return torch.ones(values.shape, dtype=torch.bool)


def evidence_of(depth, normals, kind):
    values, shift = network_map(depth, kind)
    return gather_evidence(values[None], normals[None], kind, everywhere(values[None])), shift


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(96, 128), (101, 135), (48, 64)])
def test_the_true_camera_and_shift_explain_every_normal_of_a_plane(kind, size):
    # The normal is parallel to (slope_x, slope_y, -(shift + level) / f), whatever the size of the picture.
    fov = 55.0
    depth, normals = plane(fov, (0.5, -0.3, -0.8), *size)
    evidence, shift = evidence_of(depth, normals, kind)
    focal = 1 / math.tan(math.radians(fov) / 2)
    span_shift = (shift + evidence.low) / evidence.span  # in the unit of the map between its robust extremes
    tangent = (span_shift[:, None] + evidence.level) / focal
    model = torch.stack([evidence.slope_x, evidence.slope_y, -tangent], dim=-1)
    model = model / model.norm(dim=-1, keepdim=True)
    off = (model - evidence.normal).norm(dim=-1)[evidence.usable]
    assert off.numel() > 500
    assert float(off.max()) < 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_slopes_of_a_linear_map_are_exact(kind):
    # d rises by 1 over the picture's width of two half widths: 0.5 per half width, before scaling to its range.
    ramp = ((torch.arange(128) + 0.5) / 128).expand(96, 128)
    toward = torch.tensor([0.0, 0.0, -1.0]).expand(96, 128, 3)
    evidence = gather_evidence(ramp[None], toward[None], kind, everywhere(ramp[None]))
    sign = 1.0 if kind == "depth" else -1.0
    inner = evidence.usable[0]
    assert torch.allclose(evidence.slope_x[0, inner] * evidence.span, torch.tensor(0.5 * sign), atol=1e-4)
    assert torch.allclose(evidence.slope_y[0, inner], torch.tensor(0.0), atol=1e-4)


def test_the_grid_is_no_finer_than_the_working_side():
    depth, normals = room(60.0, 96, 128)
    evidence, _ = evidence_of(depth, normals, "depth")
    assert evidence.value.shape == (1, (WORKING_SIDE - 2) * (WORKING_SIDE * 3 // 4 - 2))


def test_small_pictures_are_taken_as_they_are():
    depth, normals = room(60.0, 24, 32)
    evidence, _ = evidence_of(depth, normals, "depth")
    assert evidence.value.shape == (1, 22 * 30)


def test_edges_creases_and_clipped_ends_are_not_usable():
    values = torch.full((64, 64), 0.5)
    values[:, 32:] = 0.8  # an edge at column 32
    values[:8] = 0.0  # clipped
    values[-8:] = 1.0
    normals = torch.tensor([0.0, 0.0, -1.0]).repeat(64, 64, 1)
    normals[20:, :, :] = torch.tensor([0.0, -0.8, -0.6])  # a crease at row 20
    evidence = gather_evidence(values[None], normals[None], "depth", everywhere(values[None]))
    usable = evidence.usable.view(62, 62)
    assert not bool(usable[:, 30:32].any())
    assert not bool(usable[18:20].any())
    assert not bool(usable[:8].any())
    assert not bool(usable[-8:].any())
    assert bool(usable[25:50, 5:25].all())


def test_head_on_surfaces_weigh_nothing_and_tilted_ones_more():
    weights = []
    for tilt in (0.0, 0.25, 0.8):
        depth, normals = plane(60.0, (tilt, 0.0, -math.sqrt(1 - tilt**2)))
        values = torch.rand(depth.shape, generator=torch.Generator().manual_seed(0)) * 1e-3 + 0.5
        values[0, 0], values[-1, -1] = 0.0, 1.0
        evidence = gather_evidence(values[None], normals[None], "depth", everywhere(values[None]))
        weights.append(float(evidence.weight.max()))
    # tilt^2 / (tilt^2 + 0.25^2): 0, one half, 0.64 / 0.7025
    assert weights == pytest.approx([0.0, 0.5, 0.64 / 0.7025], abs=1e-3)


def test_cells_with_an_invalid_pixel_are_not_usable():
    depth, normals = room(60.0)
    values, _ = network_map(depth, "depth")
    valid = everywhere(values[None])
    valid[0, 40, 60] = False
    spoilt = values.clone()
    spoilt[40, 60] = 1e6
    evidence = gather_evidence(spoilt[None], normals[None], "depth", valid)
    usable = evidence.usable.view(46, 62)
    # Its cell is (row 20, column 30), which is (19, 29) of the inner grid; the four neighbours see it too.
    assert not bool(usable[18:21, 29].any())
    assert not bool(usable[19, 28:31].any())
    assert float(evidence.value[evidence.usable].max()) <= 1.0


def test_noise_is_told_by_roughness():
    normals = torch.tensor([0.0, 0.0, -1.0]).expand(96, 128, 3)
    noise = torch.rand(96, 128, generator=torch.Generator().manual_seed(1))
    smooth = ((torch.arange(128) + 0.5) / 128).expand(96, 128)
    rough = gather_evidence(noise[None], normals[None], "depth", everywhere(noise[None]))
    even = gather_evidence(smooth[None], normals[None], "depth", everywhere(smooth[None]))
    assert float(rough.roughness) > 0.9
    assert float(even.roughness) == 0.0


def test_low_and_span_are_those_of_the_map():
    depth, normals = room(60.0)
    values = 3.0 + 2.0 * network_map(depth, "depth")[0]
    evidence = gather_evidence(values[None], normals[None], "depth", everywhere(values[None]))
    assert float(evidence.low) == pytest.approx(3.0, abs=0.05)
    assert float(evidence.span) == pytest.approx(2.0, abs=0.1)


def test_thinning_keeps_about_as_many_pixels_as_asked_for():
    depth, normals = room(60.0)
    evidence, _ = evidence_of(depth, normals, "depth")
    thin = evidence.thinned(300)
    assert 300 <= thin.value.shape[1] < 600
    assert thin.normal.shape[1] == thin.usable.shape[1] == thin.value.shape[1]
    assert torch.equal(thin.low, evidence.low)


def test_double_precision_keeps_masks_as_masks():
    depth, normals = room(60.0)
    evidence, _ = evidence_of(depth, normals, "depth")
    double = evidence.double()
    assert double.level.dtype == torch.float64
    assert double.usable.dtype == torch.bool
