from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lotus_core.errors import GeometryError
from lotus_core.geometry.camera import Camera, intrinsics_from_fov, pixel_rays
from lotus_core.geometry.multiview import tsdf
from lotus_core.geometry.multiview.tsdf import BLOCK, TRUNCATION, DepthView, integrate, surface_blocks

VOXEL = 0.05
ORIGIN = torch.zeros(3)
SIDE = 80


def wall(
    depth: float,
    *,
    x: float = 0.0,
    weight: float = 1.0,
    image: torch.Tensor | None = None,
    slope: float = 0.0,
) -> DepthView:
    """A camera at (x, 0, 0) that looks along z at the plane z = depth + slope * x, 90 degrees across."""
    pose = torch.eye(4)
    pose[0, 3] = x
    camera = Camera(intrinsics_from_fov(90.0, SIDE, SIDE)[0], pose, SIDE, SIDE)
    rays = pixel_rays(camera.intrinsics[None], SIDE, SIDE)[0]
    z = (depth + slope * x) / (1 - slope * rays[..., 0])
    normal = torch.nn.functional.normalize(torch.tensor([slope, 0.0, -1.0]), dim=0)
    cosine = -(torch.nn.functional.normalize(rays, dim=-1) @ normal)
    return DepthView(z, torch.full((SIDE, SIDE), weight), cosine, image, camera)


def samples(views, block, **named):
    """The distance field of one block, and the world z of its samples."""
    (field,) = integrate(views, torch.tensor([block]), ORIGIN, VOXEL, **named)
    z = (torch.arange(BLOCK + 1) + block[2] * BLOCK) * VOXEL
    return field, z


def middle_line(field):
    return field.distance[BLOCK // 2, BLOCK // 2]


def test_blocks_are_those_that_the_surface_reaches():
    """z = 2 at 0.05 a voxel is sample 40, in block 1; its truncation of 4 voxels stays inside samples 32 to 64."""
    blocks = surface_blocks([wall(2.0)], ORIGIN, VOXEL)
    assert set(blocks[:, 2].tolist()) == {1}
    # The wall spans x, y in -2 ... 2, that is samples -40 ... 40 and their truncation.
    assert sorted(set(blocks[:, 0].tolist())) == [-2, -1, 0, 1]


def test_a_surface_near_a_blocks_border_takes_the_block_behind_too():
    blocks = surface_blocks([wall(2 * BLOCK * VOXEL - 0.1)], ORIGIN, VOXEL)
    assert set(blocks[:, 2].tolist()) == {1, 2}


def test_blocks_are_sorted_and_different():
    rows = surface_blocks([wall(2.0), wall(2.0, x=0.3)], ORIGIN, VOXEL).tolist()
    assert rows == sorted(set(map(tuple, rows))) or rows == [
        list(row) for row in sorted(set(map(tuple, rows)))
    ]


def test_distances_grow_toward_the_camera_and_end_at_one_truncation():
    field, z = samples([wall(2.5)], (0, 0, 1))
    line = middle_line(field)
    expected = (2.5 - z) / (TRUNCATION * VOXEL)
    near = expected.abs() < 0.95
    # The plane is perpendicular to the axis and the line nearly on it: its ray's length hides in the cosine.
    assert torch.allclose(line[near], expected[near] * field_cosine(z[near]), atol=2e-3)
    assert line[expected > 1.3].eq(1).all()


def field_cosine(z):
    """Cosine between the axis and the ray to the line at x = y = 16 voxels."""
    away = 2 * (BLOCK // 2 * VOXEL) ** 2
    return z / (away + z.square()).sqrt()


def test_what_lies_more_than_a_truncation_behind_is_unknown():
    field, z = samples([wall(2.0)], (0, 0, 1))
    weight = field.weight[BLOCK // 2, BLOCK // 2]
    assert (weight[z > 2.0 + 1.2 * TRUNCATION * VOXEL] == 0).all()
    assert (weight[z < 2.0] > 0).all()


def test_two_views_that_differ_meet_in_the_middle():
    """At z = 2.3 and 2.5, equally weighted, the mean distance is zero near 2.4."""
    field, z = samples([wall(2.3), wall(2.5)], (0, 0, 1))
    line = middle_line(field)
    crossing = z[(line > 0).nonzero().max()]
    assert float(crossing) == pytest.approx(2.4, abs=0.06)


def test_a_view_without_weight_says_nothing():
    field, _ = samples([wall(2.3), wall(2.5, weight=0.0)], (0, 0, 1))
    alone, _ = samples([wall(2.3)], (0, 0, 1))
    assert torch.equal(field.distance, alone.distance)
    assert torch.equal(field.weight, alone.weight)


def test_depths_that_are_not_finite_or_not_positive_are_left_out():
    view = wall(2.3)
    view.depth[0, 0], view.depth[1, 1], view.depth[2, 2] = float("nan"), 0.0, float("inf")
    field, _ = samples([view], (0, 0, 1))
    assert torch.isfinite(field.distance).all()


def test_space_behind_the_camera_is_unknown():
    (field,) = integrate([wall(2.3)], torch.tensor([[0, 0, -2]]), ORIGIN, VOXEL)
    assert not field.weight.any()


def test_nothing_is_interpolated_between_two_surfaces():
    view = wall(1.7)
    view.depth[:, SIDE // 2 :] = 2.4  # a step in the middle column
    (field,) = integrate([view], torch.tensor([[-1, 0, 1]]), ORIGIN, VOXEL)
    x_last = field.weight[BLOCK, BLOCK // 2]  # samples at x = 0: on the border between both columns
    assert not x_last.any()


def test_neighbouring_blocks_share_their_border_samples_exactly():
    views = [wall(2.0, slope=0.2), wall(2.0, x=0.4, slope=0.2)]
    first, second = integrate(views, torch.tensor([[-1, 0, 1], [0, 0, 1]]), ORIGIN, VOXEL)
    assert torch.equal(first.distance[BLOCK], second.distance[0])
    assert torch.equal(first.weight[BLOCK], second.weight[0])


def test_colours_are_the_pictures_near_the_surface():
    red, blue = torch.zeros(SIDE, SIDE, 3), torch.zeros(SIDE, SIDE, 3)
    red[..., 0], blue[..., 2] = 1.0, 1.0
    field, z = samples([wall(2.3, image=red), wall(2.3, image=blue)], (0, 0, 1))
    assert field.colour is not None
    at_surface = field.colour[BLOCK // 2, BLOCK // 2, int((2.3 - float(z[0])) / VOXEL)]
    assert at_surface.tolist() == pytest.approx([0.5, 0.0, 0.5], abs=1e-5)


def test_without_pictures_there_are_no_colours():
    field, _ = samples([wall(2.3)], (0, 0, 1))
    assert field.colour is None


def test_a_moved_origin_moves_the_samples():
    moved = torch.tensor([0.3, -0.2, 0.1])
    (field,) = integrate([wall(2.4)], torch.tensor([[0, 0, 1]]), moved, VOXEL)
    line = field.distance[4, 8]  # x = 0.5, y = 0.2
    z = (torch.arange(BLOCK + 1) + BLOCK) * VOXEL + 0.1
    assert float(z[(line > 0).nonzero().max()]) == pytest.approx(2.4, abs=0.051)


def test_views_that_measure_nothing_are_refused():
    with pytest.raises(GeometryError, match=r"no view measures any surface .*1 views"):
        surface_blocks([wall(2.0, weight=0.0)], ORIGIN, VOXEL)


def test_voxels_far_too_small_are_refused_with_a_size_that_works(monkeypatch):
    monkeypatch.setattr(tsdf, "MAX_BLOCKS", 100)
    with pytest.raises(
        GeometryError, match=r"voxels are too small .*choose voxels of at least 0.0"
    ) as caught:
        surface_blocks([wall(2.0)], ORIGIN, 0.01)
    assert caught.value.found is not None
    size = float(str(caught.value.remedy).split()[-1])
    assert len(surface_blocks([wall(2.0)], ORIGIN, size * 1.2)) <= 100


def test_only_one_block_is_held_at_a_time(monkeypatch):
    """The fields come from a generator: a block is computed when it is asked for."""
    calls = []
    real = tsdf._fuse
    monkeypatch.setattr(tsdf, "_fuse", lambda *rest: calls.append(1) or real(*rest))
    blocks = surface_blocks([wall(2.0)], ORIGIN, VOXEL)
    fields = integrate([wall(2.0)], blocks, ORIGIN, VOXEL)
    next(fields)
    assert len(calls) == 1
    next(fields)
    assert len(calls) == 2


def test_a_wider_picture_than_high_is_sampled_in_its_own_pixels():
    camera = Camera(intrinsics_from_fov(90.0, 40, 80)[0], torch.eye(4), 80, 40)
    rays = pixel_rays(camera.intrinsics[None], 40, 80)[0]
    cosine = 1 / rays.norm(dim=-1)
    image = torch.zeros(40, 80, 3)
    image[20:, :, 1] = 1.0  # the lower half is green: y > 0
    view = DepthView(torch.full((40, 80), 2.0), torch.ones(40, 80), cosine, image, camera)
    up, down = integrate([view], torch.tensor([[0, -1, 1], [0, 0, 1]]), ORIGIN, VOXEL)
    assert up.colour is not None
    assert down.colour is not None
    assert float(up.colour[10, BLOCK - 8, 8, 1]) == 0.0
    assert float(down.colour[10, 8, 8, 1]) == pytest.approx(1.0)
    assert replace(view, image=None).image is None
