from __future__ import annotations

import builtins

import pytest
import torch

from lotus_core.errors import GeometryError, MissingExtraError
from lotus_core.geometry.multiview.marching import mesh_from_blocks
from lotus_core.geometry.multiview.tsdf import BLOCK, TRUNCATION, BlockField

VOXEL = 0.1
ORIGIN = torch.tensor([5.0, -2.0, 1.0])


def field(block, function, colour=None, known=None) -> BlockField:
    """A block whose distances, in truncations, come from a function of the samples' voxel coordinates."""
    line = torch.arange(BLOCK + 1.0)
    grid = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), dim=-1)
    position = grid + torch.tensor(block) * BLOCK
    distance = (function(position) / TRUNCATION).clamp(-1, 1)
    weight = torch.ones_like(distance) if known is None else known(position).float()
    return BlockField(block, distance, weight, None if colour is None else colour(position))


def ball(centre, radius):
    return lambda p: (p - torch.tensor(centre)).norm(dim=-1) - radius


def world(voxels):
    return ORIGIN + torch.as_tensor(voxels) * VOXEL


def volume(mesh) -> float:
    """Signed volume of a closed mesh, positive if its faces wind outward."""
    a, b, c = mesh.vertices.double()[mesh.faces].unbind(1)
    return float((a * torch.linalg.cross(b, c)).sum() / 6)


def edges_by_use(mesh) -> torch.Tensor:
    """How many faces share each edge."""
    pairs = (
        torch.cat([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]]).sort(dim=1).values
    )
    return torch.unique(pairs, dim=0, return_counts=True)[1]


def test_a_plane_lies_where_the_distance_is_zero():
    mesh = mesh_from_blocks([field((0, 0, 0), lambda p: 10.3 - p[..., 2])], ORIGIN, VOXEL)
    assert torch.allclose(mesh.vertices[:, 2], world([0, 0, 10.3])[2].expand(len(mesh.vertices)), atol=1e-5)


def test_faces_wind_toward_free_space():
    """Free space, the positive side, is at smaller z: normals point to -z."""
    mesh = mesh_from_blocks([field((0, 0, 0), lambda p: 10.3 - p[..., 2])], ORIGIN, VOXEL)
    a, b, c = mesh.vertices[mesh.faces].unbind(1)
    assert (torch.linalg.cross(b - a, c - a)[:, 2] < 0).all()
    assert mesh.normals is not None
    assert torch.allclose(mesh.normals, torch.tensor([0.0, 0.0, -1.0]).expand_as(mesh.normals), atol=1e-5)


def test_a_ball_in_one_block_is_closed_and_has_the_volume_of_a_ball():
    mesh = mesh_from_blocks([field((0, 0, 0), ball((16.2, 15.7, 16.1), 9.0))], ORIGIN, VOXEL)
    assert (edges_by_use(mesh) == 2).all()
    assert volume(mesh) == pytest.approx(4 / 3 * torch.pi * 0.9**3, rel=0.02)


@pytest.mark.parametrize("centre", [(32.0, 32.0, 32.0), (31.4, 32.6, 30.9)])
def test_a_ball_over_eight_blocks_has_no_seams(centre):
    """Also with crossings exactly on the samples that blocks share."""
    blocks = [(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    mesh = mesh_from_blocks([field(b, ball(centre, 12.0)) for b in blocks], ORIGIN, VOXEL)
    assert (edges_by_use(mesh) == 2).all()
    assert len(mesh.vertices) - len(edges_by_use(mesh)) + len(mesh.faces) == 2  # Euler: one closed surface
    assert torch.allclose((mesh.vertices - world(centre)).norm(dim=-1), torch.tensor(1.2), atol=0.01)


def test_blocks_at_negative_indices_weld_too():
    mesh = mesh_from_blocks([field((-1, 0, 0), ball((0.0, 16.0, 16.0), 8.0)),
                             field((0, 0, 0), ball((0.0, 16.0, 16.0), 8.0))], ORIGIN, VOXEL)  # fmt: skip
    assert (edges_by_use(mesh) == 2).all()


def test_no_two_vertices_are_the_same_point():
    blocks = [(0, 0, 0), (1, 0, 0)]
    mesh = mesh_from_blocks([field(b, ball((32.0, 16.0, 16.0), 9.0)) for b in blocks], ORIGIN, VOXEL)
    assert len(torch.unique((mesh.vertices / VOXEL * 1000).round(), dim=0)) == len(mesh.vertices)


def test_every_vertex_is_used():
    mesh = mesh_from_blocks([field((0, 0, 0), ball((16.0, 16.0, 16.0), 9.0))], ORIGIN, VOXEL)
    assert len(mesh.faces.unique()) == len(mesh.vertices)


def test_cubes_with_an_unknown_corner_have_no_surface():
    known = field((0, 0, 0), lambda p: 10.3 - p[..., 2], known=lambda p: p[..., 0] <= 16)
    mesh = mesh_from_blocks([known], ORIGIN, VOXEL)
    assert float(mesh.vertices[:, 0].max()) == pytest.approx(float(world([16, 0, 0])[0]))


def test_a_jump_from_free_space_to_far_behind_is_no_surface():
    """At x = 16 the field falls from +1 to -1 within one voxel: a silhouette, not a surface."""
    cliff = field((0, 0, 0), lambda p: torch.where(p[..., 0] < 16, 4.0, -4.0))
    with pytest.raises(GeometryError, match="no surface"):
        mesh_from_blocks([cliff], ORIGIN, VOXEL)


def test_colours_are_interpolated_along_the_crossed_edges():
    """The red channel is z / 32, so it tells each vertex's own height."""
    ramp = field(
        (0, 0, 0),
        lambda p: 10.25 - p[..., 2],
        colour=lambda p: torch.stack([p[..., 2] / 32, p[..., 0] / 32, torch.zeros_like(p[..., 0])], dim=-1),
    )
    mesh = mesh_from_blocks([ramp], ORIGIN, VOXEL)
    assert mesh.colours is not None
    assert torch.allclose(mesh.colours[:, 0], torch.tensor(10.25 / 32), atol=1e-4)
    assert torch.allclose(mesh.colours[:, 1], (mesh.vertices[:, 0] - ORIGIN[0]) / VOXEL / 32, atol=1e-4)


def test_without_colours_a_mesh_has_none():
    assert mesh_from_blocks([field((0, 0, 0), ball((16.0, 16.0, 16.0), 5.0))], ORIGIN, VOXEL).colours is None


def test_blocks_without_a_crossing_are_passed_over():
    empty = field((3, 0, 0), lambda p: torch.full(p.shape[:-1], 4.0))
    heard = []
    full = field((0, 0, 0), ball((16.0, 16.0, 16.0), 5.0))
    mesh = mesh_from_blocks(iter([empty, full]), ORIGIN, VOXEL, progress=heard.append)
    assert heard == [1, 2]
    assert float(mesh.vertices[:, 0].max()) < float(world([32, 0, 0])[0])


@pytest.mark.parametrize("fields", [[], [field((0, 0, 0), lambda p: torch.full(p.shape[:-1], 4.0))]])
def test_no_surface_at_all_is_refused(fields):
    with pytest.raises(GeometryError, match="the fused views contain no surface"):
        mesh_from_blocks(fields, ORIGIN, VOXEL)


def test_a_missing_library_names_its_extra(monkeypatch):
    real = builtins.__import__

    def without_skimage(name, *rest, **named):
        if name.split(".")[0] == "skimage":
            raise ModuleNotFoundError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without_skimage)
    with pytest.raises(MissingExtraError, match=r"lotus-geometry\[mesh\]"):
        mesh_from_blocks([], ORIGIN, VOXEL)
