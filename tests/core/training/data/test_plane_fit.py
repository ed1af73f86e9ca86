"""Normals by plane fit: exact on planes, sensible at edges."""

from __future__ import annotations

import pytest
import torch

from lotus_core.geometry.camera import pixel_rays
from lotus_core.training.data.plane_fit import PlaneFit, normals_by_plane_fit

K = torch.tensor([[60.0, 0.0, 33.0], [0.0, 50.0, 20.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
HEIGHT, WIDTH = 40, 64


def plane_depth(normal, distance: float) -> torch.Tensor:
    """Depth of the plane n . P = distance, negative where it is behind the camera."""
    rays = pixel_rays(K[None], HEIGHT, WIDTH)[0].double()
    return distance / (rays @ torch.tensor(normal, dtype=torch.float64))


@pytest.mark.parametrize(
    "normal", [(0.0, 0.0, -1.0), (0.6, 0.0, -0.8), (-0.3, 0.5, -0.81), (0.1, -0.2, -0.97)]
)
def test_a_plane_gives_its_own_normal_everywhere(normal):
    unit = torch.tensor(normal, dtype=torch.float64)
    unit = unit / unit.norm()
    depth = plane_depth(unit.tolist(), -4.0)
    valid = depth > 0
    found = normals_by_plane_fit(depth.float(), valid, K)
    assert found.dtype == torch.float32
    assert torch.allclose(found[valid], unit.float().expand(int(valid.sum()), 3), atol=1e-3)


def test_a_road_at_a_grazing_angle_has_normals_to_the_horizon():
    depth = plane_depth((0.0, 1.0, 0.0), 1.5)  # 1.5 m below the camera
    valid = (depth > 0) & (depth < 80.0)
    found = normals_by_plane_fit(depth.float(), valid, K)
    assert torch.allclose(found[valid], torch.tensor([0.0, -1.0, 0.0]).expand(int(valid.sum()), 3), atol=1e-3)


def test_normals_face_the_camera():
    depth = 3.0 + torch.rand(HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))
    found = normals_by_plane_fit(depth, torch.ones(HEIGHT, WIDTH, dtype=torch.bool), K)
    assert float((found * pixel_rays(K[None].float(), HEIGHT, WIDTH)[0]).sum(-1).max()) < 0


def test_an_edge_between_two_walls_blurs_neither():
    depth = torch.full((HEIGHT, WIDTH), 2.0)
    depth[:, 32:] = 4.0  # twice as far: beyond the tolerance of 5 %
    found = normals_by_plane_fit(depth, torch.ones(HEIGHT, WIDTH, dtype=torch.bool), K)
    assert torch.allclose(found, torch.tensor([0.0, 0.0, -1.0]).expand(HEIGHT, WIDTH, 3), atol=1e-4)


def test_without_a_tolerance_the_same_edge_is_blurred():
    depth = torch.full((HEIGHT, WIDTH), 2.0)
    depth[:, 32:] = 4.0
    loose = PlaneFit(tolerance=10.0)
    found = normals_by_plane_fit(depth, torch.ones(HEIGHT, WIDTH, dtype=torch.bool), K, loose)
    assert abs(float(found[20, 32, 0])) > 0.5


def test_unknown_pixels_have_no_normal_and_do_not_disturb():
    depth = plane_depth((0.6, 0.0, -0.8), -4.0)
    valid = depth > 0
    valid[10:14, 20:40] = False
    broken = torch.where(valid, depth, float("nan")).float()
    found = normals_by_plane_fit(broken, valid, K)
    assert not found[~valid].any()
    assert torch.allclose(found[valid], torch.tensor([0.6, 0.0, -0.8]).expand(int(valid.sum()), 3), atol=1e-3)


def test_too_few_neighbours_or_a_single_line_determine_no_plane():
    valid = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    valid[5, 5] = valid[5, 6] = valid[6, 5] = True  # three
    valid[20, 10:30] = True  # a line
    found = normals_by_plane_fit(torch.full((HEIGHT, WIDTH), 2.0), valid, K)
    assert not found.any()


def test_depth_rounded_to_centimetres_still_gives_the_road():
    depth = plane_depth((0.0, 1.0, 0.0), 1.5)
    valid = (depth > 0) & (depth < 20.0)
    rounded = (depth * 100).round() / 100
    found = normals_by_plane_fit(rounded.float(), valid, K)[valid]
    angle = torch.rad2deg(torch.acos((-found[:, 1]).clamp(-1, 1)))
    assert float(angle.mean()) < 1.0
