from __future__ import annotations

import math

import pytest
import torch

from lotus_core.training.scenes.solids import KINDS, local_normal, path_inside
from tests.core.training.scenes.worlds import builder, world


def rays(origin, direction):
    return torch.tensor([origin]), torch.tensor([direction])


@pytest.mark.parametrize(
    ("kind", "origin", "direction", "expected"),
    [
        ("box", (-3.0, 0.2, -0.4), (1.0, 0.0, 0.0), (2.0, 4.0)),
        ("box", (0.0, 0.0, -2.0), (0.0, 0.0, 2.0), (0.5, 1.5)),
        ("box", (0.0, 0.0, 0.0), (0.0, 1.0, 0.0), (-1.0, 1.0)),
        ("ball", (-3.0, 0.0, 0.0), (1.0, 0.0, 0.0), (2.0, 4.0)),
        ("ball", (-3.0, 0.6, 0.0), (1.0, 0.0, 0.0), (2.2, 3.8)),
        ("ball", (-3.0, 0.0, 0.0), (2.0, 0.0, 0.0), (1.0, 2.0)),
        ("cylinder", (-3.0, 0.6, 0.5), (1.0, 0.0, 0.0), (2.2, 3.8)),
        ("cylinder", (0.0, 0.0, 5.0), (0.0, 0.0, -1.0), (4.0, 6.0)),
        ("ramp", (0.0, 0.0, 5.0), (0.0, 0.0, -1.0), (5.0, 6.0)),  # the slope passes through the middle
        ("ramp", (-0.5, 0.0, 5.0), (0.0, 0.0, -1.0), (4.5, 6.0)),
        ("ramp", (5.0, 0.0, -0.5), (-1.0, 0.0, 0.0), (4.5, 6.0)),
    ],
)
def test_worked_paths(kind, origin, direction, expected):
    t_in, t_out = path_inside(kind, *rays(origin, direction))
    assert (float(t_in), float(t_out)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("kind", "origin", "direction"),
    [
        ("box", (-3.0, 1.2, 0.0), (1.0, 0.0, 0.0)),
        ("ball", (-3.0, 0.9, 0.9), (1.0, 0.0, 0.0)),
        ("cylinder", (-3.0, 0.0, 1.5), (1.0, 0.0, 0.0)),
        ("cylinder", (1.2, 0.0, 5.0), (0.0, 0.0, -1.0)),
        ("ramp", (5.0, 0.0, 0.9), (0.0, 1.0, 0.0)),
    ],
)
def test_rays_that_miss_leave_before_they_enter(kind, origin, direction):
    t_in, t_out = path_inside(kind, *rays(origin, direction))
    assert float(t_in) > float(t_out)


def contains(kind, point):
    x, y, z = point.unbind(-1)
    cube = point.abs().amax(-1) - 1
    return {
        "box": cube,
        "ball": point.norm(dim=-1) - 1,
        "cylinder": torch.maximum(x.hypot(y) - 1, z.abs() - 1),
        "ramp": torch.maximum(cube, (x + z) / math.sqrt(2)),
    }[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_paths_enter_and_leave_on_the_surface_and_run_inside(kind):
    generator = torch.Generator().manual_seed(0)
    origin = 3 * torch.nn.functional.normalize(torch.randn(400, 3, generator=generator), dim=-1)
    direction = 0.6 * torch.randn(400, 3, generator=generator) - origin
    t_in, t_out = path_inside(kind, origin, direction)
    hit = t_in < t_out
    assert int(hit.sum()) > 50
    at = lambda t: (origin + t[:, None] * direction)[hit]  # noqa: E731
    assert float(contains(kind, at(t_in)).abs().max()) < 1e-4
    assert float(contains(kind, at(t_out)).abs().max()) < 1e-4
    assert float(contains(kind, at((t_in + t_out) / 2)).max()) < 0


@pytest.mark.parametrize("kind", KINDS)
def test_normals_point_out_of_the_surface(kind):
    generator = torch.Generator().manual_seed(1)
    origin = 3 * torch.nn.functional.normalize(torch.randn(400, 3, generator=generator), dim=-1)
    direction = 0.6 * torch.randn(400, 3, generator=generator) - origin
    t_in, t_out = path_inside(kind, origin, direction)
    hit = t_in < t_out
    point = (origin + t_in[:, None] * direction)[hit]
    normal = torch.nn.functional.normalize(local_normal(kind, point), dim=-1)
    outside, inside = contains(kind, point + 1e-2 * normal), contains(kind, point - 1e-2 * normal)
    assert float((outside > 0).float().mean()) > 0.99
    assert float((inside < 0).float().mean()) > 0.97  # but for points within the step of an edge
    assert float((normal * direction[hit]).sum(-1).max()) < 1e-4  # the ray enters against it


@pytest.mark.parametrize(
    ("kind", "point", "normal"),
    [
        ("box", (1.0, 0.3, -0.2), (1.0, 0.0, 0.0)),
        ("box", (0.3, -1.0, -0.2), (0.0, -1.0, 0.0)),
        ("ball", (0.6, 0.0, 0.8), (0.6, 0.0, 0.8)),
        ("cylinder", (0.6, 0.8, 0.1), (0.6, 0.8, 0.0)),
        ("cylinder", (0.3, 0.1, -1.0), (0.0, 0.0, -1.0)),
        ("ramp", (0.5, 0.1, -0.5), (1.0, 0.0, 1.0)),
        ("ramp", (-1.0, 0.1, 0.2), (-1.0, 0.0, 0.0)),
    ],
)
def test_worked_normals(kind, point, normal):
    assert local_normal(kind, torch.tensor([point]))[0].tolist() == pytest.approx(normal, abs=1e-6)


def test_solids_are_packed_by_kind():
    made = builder()
    material = made.material()
    for kind in ("ramp", "ball", "box", "ball"):
        made.add(kind, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), material)
    solids = world(made).solids
    assert len(solids) == 4
    assert solids.kind.tolist() == [0, 1, 1, 3]
    assert solids.ranges() == [("box", slice(0, 1)), ("ball", slice(1, 3)), ("ramp", slice(3, 4))]


def test_corners_of_a_turned_box():
    made = builder()
    made.add("box", (1.0, 2.0, 3.0), (2.0, 1.0, 0.5), made.material(), yaw=math.pi / 2)
    corners = world(made).solids.corners()
    assert corners.shape == (1, 8, 3)
    # A quarter turn swaps x and y: 1 -+ 1, 2 -+ 2, 3 -+ 0.5
    assert corners[0].amin(0).tolist() == pytest.approx([0.0, 0.0, 2.5], abs=1e-5)
    assert corners[0].amax(0).tolist() == pytest.approx([2.0, 4.0, 3.5], abs=1e-5)


def test_corners_are_the_unit_cube_in_the_local_frame():
    made = builder()
    made.pole((0.0, 0.0, 0.0), (1.0, 2.0, 3.0), 0.2, made.material())
    solids = world(made).solids
    local = (solids.corners() - solids.centre[:, None]) @ solids.local_from_world().mT
    assert torch.allclose(local.abs(), torch.ones(1, 8, 3), atol=1e-5)
