"""Every file is opened again by a reader that shares no code with the writer."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import OpenEXR
import plyfile
import png
import pytest
import torch

from lotus_core.conventions import NormalConvention
from lotus_core.errors import GeometryError, MissingExtraError, NotWritableError, OptionError, ShapeError
from lotus_core.geometry.align import MetricDepth
from lotus_core.geometry.joint import JointGeometry, resolve_geometry
from lotus_core.io.geometry_files import (
    FILE_SUFFIXES,
    GEOMETRY_FORMATS,
    MeshOptions,
    geometry_camera,
    geometry_mesh,
    geometry_points,
    geometry_unit,
    require_libraries,
    save_geometry,
)
from lotus_core.types import DepthPrediction, ModelInfo, NormalPrediction
from tests.core.geometry.analytic import network_map, room
from tests.core.io.test_meshes import Glb, outward

HEIGHT, WIDTH, FOV = 48, 64, 64.0
INFO = ModelInfo("exact", "d", "disparity", 768, "here", "here", 1, 1)


def resolved(anchored: bool = False) -> JointGeometry:
    """The room as a perfect network would see it, level, its field of view given."""
    depth, normals = room(FOV, HEIGHT, WIDTH, turn_deg=0.0)
    values, _ = network_map(depth, "disparity")
    return resolve_geometry(
        DepthPrediction(values[None], "disparity", None, INFO),
        NormalPrediction(normals[None], None, INFO),
        fov_x_deg=FOV,
        refine=False,
        anchor=MetricDepth(depth[None]) if anchored else None,
    )


@pytest.fixture(scope="module")
def geometry() -> JointGeometry:
    return resolved()


@pytest.fixture(scope="module")
def metric() -> JointGeometry:
    return resolved(anchored=True)


@pytest.fixture(scope="module")
def picture() -> torch.Tensor:
    """Red above, blue below."""
    image = torch.zeros(HEIGHT, WIDTH, 3)
    image[: HEIGHT // 2, :, 0], image[HEIGHT // 2 :, :, 2] = 1.0, 1.0
    return image


def read_png16(path) -> tuple[np.ndarray, int]:
    width, height, rows, info = png.Reader(bytes=path.read_bytes()).read()
    assert info["bitdepth"] == 16
    return np.vstack(list(rows)).reshape(height, width, -1).astype(float) / 65535, info["planes"]


def png_text(path) -> dict[str, str]:
    texts = {}
    for kind, data in png.Reader(bytes=path.read_bytes()).chunks():
        if kind in (b"tEXt", b"iTXt"):
            key, _, value = data.partition(b"\0")
            texts[key.decode()] = value.strip(b"\0").decode()
    return texts


@pytest.mark.parametrize("form", GEOMETRY_FORMATS)
def test_every_format_leaves_the_files_that_it_names(form, geometry, picture, tmp_path):
    paths = save_geometry(tmp_path / "new", "photo", geometry, image=picture, formats=[form])
    assert all(path.is_file() and path.stat().st_size > 0 for path in paths)
    left = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert left == sorted(f"photo_{suffix}" for suffix in FILE_SUFFIXES[form])
    assert {path.name for path in paths} <= set(left)


def test_files_come_in_the_order_of_the_formats_and_each_once(geometry, tmp_path):
    paths = save_geometry(tmp_path, "a", geometry, formats=["camera", "npz", "camera"])
    assert [path.name for path in paths] == ["a_camera.json", "a_geometry.npz"]


def test_the_16_bit_depth_gives_the_z_depth_by_its_note(metric, tmp_path):
    depth_file, _ = save_geometry(tmp_path, "a", metric, formats=["png16"], options=MeshOptions(clipped=True))
    values, planes = read_png16(depth_file)
    assert planes == 1
    note = png_text(depth_file)["Lotus depth"]
    assert note.endswith("unit: metre")
    nearest = float(note.split()[2])
    known = metric.valid[0].numpy()
    depth = nearest / values[..., 0][known]
    assert np.abs(depth / metric.depth[0].numpy()[known] - 1).max() < 1e-3
    assert values[..., 0].max() == pytest.approx(1.0)  # near is white


def test_pixels_without_a_surface_are_black_in_the_16_bit_depth(geometry, tmp_path):
    valid = geometry.valid.clone()
    valid[0, :10] = False
    depth_file, _ = save_geometry(tmp_path, "a", replace(geometry, valid=valid), formats=["png16"])
    values, _ = read_png16(depth_file)
    assert not values[:10].any()


@pytest.mark.parametrize(
    ("convention", "floor"),
    [
        (NormalConvention.OPENGL, (0.5, 1.0, 0.5)),
        (NormalConvention.DIRECTX, (0.5, 0.0, 0.5)),
        (NormalConvention.OPENCV, (0.5, 0.0, 0.5)),
        (NormalConvention.LOTUS, (0.5, 1.0, 0.5)),
    ],
)
def test_the_floor_of_16_bit_normals_has_its_conventions_colour(convention, floor, geometry, tmp_path):
    """The floor's normal points up: green is high in OpenGL, low in DirectX."""
    _, file = save_geometry(tmp_path, "a", geometry, formats=["png16"], convention=convention)
    values, planes = read_png16(file)
    assert planes == 3
    assert values[-3, WIDTH // 2] == pytest.approx(floor, abs=0.01)
    assert png_text(file)["Lotus convention"] == convention.value


def test_exr_holds_depth_points_normals_and_mask(geometry, tmp_path):
    (path,) = save_geometry(tmp_path, "a", geometry, formats=["exr"])
    with OpenEXR.File(str(path), separate_channels=True) as file:
        channels = {name: channel.pixels.copy() for name, channel in file.channels().items()}
        header = dict(file.header())
    names = ["N.X", "N.Y", "N.Z", "P.X", "P.Y", "P.Z", "Z", "mask.Y"]
    assert sorted(channels) == names
    assert np.array_equal(channels["Z"], geometry.depth[0].numpy())
    assert np.array_equal(channels["P.Z"], channels["Z"])
    for axis, name in enumerate("XYZ"):
        assert np.array_equal(channels[f"N.{name}"], geometry.normals[0, ..., axis].numpy())
    assert header["lotusUnit"] == "unknown"
    assert header["lotusConvention"].startswith("OpenCV: +x right, +y down, +z forward")


def test_npz_holds_everything_without_pickle(metric, tmp_path):
    (path,) = save_geometry(tmp_path, "a", metric, formats=["npz"])
    with np.load(path, allow_pickle=False) as file:
        found = {name: file[name] for name in file.files}
    assert found["depth"].shape == (HEIGHT, WIDTH)
    assert found["points"].shape == found["normals"].shape == (HEIGHT, WIDTH, 3)
    assert found["intrinsics"].shape == (3, 3)
    assert found["valid"].dtype == bool
    assert float(found["fov_x_deg"]) == pytest.approx(FOV)
    assert str(found["unit"]) == "metre"
    assert str(found["focal_source"]) == "given"
    x = found["points"][..., 0] / found["points"][..., 2] * found["intrinsics"][0, 0] + WIDTH / 2
    assert np.abs(x - (np.arange(WIDTH) + 0.5)).max() < 1e-3  # pixel centres at .5


def test_camera_json_gives_the_field_of_view_back(geometry, tmp_path):
    (path,) = save_geometry(tmp_path, "a", geometry, formats=["camera"])
    data = json.loads(path.read_text())
    k = np.array(data["intrinsics"])
    assert 2 * math.degrees(math.atan(WIDTH / 2 / k[0, 0])) == pytest.approx(FOV, abs=1e-3)
    assert k[:2, 2].tolist() == [WIDTH / 2, HEIGHT / 2]
    assert (data["width"], data["height"]) == (WIDTH, HEIGHT)
    assert np.array_equal(data["world_from_camera"], np.eye(4))


def test_the_camera_says_where_its_focal_length_came_from(geometry, metric):
    record = geometry_camera(geometry)
    assert (record.unit, record.focal_source) == ("unknown", "given")
    assert geometry_camera(metric).unit == "metre"


def test_glb_winds_toward_the_camera_with_the_floor_below_and_the_texture_upright(metric, picture, tmp_path):
    (path,) = save_geometry(tmp_path, "a", metric, image=picture, formats=["glb"])
    glb = Glb(path)
    vertices, normals = glb.attribute("POSITION"), glb.attribute("NORMAL")
    area = outward(vertices, glb.faces())
    centre = vertices[glb.faces()].mean(axis=1)
    assert ((area * -centre).sum(axis=1) > 0).all()  # the camera is at the origin
    floor = normals[:, 1] > 0.9
    assert floor.sum() > 100
    assert vertices[floor, 1] == pytest.approx(-1.5, abs=0.02)  # the floor is 1.5 m below the eye
    assert (vertices[:, 2] < 0).all()  # glTF looks along -z
    texture = np.asarray(glb.texture())
    uv = glb.attribute("TEXCOORD_0")
    assert uv[floor, 1].min() > uv[~floor, 1].min()
    assert texture[2, 5].tolist()[:3] == [255, 0, 0]
    assert texture[-2, 5].tolist()[:3] == [0, 0, 255]


def test_glb_normals_equal_those_of_the_network_in_gltf_axes(geometry, picture, tmp_path):
    (path,) = save_geometry(tmp_path, "a", geometry, image=picture, formats=["glb"])
    normals = Glb(path).attribute("NORMAL")
    mesh = geometry_mesh(geometry, image=picture)
    assert mesh.normals is not None
    assert normals == pytest.approx(mesh.normals.numpy() * (1, -1, -1), abs=1e-6)


def test_a_mesh_may_have_vertex_colours_or_none(geometry, picture):
    coloured = geometry_mesh(geometry, image=picture, options=MeshOptions(textured=False))
    bare = geometry_mesh(geometry)
    assert coloured.texture is None
    assert coloured.colours is not None
    assert bare.texture is bare.colours is bare.uvs is None


def test_a_stride_thins_the_mesh_and_the_points(geometry):
    fine, coarse = (geometry_mesh(geometry, options=MeshOptions(stride=s)) for s in (1, 4))
    assert len(coarse.faces) < len(fine.faces) / 12
    assert len(geometry_points(geometry, options=MeshOptions(stride=4)).points) < HEIGHT * WIDTH / 12


def test_what_the_range_cut_off_is_left_out_unless_asked_for(geometry):
    clipped = geometry.clipped.clone()
    clipped[0, :16] = True
    sky = replace(geometry, clipped=clipped)
    without = geometry_mesh(sky)
    kept = geometry_mesh(sky, options=MeshOptions(clipped=True))
    assert len(without.vertices) <= (HEIGHT - 16) * WIDTH < len(kept.vertices)


def test_ply_points_are_the_geometrys_in_opencv_axes(metric, picture, tmp_path):
    (path,) = save_geometry(tmp_path, "a", metric, image=picture, formats=["points"])
    data = plyfile.PlyData.read(path)
    assert [element.name for element in data] == ["vertex"]
    vertex = data["vertex"]
    assert vertex["y"].max() == pytest.approx(1.5, abs=0.02)  # down is +y
    assert (vertex["z"] > 0).all()
    assert set(map(tuple, np.stack([vertex[c] for c in ("red", "green", "blue")], -1).tolist())) == {
        (255, 0, 0),
        (0, 0, 255),
    }


def test_points_at_an_occlusion_are_left_out(geometry):
    edges = geometry.edges.clone()
    edges[0, 20:24] = True
    with_edges = replace(geometry, edges=edges)
    whole = MeshOptions(clipped=True)
    plain, thinner = (geometry_points(g, options=whole) for g in (geometry, with_edges))
    assert len(plain.points) - len(thinner.points) >= 3 * WIDTH


def test_ply_mesh_and_obj_have_the_same_triangles(geometry, picture, tmp_path):
    ply, obj = save_geometry(tmp_path, "a", geometry, image=picture, formats=["ply", "obj"])
    faces = len(plyfile.PlyData.read(ply)["face"])
    lines = obj.read_text().splitlines()
    assert sum(line.startswith("f ") for line in lines) == faces > 0
    assert (tmp_path / "a_mesh.png").is_file()


@pytest.mark.parametrize(
    ("meaning", "unit"), [("anchor", "metre"), ("median", "unknown"), ("poses", "unknown")]
)
def test_only_an_anchors_lengths_are_taken_for_metres(meaning, unit, geometry):
    assert geometry_unit(replace(geometry, scale_meaning=(meaning,))) == unit
    other = "poses" if meaning == "anchor" else "anchor"
    assert geometry_unit(replace(geometry, scale_meaning=(other, meaning)), 1) == unit


def test_one_picture_of_a_batch_is_chosen_by_its_index(geometry, metric, tmp_path):
    depth = torch.cat([geometry.depth, 2 * geometry.depth])
    both = JointGeometry(
        **{
            **vars(geometry),
            **{
                name: torch.cat([getattr(geometry, name)] * 2)
                for name in ("points", "normals", "intrinsics", "edges", "valid", "clipped")
            },
            "depth": depth,
            "scale_meaning": ("median", "anchor"),
            "calibration": replace(
                geometry.calibration,
                fov_x_deg=geometry.calibration.fov_x_deg.repeat(2),
                sd_log_focal=geometry.calibration.sd_log_focal.repeat(2),
                focal_source=geometry.calibration.focal_source * 2,
            ),
        }
    )
    (path,) = save_geometry(tmp_path, "b", both, 1, formats=["npz"])
    with np.load(path) as file:
        assert np.array_equal(file["depth"], depth[1].numpy())
        assert str(file["unit"]) == "metre"


@pytest.mark.parametrize("index", [-1, 1])
def test_a_picture_outside_the_batch_is_refused(index, geometry, tmp_path):
    with pytest.raises(OptionError, match="index must be 0 to 0"):
        save_geometry(tmp_path, "a", geometry, index)


def test_an_unknown_format_is_refused_before_anything_is_written(geometry, tmp_path):
    with pytest.raises(OptionError, match=r"formats must be among png16, exr"):
        save_geometry(tmp_path, "a", geometry, formats=["camera", "stl"])  # type: ignore[list-item]
    assert not any(tmp_path.iterdir())


def test_a_picture_of_another_size_is_refused(geometry, tmp_path):
    with pytest.raises(ShapeError, match=r"image has shape \(10, 10, 3\)"):
        save_geometry(tmp_path, "a", geometry, image=torch.zeros(10, 10, 3))


@pytest.mark.parametrize("stride", [0, 65, True, 1.5])
def test_a_stride_outside_1_to_64_is_refused(stride):
    with pytest.raises(OptionError, match="stride must be a whole number from 1 to 64"):
        MeshOptions(stride=stride)


@pytest.mark.parametrize("form", ["png16", "glb", "ply", "points", "obj"])
def test_a_geometry_of_nothing_is_refused(form, geometry, tmp_path):
    nothing = replace(geometry, valid=torch.zeros_like(geometry.valid))
    with pytest.raises(GeometryError):
        save_geometry(tmp_path, "a", nothing, formats=[form])
    assert not any(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_reported(geometry, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotWritableError):
        save_geometry(tmp_path / "file", "a", geometry, formats=["camera"])


def test_missing_libraries_are_told_before_anything_is_computed(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "trimesh", None)
    require_libraries(["npz", "camera", "png16"])
    with pytest.raises(MissingExtraError, match=r"lotus-geometry\[mesh\]"):
        require_libraries(["camera", "points"])
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    with pytest.raises(MissingExtraError, match=r"lotus-geometry\[exr\]"):
        require_libraries(["exr"])
