"""Several views and their cameras to one mesh on a real server, held against the library and the true scene."""

from __future__ import annotations

import io
import json
import random

import numpy as np
import pytest
import torch
import trimesh

from lotus_core.geometry.multiview import FusedViews, opencv_from_world
from tests.nodes.batches import maps
from tests.nodes.host.api import PromptRejectedError
from tests.nodes.host.process import ComfyServer
from tests.nodes.views import (
    VOXEL,
    cameras,
    fuse_graph,
    fused_views,
    joint_graph,
    names,
    need_package,
    pictures,
    provide_views,
    write_transforms,
)

pytestmark = pytest.mark.comfy


@pytest.fixture(scope="module", autouse=True)
def scikit_image(checkout):
    need_package(checkout, "skimage")


@pytest.fixture(scope="module")
def expected() -> FusedViews:
    return fused_views()


def run(server: ComfyServer, prompt: dict):
    done = server.api.queue(prompt, timeout_s=300)
    assert done.error is None, done.error["exception_message"]
    return done


def texts(server: ComfyServer, prompt: dict, **links: list) -> dict[str, str]:
    """What arrives on STRING links, by name."""
    shown = {name: {"class_type": "PreviewAny", "inputs": {"source": link}} for name, link in links.items()}
    done = run(server, prompt | shown)
    return {name: done.outputs[name]["text"][0] for name in links}


@pytest.fixture(scope="module")
def fused(server) -> dict:
    """One run: the paths, the report, and the arrays on the sockets."""
    prompt = fuse_graph(server)
    prompt["maps"] = {"class_type": "ProbeSaveArray", "inputs": {"value": ["fuse", 2], "name": "moge"}}
    links = {"glb": ["fuse", 1], "ply": ["fuse", 4], "report": ["fuse", 5]}
    shown = {name: {"class_type": "PreviewAny", "inputs": {"source": link}} for name, link in links.items()}
    prompt |= shown | {
        "mesh": {"class_type": "ProbeSaveArray", "inputs": {"value": ["fuse", 0], "name": "mesh"}},
    }
    done = run(server, prompt)
    found = {name: done.outputs[name]["text"][0] for name in links}
    [mesh] = done.outputs["mesh"]["arrays"]
    with np.load(io.BytesIO(server.api.file(mesh)), allow_pickle=False) as arrays:
        found["mesh"] = dict(arrays)
    return found | {"moge": maps(server, done)}


def surface(server: ComfyServer, relative: str) -> trimesh.Trimesh:
    return trimesh.load(server.base / "output" / relative, process=False, force="mesh")


def test_the_mesh_in_the_world_of_the_poses_is_the_librarys(server, fused, expected):
    made = surface(server, fused["ply"])
    assert len(made.faces) == pytest.approx(len(expected.mesh.faces), rel=0.01)
    size = np.ptp(expected.mesh.vertices.numpy(), axis=0)
    np.testing.assert_allclose(made.bounds[0], expected.mesh.vertices.numpy().min(0), atol=0.02 * size.max())
    np.testing.assert_allclose(made.bounds[1], expected.mesh.vertices.numpy().max(0), atol=0.02 * size.max())


def test_the_glb_is_the_same_mesh_turned_upright(server, fused):
    world, upright = surface(server, fused["ply"]), surface(server, fused["glb"])
    turn = opencv_from_world(cameras()).numpy()
    expected = np.asarray(world.vertices) @ turn.T * [1, -1, -1]
    np.testing.assert_allclose(np.asarray(upright.vertices), expected, atol=1e-4)
    up_in_world = turn.T @ [0, -1, 0]
    assert up_in_world.tolist() == [0, 0, 1]  # the rendered scenes have z up


def test_the_mesh_has_the_pictures_colours(server, fused):
    colours = np.asarray(surface(server, fused["ply"]).visual.vertex_colors)[:, :3] / 255.0
    photo = pictures().reshape(-1, 3).numpy()
    assert np.abs(colours.mean(0) - photo.mean(0)).max() < 0.1
    assert colours.std() > 0.5 * photo.std()


def test_the_native_mesh_equals_the_file(server, fused):
    vertices = fused["mesh"]["value.vertices"]
    assert vertices.shape[0] == 1
    np.testing.assert_allclose(vertices[0], surface(server, fused["glb"]).vertices, atol=1e-4)
    assert fused["mesh"]["value.faces"].shape[1:] == (len(surface(server, fused["glb"]).faces), 3)


def test_the_report_says_how_well_the_views_fit(fused, expected):
    report = json.loads(fused["report"])
    assert report["views"] == len(cameras())
    assert report["pictures"] == names()
    np.testing.assert_allclose(report["agreement"], expected.alignment.agreement.agreement.numpy(), atol=0.02)
    assert report["voxel"] == VOXEL


def test_every_view_drives_the_native_geometry_nodes(fused, expected):
    packet = {name.removeprefix("value."): array for name, array in fused["moge"].items()}
    count, height, width = packet["depth"].shape
    assert count == len(cameras())
    k = torch.stack([camera.intrinsics for camera in cameras()]).numpy()
    np.testing.assert_allclose(packet["intrinsics"][:, 0, 0] * width, k[:, 0, 0], rtol=1e-4)
    np.testing.assert_allclose(packet["intrinsics"][:, 1, 2] * height, k[:, 1, 2], rtol=1e-4)
    mask = packet["mask"] > 0.5
    depth = torch.stack(expected.depths).numpy()
    assert mask.mean() > 0.5
    assert np.median(np.abs(packet["depth"][mask] / depth[mask] - 1)) < 0.01
    assert np.isinf(packet["depth"][~mask]).all()


def test_native_nodes_mesh_one_of_the_views(server):
    if "MoGePointMapToMesh" not in server.api.object_info():
        pytest.skip("this ComfyUI has no native geometry nodes")
    prompt = fuse_graph(server)
    inputs = {"batch_index": 2, "decimation": 2, "discontinuity_threshold": 0.04, "texture": True}
    prompt["native"] = {
        "class_type": "MoGePointMapToMesh",
        "inputs": {"moge_geometry": ["fuse", 2], **inputs},
    }
    prompt["save"] = {
        "class_type": "SaveGLB",
        "inputs": {"mesh": ["native", 0], "filename_prefix": "native/view"},
    }
    [entry] = run(server, prompt).outputs["save"]["3d"]
    made = surface(server, f"{entry['subfolder']}/{entry['filename']}")
    assert len(made.faces) > 1000
    assert np.asarray(made.vertices)[:, 2].max() < 0  # in its own camera, which looks along -z


def test_a_views_points_stand_in_its_own_camera_in_the_poses_unit(server, expected):
    prompt = fuse_graph(server)
    inputs = {"geometry": ["fuse", 3], "picture": 1, "stride": 4, "filename_prefix": "lotus/points"}
    prompt["points"] = {"class_type": "LotusGeoPointCloud", "inputs": inputs}
    relative = texts(server, prompt, path=["points", 0])["path"]
    cloud = trimesh.load(server.base / "output" / relative)
    depth = np.asarray(cloud.vertices)[:, 2]
    assert np.median(depth) == pytest.approx(float(expected.depths[1].median()), rel=0.05)


def test_names_choose_the_cameras_of_fewer_pictures(server):
    prompt = joint_graph(server)
    some = [4, 0, 2]
    np.save(server.base / "input" / "some.npy", pictures()[some].numpy())
    prompt["views"]["inputs"]["file"] = "some.npy"
    chosen = "\n".join(names()[index].rsplit(".", 1)[0] for index in some)  # without suffix
    prompt["fuse"] = fuse_graph(server, names=chosen, least_agreement=0.3)["fuse"]
    report = json.loads(texts(server, prompt, report=["fuse", 5])["report"])
    assert report["pictures"] == [names()[index] for index in some]
    assert len(report["agreement"]) == 3


def write_packet(server: ComfyServer, depth: list[torch.Tensor]) -> None:
    """The cameras and depths as ComfyUI's Depth Anything 3 gives them."""
    poses = torch.stack([camera.camera_from_world[:3] for camera in cameras()])
    k = torch.stack([camera.intrinsics for camera in cameras()])
    np.savez(
        server.base / "input" / "packet.npz",
        depth=torch.stack(depth).numpy(),
        extrinsics=poses[None].numpy(),
        intrinsics=k[None].numpy(),
        image=pictures().numpy(),
    )


def test_depth_anything_3_gives_cameras_and_scale(server, expected):
    provide_views(server)
    write_packet(server, [depth.nan_to_num(1.0) for depth in expected.depths])
    prompt = fuse_graph(server, cameras="", da3_geometry=["packet", 0])
    prompt["packet"] = {"class_type": "ProbeLoadPacket", "inputs": {"file": "packet.npz"}}
    report = json.loads(texts(server, prompt, report=["fuse", 5])["report"])
    assert report["known_depths"] > 1000
    assert report["pictures"] == []
    assert min(report["agreement"]) > 0.6


@pytest.mark.parametrize("path", ["../outside", "/etc/hostname", "lotus-views/../../models", "no/such.json"])
def test_a_path_out_of_the_input_folder_or_to_nothing_is_refused_before_the_run(server, path):
    with pytest.raises(PromptRejectedError) as refused:
        server.api.submit(fuse_graph(server, cameras=path))
    [told] = refused.value.details("fuse")
    assert "cameras must be a" in told
    assert "ComfyUI's input folder" in told


def failure(server: ComfyServer, prompt: dict) -> str:
    done = server.api.queue(prompt, timeout_s=300)
    assert done.error is not None
    return done.error["exception_message"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cameras": ""}, "either a path or a connected da3_geometry (found: 'neither')"),
        ({"names": "nobody.jpg"}, "1 names, 6 pictures"),
        ({"names": "\n".join(["nobody.jpg"] * 6)}, "no camera is that of nobody.jpg"),
    ],
)
def test_inputs_that_make_no_sense_are_told(server, changes, words):
    assert words in failure(server, fuse_graph(server, **changes))


def shuffle(data: dict) -> None:
    """Give every picture another one's pose."""
    poses = [frame["transform_matrix"] for frame in data["frames"]]
    random.Random(3).shuffle(poses)
    for frame, pose in zip(data["frames"], poses, strict=True):
        frame["transform_matrix"] = pose


def shear(data: dict) -> None:
    data["frames"][1]["transform_matrix"][0][1] += 0.2


def drop(data: dict) -> None:
    del data["frames"][0]


def crop(data: dict) -> None:
    data["h"] = data["h"] // 2


def empty(data: dict) -> None:
    data["frames"] = []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (shuffle, "match"),
        (shear, "the pose of view 1 is not rigid"),
        (drop, "6 pictures, 5 cameras"),
        (crop, "has another shape than its camera"),
        (empty, "lists no frames"),
    ],
)
def test_cameras_that_do_not_belong_to_the_pictures_are_told(server, change, words):
    path = write_transforms(server, f"bad-{change.__name__}", change)
    assert words in failure(server, fuse_graph(server, cameras=path))


def test_a_geometry_without_normals_is_told(server):
    prompt = fuse_graph(server, geometry=["depth only", 1])
    inputs = prompt["joint"]["inputs"] | {"lotus_model": ["depth", 0]}
    del inputs["depth_model"], inputs["normal_model"]
    prompt["depth only"] = {"class_type": "LotusGeoDepth", "inputs": inputs}
    assert "this geometry holds no normals" in failure(server, prompt)


def test_changed_cameras_are_noticed_without_running_the_model_again(server):
    path = write_transforms(server, "moving", drop)
    assert "5 cameras" in failure(server, fuse_graph(server, cameras=path))
    write_transforms(server, "moving", shear)
    done = server.api.queue(fuse_graph(server, cameras=path), timeout_s=300)
    assert "is not rigid" in done.error["exception_message"]
    assert "joint" in done.cached
