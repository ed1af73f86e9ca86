from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lotus_core.errors import GeometryError, OptionError, ShapeError
from lotus_core.geometry.camera import intrinsics_from_fov
from lotus_core.geometry.mesh import Mesh, drop_unused_vertices, grid_mesh, vertex_normals
from lotus_core.geometry.points import unproject


def wall(height: int, width: int, z: float = 2.0) -> torch.Tensor:
    return unproject(torch.full((1, height, width), z), intrinsics_from_fov(60.0, height, width))[0]


def face_normals(mesh: Mesh) -> torch.Tensor:
    a, b, c = mesh.vertices[mesh.faces].unbind(1)
    return torch.linalg.cross(b - a, c - a)


def edges(mesh: Mesh) -> set[tuple[int, int]]:
    pairs = torch.cat([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
    return {(min(p), max(p)) for p in pairs.tolist()}


def test_a_whole_grid_has_a_vertex_a_pixel_and_two_triangles_a_square():
    mesh = grid_mesh(wall(5, 7))
    assert mesh.vertices.shape == (35, 3)
    assert mesh.vertices.dtype == torch.float32
    assert mesh.faces.shape == (2 * 4 * 6, 3)
    assert mesh.faces.dtype == torch.int64
    assert mesh.normals is mesh.uvs is mesh.colours is mesh.texture is None


def test_the_triangles_cover_the_wall_once():
    # A wall at z = 2 seen with 60 degrees: neighbouring pixels are 2 / f apart, and the area is exact.
    mesh = grid_mesh(wall(4, 6))
    step = 2.0 / (3 / math.tan(math.radians(30)))
    area = face_normals(mesh).norm(dim=-1).sum() / 2
    assert area.item() == pytest.approx(3 * 5 * step**2, rel=1e-5)


def test_faces_wind_toward_the_camera():
    torch.manual_seed(0)
    depth = 2 + torch.rand(1, 12, 9)
    points = unproject(depth, intrinsics_from_fov(70.0, 12, 9))[0]
    mesh = grid_mesh(points)
    centre = mesh.vertices[mesh.faces].mean(dim=1)
    assert ((face_normals(mesh) * centre).sum(-1) < 0).all()


def test_texture_coordinates_name_pixel_centres_from_the_top_left():
    image = torch.rand(2, 4, 3)
    mesh = grid_mesh(wall(2, 4), image=image)
    assert mesh.uvs is not None
    torch.testing.assert_close(mesh.uvs[0], torch.tensor([0.125, 0.25]))
    torch.testing.assert_close(mesh.uvs[-1], torch.tensor([0.875, 0.75]))
    assert mesh.texture is not None
    assert torch.equal(mesh.texture, image)
    assert mesh.colours is None


def test_vertex_colours_are_the_pixels_own():
    image = torch.rand(3, 4, 3)
    mesh = grid_mesh(wall(3, 4), image=image, textured=False)
    assert mesh.colours is not None
    assert torch.equal(mesh.colours, image.reshape(-1, 3))
    assert mesh.uvs is None
    assert mesh.texture is None


def test_normals_are_kept_as_given():
    normals = torch.nn.functional.normalize(torch.randn(3, 4, 3), dim=-1)
    mesh = grid_mesh(wall(3, 4), normals=normals)
    assert mesh.normals is not None
    assert torch.equal(mesh.normals, normals.reshape(-1, 3))


def test_a_column_of_cut_edges_parts_the_mesh_in_two():
    cut_right = torch.zeros(6, 7, dtype=torch.bool)
    cut_right[:, 3] = True  # between columns 3 and 4
    mesh = grid_mesh(wall(6, 8), cut_right=cut_right)
    assert len(mesh.vertices) == 48
    assert len(mesh.faces) == 2 * 5 * 6
    columns = torch.arange(48) % 8
    sides = (columns[mesh.faces] >= 4).int().sum(dim=1)
    assert set(sides.tolist()) == {0, 3}


def test_a_row_of_cut_edges_parts_the_mesh_in_two():
    cut_down = torch.zeros(5, 8, dtype=torch.bool)
    cut_down[1] = True
    mesh = grid_mesh(wall(6, 8), cut_down=cut_down)
    assert len(mesh.faces) == 2 * 4 * 7


@pytest.mark.parametrize(
    ("right", "down", "lost"),
    [
        ((0, 0), (0, 1), {1}),  # top and right edges cut: b is alone, a-c-d stays
        ((0, 0), (0, 0), {0}),  # top and left: a is alone
        ((1, 0), (0, 0), {2}),  # bottom and left: c is alone
        ((1, 0), (0, 1), {3}),  # bottom and right: d is alone
    ],
)
def test_the_diagonal_saves_the_triangle_that_two_cuts_leave(right, down, lost):
    cut_right = torch.zeros(2, 1, dtype=torch.bool)
    cut_down = torch.zeros(1, 2, dtype=torch.bool)
    cut_right[right] = True
    cut_down[down] = True
    points = wall(2, 2)
    mesh = grid_mesh(points, cut_right=cut_right, cut_down=cut_down)
    assert len(mesh.faces) == 1
    kept = [i for i in range(4) if i not in lost]
    assert torch.equal(mesh.vertices, points.reshape(4, 3)[kept])


def test_the_shorter_diagonal_follows_a_fold():
    # Depth folds along the diagonal b-c: a and d are nearer, so a-d would span nothing but b-c is no shorter.
    points = wall(2, 2)
    points[0, 1, 2] = 4.0
    mesh = grid_mesh(points)
    assert (0, 3) in edges(mesh)
    points = wall(2, 2)
    points[0, 0, 2] = 4.0
    assert (1, 2) in edges(grid_mesh(points))


def test_an_invalid_pixel_loses_its_triangles_and_its_vertex():
    points = wall(4, 4)
    points[1, 1] = float("nan")
    mesh = grid_mesh(points)
    assert len(mesh.vertices) == 15
    # Of the 4 squares around it, each keeps the one triangle that does not touch it.
    assert len(mesh.faces) == 2 * 9 - 4
    assert torch.isfinite(mesh.vertices).all()


@pytest.mark.parametrize("bad", [float("inf"), float("-inf"), float("nan"), 0.0, -1.0])
def test_points_that_are_not_in_front_are_left_out(bad):
    points = wall(3, 3)
    points[0, 0, 2] = bad
    assert len(grid_mesh(points).vertices) == 8


def test_a_mask_leaves_pixels_out():
    mask = torch.ones(4, 6, dtype=torch.bool)
    mask[:, 3:] = False
    mesh = grid_mesh(wall(4, 6), mask=mask)
    assert len(mesh.vertices) == 12
    assert len(mesh.faces) == 2 * 3 * 2


def test_a_stride_uses_every_nth_pixel_and_keeps_their_coordinates():
    image = torch.rand(7, 9, 3)
    points = wall(7, 9)
    mesh = grid_mesh(points, image=image, stride=3)
    assert torch.equal(mesh.vertices, points[::3, ::3].reshape(-1, 3))
    assert mesh.uvs is not None
    torch.testing.assert_close(mesh.uvs[1], torch.tensor([3.5 / 9, 0.5 / 7]))
    assert mesh.texture is not None
    assert mesh.texture.shape == (7, 9, 3)


def test_a_cut_between_two_used_pixels_survives_a_stride():
    cut_right = torch.zeros(6, 8, dtype=torch.bool)
    cut_right[:, 4] = True  # between columns 4 and 5, which a stride of 3 skips
    points = wall(6, 9)
    mesh = grid_mesh(points, cut_right=cut_right, stride=3)
    assert torch.equal(mesh.vertices, points[::3, :6:3].reshape(-1, 3))
    assert len(mesh.faces) == 2


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 9), st.integers(2, 9), st.integers(0, 2**31 - 1), st.floats(0.0, 0.5), st.floats(0.0, 0.5)
)
def test_no_triangle_uses_an_invalid_pixel_or_a_cut_edge(height, width, seed, holes, cuts):
    g = torch.Generator().manual_seed(seed)
    mask = torch.rand(height, width, generator=g) >= holes
    right = torch.rand(height, width - 1, generator=g) < cuts
    down = torch.rand(height - 1, width, generator=g) < cuts
    points = wall(height, width) * (1 + torch.rand(height, width, 1, generator=g))
    where = torch.arange(height * width, dtype=torch.float32).reshape(height, width, 1).expand(-1, -1, 3)
    try:
        mesh = grid_mesh(points, mask=mask, cut_right=right, cut_down=down, image=where, textured=False)
    except GeometryError:
        return
    assert mesh.colours is not None
    pixel = mesh.colours[:, 0].long()
    assert mask.flatten()[pixel].all()
    assert len(pixel) == len(set(mesh.faces.flatten().tolist()))
    for p, q in edges(mesh):
        (row, column), (row2, column2) = (divmod(int(pixel[v]), width) for v in sorted((p, q)))
        if row == row2:
            assert not right[row, min(column, column2)]
        elif column == column2:
            assert not down[min(row, row2), column]


def test_vertices_carry_gradients():
    points = wall(4, 4).requires_grad_()
    grid_mesh(points).vertices.sum().backward()
    assert points.grad is not None
    assert (points.grad == 1).all()


def test_an_empty_mesh_is_an_error_that_says_what_to_do():
    with pytest.raises(GeometryError, match=r"no triangle is left.*found: 0 valid points.*check the mask"):
        grid_mesh(wall(4, 4), mask=torch.zeros(4, 4, dtype=torch.bool))


@pytest.mark.parametrize(("height", "width"), [(1, 5), (5, 1), (1, 1)])
def test_a_picture_one_pixel_wide_has_no_surface(height, width):
    with pytest.raises(GeometryError, match="no triangle is left"):
        grid_mesh(wall(height, width))


@pytest.mark.parametrize(
    ("argument", "shape"),
    [
        ("mask", (4, 5)),
        ("normals", (4, 5, 3)),
        ("image", (5, 4, 3)),
        ("cut_right", (4, 4)),
        ("cut_down", (4, 4)),
    ],
)
def test_arrays_of_another_picture_are_refused(argument, shape):
    with pytest.raises(ShapeError, match=argument):
        grid_mesh(wall(4, 4), **{argument: torch.ones(shape)})


def test_a_batch_is_refused_with_the_way_out():
    with pytest.raises(ShapeError, match="take one picture of the batch first"):
        grid_mesh(wall(4, 4)[None])


@pytest.mark.parametrize("stride", [0, -1, 65, True])
def test_a_stride_outside_its_range_is_refused(stride):
    with pytest.raises(OptionError, match="stride must be an integer from 1 to 64"):
        grid_mesh(wall(4, 4), stride=stride)


def test_dropping_unused_vertices_renumbers_the_faces():
    mesh = Mesh(
        vertices=torch.arange(15.0).reshape(5, 3),
        faces=torch.tensor([[4, 1, 2]]),
        colours=torch.arange(15.0).reshape(5, 3) / 15,
    )
    small = drop_unused_vertices(mesh)
    assert torch.equal(small.vertices, mesh.vertices[[1, 2, 4]])
    assert small.faces.tolist() == [[2, 0, 1]]
    assert small.colours is not None
    assert mesh.colours is not None
    assert torch.equal(small.colours, mesh.colours[[1, 2, 4]])


def test_vertex_normals_of_a_right_angle_weigh_faces_by_their_area():
    # A face of area 2 that looks along -z and one of area 0.5 that looks along -y meet in vertex 0.
    vertices = torch.tensor([[0.0, 0, 0], [0, 2, 0], [2, 0, 0], [1, 0, 0], [0, 0, 1]])
    faces = torch.tensor([[0, 1, 2], [0, 3, 4]])
    normals = vertex_normals(vertices, faces)
    length = math.hypot(2.0, 0.5)
    torch.testing.assert_close(normals[0], torch.tensor([0.0, -0.5 / length, -2.0 / length]))
    torch.testing.assert_close(normals[1], torch.tensor([0.0, 0.0, -1.0]))
    torch.testing.assert_close(normals[3], torch.tensor([0.0, -1.0, 0.0]))


def test_vertex_normals_of_a_wall_face_the_camera():
    mesh = grid_mesh(wall(5, 6))
    expected = torch.tensor([0.0, 0.0, -1.0]).expand(30, 3)
    torch.testing.assert_close(vertex_normals(mesh.vertices, mesh.faces), expected, atol=1e-6, rtol=0)
