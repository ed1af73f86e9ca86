"""Lotus Save Geometry on a real server: every kind of file, opened by a reader of its own."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import png
import pytest
import trimesh
from PIL import Image
from plyfile import PlyData

from tests.nodes.host.process import ComfyServer
from tests.nodes.test_geometry_nodes import expected, joint_graph
from tests.nodes.views import cameras, fuse_graph, need_package

__all__ = ["expected"]

pytestmark = pytest.mark.comfy

SWITCHES = ("glb_mesh", "camera_json", "png16", "exr", "npz", "ply_mesh", "ply_points", "obj_mesh")
STRIDE = 4
OPENGL = "OpenGL (R right, G up)"


def save_node(*on: str, **changes: object) -> dict:
    inputs: dict[str, object] = {
        "geometry": ["2", 2],
        "picture": -1,
        "normal_convention": OPENGL,
        "textured": True,
        "stride": STRIDE,
        "filename_prefix": "saved/geometry",
    }
    inputs |= {name: name in on for name in SWITCHES}
    return {"class_type": "LotusGeoSaveGeometry", "inputs": inputs | changes}


def saved(server: ComfyServer, prompt: dict) -> list[Path]:
    """The files that the node "save" of a graph says it has written."""
    prompt = prompt | {"files": {"class_type": "PreviewAny", "inputs": {"source": ["save", 1]}}}
    run = server.api.queue(prompt, timeout_s=300)
    assert run.error is None, run.error["exception_message"]
    files = [server.base / "output" / name for name in run.outputs["files"]["text"][0].splitlines()]
    assert all(file.is_file() for file in files)
    return files


@pytest.fixture(scope="module")
def everything(server, checkout) -> dict[str, Path]:
    """One run with every format: the files by what follows the number in their names."""
    need_package(checkout, "OpenEXR")
    files = saved(server, joint_graph(server) | {"save": save_node(*SWITCHES)})
    assert {file.parent.name for file in files} == {"saved"}
    return {re.sub(r"^geometry_\d{5}_", "", file.name): file for file in files}


def test_every_format_is_written_once(everything):
    assert sorted(everything) == [
        "camera.json",
        "geometry.exr",
        "geometry.npz",
        "geometry_depth16.png",
        "geometry_normal16.png",
        "mesh.glb",
        "mesh.obj",
        "mesh.ply",
        "points.ply",
    ]
    beside = everything["mesh.obj"]
    assert beside.with_suffix(".mtl").is_file()
    assert beside.with_suffix(".png").is_file()


def test_npz_holds_the_librarys_maps(everything, expected):
    geometry = expected.geometry
    with np.load(everything["geometry.npz"], allow_pickle=False) as arrays:
        np.testing.assert_allclose(arrays["depth"], geometry.depth[0].numpy(), rtol=5e-3)
        np.testing.assert_allclose(arrays["intrinsics"], geometry.intrinsics[0].numpy(), rtol=1e-3, atol=0.1)
        assert np.abs(np.linalg.norm(arrays["normals"], axis=-1) - 1).max() < 1e-3
        assert str(arrays["unit"]) == "unknown"


def test_exr_holds_the_same_floats_as_npz(everything):
    import OpenEXR

    with np.load(everything["geometry.npz"], allow_pickle=False) as arrays:
        with OpenEXR.File(str(everything["geometry.exr"]), separate_channels=True) as file:
            channels = {name: channel.pixels for name, channel in file.channels().items()}
        np.testing.assert_array_equal(channels["Z"], arrays["depth"])
        np.testing.assert_array_equal(channels["N.Y"], arrays["normals"][..., 1])
        np.testing.assert_array_equal(channels["P.X"], arrays["points"][..., 0])
        np.testing.assert_array_equal(channels["mask.Y"] > 0.5, arrays["valid"] & ~arrays["clipped"])


def sixteen_bits(path: Path) -> np.ndarray:
    width, height, rows, info = png.Reader(bytes=path.read_bytes()).read()
    assert info["bitdepth"] == 16
    return np.vstack([np.asarray(row, dtype=np.float64) for row in rows]).reshape(height, width, -1) / 65535


def test_png_depth_is_nearest_over_z(everything):
    near = sixteen_bits(everything["geometry_depth16.png"])[..., 0]
    with Image.open(everything["geometry_depth16.png"]) as picture:
        nearest = float(re.match(r"z = ([\d.e+-]+) / value", picture.text["Lotus depth"]).group(1))
    with np.load(everything["geometry.npz"], allow_pickle=False) as arrays:
        mask = arrays["valid"] & ~arrays["clipped"]
        np.testing.assert_allclose(near[mask], nearest / arrays["depth"][mask], atol=1 / 65535)
        assert (near[~mask] == 0).all()


def test_png_normals_follow_the_convention(everything):
    """OpenGL: red right, green up, blue toward the camera; the vectors are x right, y down, z away."""
    rgb = sixteen_bits(everything["geometry_normal16.png"])
    with np.load(everything["geometry.npz"], allow_pickle=False) as arrays:
        np.testing.assert_allclose(rgb * 2 - 1, arrays["normals"] * [1, -1, -1], atol=1e-4)


def test_meshes_of_all_files_are_one_surface(everything):
    shapes = {
        name: trimesh.load(everything[name], process=False, force="mesh")
        for name in ("mesh.glb", "mesh.obj", "mesh.ply")
    }
    glb, obj, ply = shapes.values()
    assert len(glb.faces) == len(obj.faces) == len(ply.faces) > 1000
    np.testing.assert_allclose(np.asarray(ply.vertices) * [1, -1, -1], glb.vertices, atol=1e-5)
    np.testing.assert_allclose(np.sort(obj.bounds, 0), np.sort(glb.bounds, 0), atol=1e-4)
    assert glb.visual.material.baseColorTexture.size == (640, 480)


def test_points_have_colours_and_normals(everything):
    vertex = PlyData.read(str(everything["points.ply"]))["vertex"]
    assert {"x", "y", "z", "nx", "ny", "nz", "red", "green", "blue"} <= set(vertex.data.dtype.names)
    assert vertex.count > 500
    assert vertex["z"].min() > 0


def test_camera_json_agrees_with_the_maps(everything):
    camera = json.loads(everything["camera.json"].read_text(encoding="utf-8"))
    with np.load(everything["geometry.npz"], allow_pickle=False) as arrays:
        np.testing.assert_allclose(camera["intrinsics"], arrays["intrinsics"], rtol=1e-6)
        assert camera["focal_length"]["source"] == str(arrays["focal_source"])
    assert camera["world_from_camera"] == np.eye(4).tolist()
    assert (camera["width"], camera["height"], camera["scale"]["unit"]) == (640, 480, "unknown")


def test_every_picture_of_a_batch_gets_a_number_of_its_own(server):
    prompt = joint_graph(server)
    prompt["twice"] = {"class_type": "ImageBatch", "inputs": {"image1": ["1", 0], "image2": ["1", 0]}}
    prompt["2"]["inputs"]["image"] = ["twice", 0]
    prompt["save"] = save_node("npz", filename_prefix="saved/batch")
    assert [file.name for file in saved(server, prompt)] == [
        "batch_00001_geometry.npz",
        "batch_00002_geometry.npz",
    ]
    prompt["save"] = save_node("npz", filename_prefix="saved/batch", picture=1)
    assert [file.name for file in saved(server, prompt)] == ["batch_00003_geometry.npz"]


def test_the_mesh_goes_on_to_the_viewer_and_is_listed_as_media(server):
    prompt = joint_graph(server) | {"save": save_node("glb_mesh", filename_prefix="saved/shown")}
    prompt["view"] = {"class_type": "Preview3D", "inputs": {"model_file": ["save", 0], "image": ""}}
    run = server.api.queue(prompt)
    assert run.error is None, run.error
    [entry] = run.outputs["save"]["3d"]
    assert entry == {"filename": "shown_00001_mesh.glb", "subfolder": "saved", "type": "output"}
    assert server.api.file(entry)[:4] == b"glTF"
    assert run.outputs["view"]["result"][0] == "saved/shown_00001_mesh.glb"


def test_without_a_mesh_the_viewer_does_not_run_and_nothing_fails(server):
    prompt = joint_graph(server) | {"save": save_node("camera_json")}
    prompt["view"] = {"class_type": "Preview3D", "inputs": {"model_file": ["save", 0], "image": ""}}
    run = server.api.queue(prompt)
    assert run.succeeded
    assert run.error is None
    assert run.outputs["save"]["3d"] == []
    assert "view" not in run.outputs


def test_a_fused_view_is_saved_with_its_pose_and_unit(server, checkout):
    need_package(checkout, "skimage")
    prompt = fuse_graph(server)
    prompt["save"] = save_node("camera_json", "npz", geometry=["fuse", 3], picture=3)
    [maps, camera] = sorted(saved(server, prompt), key=lambda file: file.suffix, reverse=True)
    record = json.loads(camera.read_text(encoding="utf-8"))
    truth = cameras()[3]
    np.testing.assert_allclose(record["world_from_camera"], truth.world_from_camera.numpy(), atol=1e-5)
    np.testing.assert_allclose(record["intrinsics"], truth.intrinsics.numpy(), rtol=1e-5)
    assert record["focal_length"]["source"] == "given"
    with np.load(maps, allow_pickle=False) as arrays:
        assert float(arrays["fov_x_deg"]) == pytest.approx(truth.fov_x_deg, abs=0.01)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"picture": 3}, "picture must be 0 to 0: the batch holds 1 (found: 3)"),
        ({"glb_mesh": False}, "formats must be at least one of glb_mesh"),
    ],
)
def test_what_cannot_be_saved_is_told(server, changes, words):
    run = server.api.queue(joint_graph(server) | {"save": save_node("glb_mesh", **changes)})
    assert words in run.error["exception_message"]
