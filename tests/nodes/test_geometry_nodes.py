"""From pictures to cameras, meshes and points on a real server, read back by other programs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import trimesh

import lotus_core
from lotus_core.inference.options import InferenceOptions
from tests.nodes.host.process import ComfyServer
from tests.nodes.test_pack import DEPTH, NORMAL, graph, photo, shown

pytestmark = pytest.mark.comfy

OPTIONS = InferenceOptions(resolution=64)


def joint_graph(server: ComfyServer, **changes: object) -> dict[str, dict]:
    return graph(server, "LotusGeoJoint", {"depth_model": DEPTH, "normal_model": NORMAL}, **changes)


def mesh_node(**changes: object) -> dict:
    inputs = {
        "geometry": ["2", 2],
        "picture": 0,
        "textured": True,
        "stride": 4,
        "filename_prefix": "lotus/mesh",
    }
    return {"class_type": "LotusGeoMesh", "inputs": inputs | changes}


def text_of(server: ComfyServer, prompt: dict, node: str, slot: int) -> str:
    """What arrives on a STRING link, shown by ComfyUI's own node for text."""
    prompt["text"] = {"class_type": "PreviewAny", "inputs": {"source": [node, slot]}}
    run = server.api.queue(prompt)
    assert run.error is None, run.error["exception_message"]
    return run.outputs["text"]["text"][0]


@pytest.fixture(scope="module")
def expected() -> lotus_core.JointPrediction:
    models = [lotus_core.load_model(name, precision="fp32", device="cpu") for name in (DEPTH, NORMAL)]
    return lotus_core.predict_joint(*models, photo(), OPTIONS)


def test_a_mesh_is_written_in_gltf_axes_with_its_texture_upright(server, expected):
    relative = text_of(server, joint_graph(server) | {"4": mesh_node()}, "4", 1)
    assert relative.startswith("lotus/mesh_")
    scene = trimesh.load(server.base / "output" / relative, process=False)
    [mesh] = scene.geometry.values()
    joint = expected.geometry
    assert np.asarray(mesh.vertices)[:, 2].max() < 0  # in front of a camera that looks along -z
    assert len(mesh.faces) > 1000
    floor = joint.points[0, 440, 320]  # near the bottom of the photograph
    nearest = np.abs(np.asarray(mesh.vertices) - floor.numpy() * [1, -1, -1]).sum(1).min()
    assert nearest < 0.02 * float(floor.norm())
    assert mesh.visual.material.baseColorTexture.size == (640, 480)
    uv = np.asarray(mesh.visual.uv)
    top = np.asarray(mesh.vertices)[:, 1] / -np.asarray(mesh.vertices)[:, 2]
    assert (
        np.corrcoef(uv[:, 1], top)[0, 1] > 0.99
    )  # trimesh counts v upwards: higher in the scene, higher in the picture


def test_points_are_written_as_ply_in_opencv_axes(server, expected):
    node = {"class_type": "LotusGeoPointCloud", "inputs": {"geometry": ["2", 2], "picture": 0, "stride": 8}}
    node["inputs"]["filename_prefix"] = "lotus/points"
    relative = text_of(server, joint_graph(server) | {"4": node}, "4", 0)
    cloud = trimesh.load(server.base / "output" / relative)
    vertices = np.asarray(cloud.vertices)
    joint = expected.geometry
    kept = (joint.valid & ~joint.clipped & ~joint.edges)[0, ::8, ::8]
    assert vertices[:, 2].min() > 0
    np.testing.assert_allclose(vertices, joint.points[0, ::8, ::8][kept].numpy(), rtol=2e-3, atol=2e-3)


def test_a_given_field_of_view_wins_and_is_reported(server):
    prompt = joint_graph(server, fov_x_deg=80.0)
    prompt["4"] = {"class_type": "LotusGeoCamera", "inputs": {"geometry": ["2", 2], "picture": 0}}
    facts = json.loads(text_of(server, prompt, "4", 3))
    assert facts["focal_source"] == "given"
    assert facts["intrinsics_px"][0][0] == pytest.approx(320 / np.tan(np.radians(40)), rel=1e-4)
    assert (facts["width"], facts["height"]) == (640, 480)


def test_an_estimated_camera_equals_the_librarys(server, expected):
    prompt = joint_graph(server)
    prompt["4"] = {"class_type": "LotusGeoCamera", "inputs": {"geometry": ["2", 2], "picture": 0}}
    facts = json.loads(text_of(server, prompt, "4", 3))
    intrinsics = torch.tensor(facts["intrinsics_px"])
    torch.testing.assert_close(intrinsics, expected.geometry.intrinsics[0], rtol=1e-3, atol=0.1)
    assert facts["focal_source"] == expected.geometry.focal_source[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"picture": 3}, "picture must be 0 to 0: the batch holds 1 (found: 3)"),
        ({"geometry": ["9", 1]}, "no normals"),
    ],
)
def test_bad_wiring_is_told(server, changes, words):
    prompt = joint_graph(server)
    only_depth = graph(server, "LotusGeoDepth", {"lotus_model": DEPTH})
    prompt |= {"9": only_depth["2"], "load9": only_depth["load0"]}
    prompt["9"]["inputs"] |= {"image": ["1", 0], "lotus_model": ["load9", 0]}
    prompt["4"] = mesh_node(**changes)
    run = server.api.queue(prompt)
    assert run.error is not None
    assert words in run.error["exception_message"]


def native(server: ComfyServer, kind: str, **changes: object) -> dict:
    """A native geometry node fed by the mesh node's packet, its other inputs at their defaults."""
    info = server.api.object_info()
    if kind not in info:
        pytest.skip("this ComfyUI has no native geometry nodes")
    inputs: dict[str, object] = {}
    for name, spec in info[kind]["input"]["required"].items():
        options = spec[1] if len(spec) > 1 else {}
        first = (options.get("options") or [None])[0]
        inputs[name] = ["4", 2] if spec[0] == "MOGE_GEOMETRY" else options.get("default", first)
    return {"class_type": kind, "inputs": inputs | changes}


@pytest.mark.parametrize("output", ["depth", "normal_opengl", "mask"])
def test_the_native_render_paints_the_packet(server, expected, output):
    prompt = joint_graph(server) | {"4": mesh_node()}
    prompt["5"] = native(server, "MoGeRender", output=output)
    prompt["6"] = {"class_type": "PreviewImage", "inputs": {"images": ["5", 0]}}
    picture = shown(server, server.api.queue(prompt), "6")[0].float() / 255
    joint = expected.geometry
    mask = (joint.valid & ~joint.clipped)[0]
    assert picture.shape == (480, 640, 3)
    if output == "mask":
        assert ((picture[..., 0] > 0.5) == mask).float().mean() > 0.999
    elif output == "depth":  # painted as 1 / depth, from the nearest to the farthest
        inverse = 1 / joint.depth[0][mask]
        assert np.corrcoef(picture[..., 0][mask].numpy(), inverse.numpy())[0, 1] > 0.999
    else:  # red right, green up, blue toward the camera
        ours = joint.normals[0] * torch.tensor([1.0, -1.0, -1.0]) * 0.5 + 0.5
        assert (picture - ours)[mask].abs().mean() < 0.01


@pytest.mark.parametrize(("axis", "slot"), [("horizontal", 0), ("vertical", 1)])
def test_the_native_field_of_view_is_that_of_lotus_camera(server, axis, slot):
    prompt = joint_graph(server) | {"4": mesh_node()}
    prompt["camera"] = {"class_type": "LotusGeoCamera", "inputs": {"geometry": ["2", 2], "picture": 0}}
    prompt["fov"] = native(server, "MoGeGeometryToFOV", axis=axis, unit="degrees")
    ours = float(text_of(server, prompt, "camera", slot))
    assert float(text_of(server, prompt, "fov", 0)) == pytest.approx(ours, abs=1e-3)
    focal = float(text_of(server, prompt, "camera", 2))
    assert float(text_of(server, prompt, "fov", 1)) == pytest.approx(focal, rel=1e-4)


def test_the_native_mesh_is_the_same_surface_in_the_same_axes(server, expected):
    prompt = joint_graph(server) | {"4": mesh_node(stride=1)}
    prompt["5"] = native(server, "MoGePointMapToMesh", discontinuity_threshold=0.0)
    save = {"mesh": ["5", 0], "filename_prefix": "native/mesh"}
    prompt["6"] = {"class_type": "SaveGLB", "inputs": save}
    run = server.api.queue(prompt)
    assert run.error is None, run.error["exception_message"]
    [entry] = run.outputs["6"]["3d"]
    made = trimesh.load(server.base / "output" / entry["subfolder"] / entry["filename"], process=False)
    [mesh] = made.geometry.values()
    joint = expected.geometry
    points = joint.points[0][(joint.valid & ~joint.clipped)[0]].numpy() * [1, -1, -1]
    np.testing.assert_allclose(mesh.bounds, [points.min(0), points.max(0)], rtol=0.02, atol=0.02)
    assert mesh.visual.material.baseColorTexture.size == (640, 480)
