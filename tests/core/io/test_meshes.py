"""Every file is opened again by a reader that shares no code with the writer."""

from __future__ import annotations

import builtins
import io
from pathlib import Path

import numpy as np
import plyfile
import pygltflib
import pytest
import torch
from PIL import Image

from lotus_core.errors import GeometryError, MissingExtraError, NotWritableError
from lotus_core.geometry.camera import intrinsics_from_fov, pixel_rays
from lotus_core.geometry.mesh import Mesh, grid_mesh
from lotus_core.geometry.point_cloud import PointCloud, point_cloud
from lotus_core.io.meshes import linear_from_srgb, write_glb, write_obj, write_ply

HEIGHT, WIDTH = 24, 32
FLOOR, WALL = 1.0, 4.0  # the floor lies 1 below the eye (OpenCV y = +1), the wall 4 before it


@pytest.fixture
def room() -> dict[str, torch.Tensor]:
    """A floor and a wall, with their normals, and a picture red above, blue below, green on its right."""
    rays = pixel_rays(intrinsics_from_fov(70.0, HEIGHT, WIDTH), HEIGHT, WIDTH)[0]
    to_floor = torch.where(
        rays[..., 1] > 0, FLOOR / rays[..., 1], torch.full_like(rays[..., 1], float("inf"))
    )
    depth = to_floor.clamp_max(WALL)
    on_floor = (to_floor < WALL)[..., None]
    normals = torch.where(on_floor, torch.tensor([0.0, -1.0, 0.0]), torch.tensor([0.0, 0.0, -1.0]))
    image = torch.zeros(HEIGHT, WIDTH, 3)
    image[: HEIGHT // 2, :, 0] = 1.0
    image[HEIGHT // 2 :, :, 2] = 1.0
    image[:, WIDTH // 2 :, 1] = 1.0
    return {"points": rays * depth[..., None], "normals": normals, "image": image}


DTYPES = {5121: np.uint8, 5125: np.uint32, 5126: np.float32}
COLUMNS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}


class Glb:
    """A GLB file as pygltflib and numpy read it."""

    def __init__(self, path: Path) -> None:
        self.gltf = pygltflib.GLTF2().load(str(path))
        self.blob = self.gltf.binary_blob()
        self.primitive = self.gltf.meshes[0].primitives[0]

    def accessor(self, index: int) -> np.ndarray:
        accessor = self.gltf.accessors[index]
        view = self.gltf.bufferViews[accessor.bufferView]
        start = (view.byteOffset or 0) + (accessor.byteOffset or 0)
        columns = COLUMNS[accessor.type]
        data = np.frombuffer(
            self.blob, dtype=DTYPES[accessor.componentType], count=accessor.count * columns, offset=start
        )
        return data.reshape(-1, columns)

    def attribute(self, name: str) -> np.ndarray:
        index = getattr(self.primitive.attributes, name)
        assert index is not None, f"the file has no {name}"
        return self.accessor(index)

    def faces(self) -> np.ndarray:
        return self.accessor(self.primitive.indices).reshape(-1, 3)

    def material(self):
        return self.gltf.materials[self.primitive.material]

    def texture(self) -> Image.Image:
        index = self.material().pbrMetallicRoughness.baseColorTexture.index
        source = self.gltf.images[self.gltf.textures[index].source]
        view = self.gltf.bufferViews[source.bufferView]
        start = view.byteOffset or 0
        return Image.open(io.BytesIO(self.blob[start : start + view.byteLength]))

    def root_transform_is_identity(self) -> bool:
        return all(
            node.matrix in (None, list(np.eye(4).flatten())) and not node.rotation and not node.scale
            for node in self.gltf.nodes
        )


def outward(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    a, b, c = vertices[faces].transpose(1, 0, 2)
    return np.cross(b - a, c - a)


# GLB


def test_glb_has_the_floor_below_and_the_scene_in_front(room, tmp_path):
    glb = Glb(write_glb(tmp_path / "a.glb", grid_mesh(**room)))
    vertices = glb.attribute("POSITION")
    assert glb.root_transform_is_identity()
    # glTF: +y up, the camera looks along -z.
    assert vertices[:, 1].min() == pytest.approx(-FLOOR, abs=1e-5)
    assert vertices[:, 2].min() == pytest.approx(-WALL, abs=1e-5)
    assert vertices[:, 2].max() < 0
    assert vertices[0, 0] < 0 < vertices[WIDTH - 1, 0]


def test_glb_vertices_are_the_points_half_turned_about_x(room, tmp_path):
    glb = Glb(write_glb(tmp_path / "a.glb", grid_mesh(**room)))
    expected = room["points"].reshape(-1, 3).numpy() * [1, -1, -1]
    np.testing.assert_allclose(glb.attribute("POSITION"), expected, rtol=1e-6)


def test_glb_faces_wind_toward_the_camera_at_the_origin(room, tmp_path):
    glb = Glb(write_glb(tmp_path / "a.glb", grid_mesh(**room)))
    vertices, faces = glb.attribute("POSITION"), glb.faces()
    assert len(faces) == 2 * (HEIGHT - 1) * (WIDTH - 1)
    assert (np.sum(outward(vertices, faces) * vertices[faces[:, 0]], axis=1) < 0).all()


def test_glb_normals_are_those_given_in_gltf_axes(room, tmp_path):
    normals = torch.nn.functional.normalize(room["normals"] + 0.3 * torch.rand(HEIGHT, WIDTH, 3), dim=-1)
    glb = Glb(write_glb(tmp_path / "a.glb", grid_mesh(room["points"], normals=normals, image=room["image"])))
    expected = normals.reshape(-1, 3).numpy() * [1, -1, -1]
    np.testing.assert_allclose(glb.attribute("NORMAL"), expected, atol=1e-6)


def test_glb_floor_normals_point_up(room, tmp_path):
    glb = Glb(write_glb(tmp_path / "a.glb", grid_mesh(**room)))
    on_floor = np.abs(glb.attribute("POSITION")[:, 1] + FLOOR) < 1e-5
    np.testing.assert_allclose(
        glb.attribute("NORMAL")[on_floor], np.tile([0, 1.0, 0], (on_floor.sum(), 1)), atol=1e-6
    )


def test_glb_without_normals_has_none(room, tmp_path):
    glb = Glb(write_glb(tmp_path / "a.glb", grid_mesh(room["points"], image=room["image"])))
    assert glb.primitive.attributes.NORMAL is None


def test_glb_texture_is_upright_and_lies_on_its_pixels(room, tmp_path):
    glb = Glb(write_glb(tmp_path / "a.glb", grid_mesh(**room)))
    texture = np.asarray(glb.texture().convert("RGB"))
    assert texture.shape == (HEIGHT, WIDTH, 3)
    np.testing.assert_array_equal(texture, (room["image"].numpy() * 255).round())
    # glTF counts v downwards from the top: looked up at its own coordinate each vertex meets its own pixel.
    u, v = glb.attribute("TEXCOORD_0").T
    looked_up = texture[(v * HEIGHT).astype(int), (u * WIDTH).astype(int)]
    np.testing.assert_array_equal(looked_up, texture.reshape(-1, 3))
    high = glb.attribute("POSITION")[:, 1] > 0
    assert (looked_up[high, 0] == 255).all()
    right = glb.attribute("POSITION")[:, 0] > 0
    assert (looked_up[right, 1] == 255).all()


def test_glb_material_is_matt_and_seen_from_both_sides(room, tmp_path):
    for textured in (True, False):
        mesh = grid_mesh(room["points"], image=room["image"], textured=textured)
        material = Glb(write_glb(tmp_path / f"{textured}.glb", mesh)).material()
        assert material.pbrMetallicRoughness.metallicFactor == 0
        assert material.pbrMetallicRoughness.roughnessFactor == 1
        assert material.doubleSided


def test_glb_vertex_colours_are_linear_floats(room, tmp_path):
    image = torch.rand(HEIGHT, WIDTH, 3)
    glb = Glb(write_glb(tmp_path / "a.glb", grid_mesh(room["points"], image=image, textured=False)))
    colours = glb.attribute("COLOR_0")
    assert colours.dtype == np.float32
    srgb = image.reshape(-1, 3).numpy().astype(np.float64)
    expected = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(colours[:, :3], expected, atol=1e-6)
    assert glb.primitive.attributes.TEXCOORD_0 is None


def test_linear_light_of_known_srgb_values():
    # IEC 61966-2-1: mid grey 0.5 is 0.21404 in linear light; black and white stay.
    srgb = torch.tensor([[0.0, 0.5, 1.0], [0.04045, 0.02, 0.7]])
    expected = torch.tensor([[0.0, 0.21404, 1.0], [0.04045 / 12.92, 0.02 / 12.92, 0.44799]])
    torch.testing.assert_close(linear_from_srgb(srgb), expected, atol=2e-5, rtol=0)


# PLY


def test_ply_says_that_it_keeps_opencv_axes(room, tmp_path):
    mesh = grid_mesh(**room)
    for shape in (mesh, point_cloud(**room)):
        comments = plyfile.PlyData.read(str(write_ply(tmp_path / "a.ply", shape))).comments
        assert any("OpenCV" in c and "+y down" in c and "+z forward" in c for c in comments)


def test_ply_mesh_is_binary_and_equal(room, tmp_path):
    mesh = grid_mesh(**room)
    ply = plyfile.PlyData.read(str(write_ply(tmp_path / "a.ply", mesh)))
    assert not ply.text
    assert ply.byte_order == "<"
    vertex = ply["vertex"]
    xyz = np.stack([vertex["x"], vertex["y"], vertex["z"]], axis=-1)
    np.testing.assert_allclose(xyz, mesh.vertices.numpy(), rtol=1e-6)
    assert xyz[:, 1].max() == pytest.approx(FLOOR, abs=1e-5)  # OpenCV: down is +y
    faces = np.vstack(ply["face"]["vertex_indices"])
    np.testing.assert_array_equal(faces, mesh.faces.numpy())
    assert (np.sum(outward(xyz, faces) * xyz[faces[:, 0]], axis=1) < 0).all()
    normals = np.stack([vertex["nx"], vertex["ny"], vertex["nz"]], axis=-1)
    np.testing.assert_allclose(normals, room["normals"].reshape(-1, 3).numpy(), atol=1e-6)


def test_ply_of_a_textured_mesh_has_the_textures_colour_at_each_vertex(room, tmp_path):
    ply = plyfile.PlyData.read(str(write_ply(tmp_path / "a.ply", grid_mesh(**room))))
    rgb = np.stack([ply["vertex"][c] for c in ("red", "green", "blue")], axis=-1)
    assert rgb.dtype == np.uint8
    np.testing.assert_array_equal(rgb, (room["image"].reshape(-1, 3).numpy() * 255).round())


def test_ply_points_have_normals_and_colours_and_no_faces(room, tmp_path):
    cloud = point_cloud(**room)
    ply = plyfile.PlyData.read(str(write_ply(tmp_path / "a.ply", cloud)))
    assert [element.name for element in ply.elements] == ["vertex"]
    vertex = ply["vertex"]
    np.testing.assert_allclose(
        np.stack([vertex["x"], vertex["y"], vertex["z"]], axis=-1), cloud.points.numpy(), rtol=1e-6
    )
    np.testing.assert_allclose(vertex["ny"], room["normals"].reshape(-1, 3)[:, 1].numpy(), atol=1e-6)
    np.testing.assert_array_equal(vertex["red"], (room["image"].reshape(-1, 3)[:, 0].numpy() * 255).round())


def test_ply_of_bare_points_has_only_coordinates(tmp_path):
    ply = plyfile.PlyData.read(
        str(write_ply(tmp_path / "a.ply", PointCloud(torch.tensor([[1.0, 2.0, 3.0]]))))
    )
    assert [p.name for p in ply["vertex"].properties] == ["x", "y", "z"]
    assert tuple(ply["vertex"][0]) == (1.0, 2.0, 3.0)


# OBJ


def read_obj(path: Path) -> dict[str, list[list[str]]]:
    lines: dict[str, list[list[str]]] = {}
    for line in path.read_text().splitlines():
        key, *rest = line.split() or [""]
        lines.setdefault(key, []).append(rest)
    return lines


def test_obj_has_y_up_and_its_texture_counts_v_from_the_bottom(room, tmp_path):
    obj = read_obj(write_obj(tmp_path / "photo.obj", grid_mesh(**room)))
    vertices = np.array(obj["v"], dtype=float)[:, :3]
    np.testing.assert_allclose(vertices, room["points"].reshape(-1, 3).numpy() * [1, -1, -1], atol=1e-6)
    uv = np.array(obj["vt"], dtype=float)
    texture = np.asarray(Image.open(tmp_path / "photo.png").convert("RGB"))
    looked_up = texture[((1 - uv[:, 1]) * HEIGHT).astype(int), (uv[:, 0] * WIDTH).astype(int)]
    corner = np.array([[int(n) - 1 for n in part.split("/")] for face in obj["f"] for part in face])
    above = vertices[corner[:, 0], 1] > 0
    assert (looked_up[corner[above, 1], 0] == 255).all()
    normals = np.array(obj["vn"], dtype=float)
    np.testing.assert_allclose(normals[0], [0, 0, 1], atol=1e-6)  # the wall looks back along +z
    faces = corner[:, 0].reshape(-1, 3)
    assert (np.sum(outward(vertices, faces) * vertices[faces[:, 0]], axis=1) < 0).all()


def test_obj_names_its_material_and_the_material_does_not_darken_the_texture(room, tmp_path):
    obj = read_obj(write_obj(tmp_path / "photo.obj", grid_mesh(**room)))
    assert obj["mtllib"] == [["photo.mtl"]]
    material = read_obj(tmp_path / "photo.mtl")
    assert material["newmtl"] == obj["usemtl"]
    assert material["map_Kd"] == [["photo.png"]]
    assert np.array(material["Kd"], dtype=float).tolist() == [[1, 1, 1]]


def test_obj_keeps_vertex_colours(room, tmp_path):
    mesh = grid_mesh(room["points"], image=room["image"], textured=False)
    obj = read_obj(write_obj(tmp_path / "a.obj", mesh))
    colours = np.array(obj["v"], dtype=float)[:, 3:6]
    np.testing.assert_allclose(colours, room["image"].reshape(-1, 3).numpy(), atol=1e-6)


# Errors


@pytest.mark.parametrize("write", [write_glb, write_ply, write_obj])
def test_an_empty_mesh_is_not_written(write, tmp_path):
    empty = Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64))
    with pytest.raises(GeometryError, match=r"empty.*0 vertices, 0 triangles"):
        write(tmp_path / "a", empty)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_cloud_is_not_written(tmp_path):
    with pytest.raises(GeometryError, match="empty"):
        write_ply(tmp_path / "a.ply", PointCloud(torch.zeros(0, 3)))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_coordinates_that_are_not_finite_are_not_written(bad, room, tmp_path):
    mesh = grid_mesh(**room)
    mesh.vertices[5, 0] = bad
    with pytest.raises(GeometryError, match=r"NaN or infinite coordinates.*1 such vertices"):
        write_glb(tmp_path / "a.glb", mesh)


def test_a_place_that_cannot_be_written_is_reported(room, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotWritableError):
        write_glb(tmp_path / "file" / "a.glb", grid_mesh(**room))


def test_a_missing_library_names_its_extra(room, tmp_path, monkeypatch):
    real = builtins.__import__

    def without_trimesh(name, *rest, **named):
        if name.split(".")[0] == "trimesh":
            raise ModuleNotFoundError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without_trimesh)
    with pytest.raises(MissingExtraError, match=r"lotus-geometry\[mesh\]"):
        write_glb(tmp_path / "a.glb", grid_mesh(**room))
