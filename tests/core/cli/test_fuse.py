"""`lotus fuse` on a network that sees each picture of an exact room as it is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import plyfile
import pycolmap
import pytest
import torch
from PIL import Image

from lotus_core.inference import predict
from tests.core.geometry.multiview.rig import arc, see, surface_distance, turned
from tests.core.geometry.multiview.rig import predict as exact_maps
from tests.core.io.test_meshes import Glb

HEIGHT, WIDTH = 48, 64


@pytest.fixture(scope="module")
def seen():
    return [see(camera) for camera in arc(4, height=HEIGHT, width=WIDTH)]


@pytest.fixture
def photos(seen, tmp_path) -> Path:
    """The pictures of four views, as PNG files."""
    folder = tmp_path / "images"
    folder.mkdir()
    for index, view in enumerate(seen):
        pixels = (view.picture * 255).round().to(torch.uint8).numpy()
        Image.fromarray(pixels).save(folder / f"view_{index}.png")
    return folder


def write_transforms(path: Path, cameras) -> Path:
    """A Nerfstudio file: poses in OpenGL axes."""
    camera = cameras[0]
    frames = []
    for index, one in enumerate(cameras):
        pose = one.world_from_camera.double() * torch.tensor([1.0, -1.0, -1.0, 1.0])
        frames.append({"file_path": f"images/view_{index}.png", "transform_matrix": pose.tolist()})
    k = camera.intrinsics.double()
    facts = {"w": camera.width, "h": camera.height, "fl_x": float(k[0, 0]), "fl_y": float(k[1, 1])}
    path.write_text(json.dumps({**facts, "cx": float(k[0, 2]), "cy": float(k[1, 2]), "frames": frames}))
    return path


def write_colmap(folder: Path, seen, count: int = 60) -> Path:
    """A binary COLMAP model with points of the true surface."""
    folder.mkdir()
    camera = seen[0].camera
    k = camera.intrinsics.double()
    model = pycolmap.Reconstruction()
    parameters = [float(k[0, 0]), float(k[1, 1]), float(k[0, 2]), float(k[1, 2])]
    model.add_camera_with_trivial_rig(
        pycolmap.Camera(model="PINHOLE", width=WIDTH, height=HEIGHT, params=parameters, camera_id=1)
    )
    generator = torch.Generator().manual_seed(0)
    points = []
    for index, view in enumerate(seen):
        matrix = view.camera.camera_from_world.double().numpy()
        pose = pycolmap.Rigid3d(pycolmap.Rotation3d(matrix[:3, :3]), matrix[:3, 3])
        image = pycolmap.Image(name=f"view_{index}.png", camera_id=1, image_id=index + 1)
        row = torch.randint(2, HEIGHT - 2, (count,), generator=generator)
        column = torch.randint(2, WIDTH - 2, (count,), generator=generator)
        pixels = torch.stack([column, row], dim=-1) + 0.5
        image.points2D = pycolmap.Point2DList([pycolmap.Point2D(p) for p in pixels.double().numpy()])
        model.add_image_with_trivial_frame(image, pose)
        rays = torch.cat([(pixels - k[:2, 2]) / k[0, 0], torch.ones(count, 1)], dim=-1).double()
        local = rays * view.depth[row, column, None].double()
        world = view.camera.world_from_camera.double()
        points += [(index + 1, i, p) for i, p in enumerate((local @ world[:3, :3].T + world[:3, 3]).numpy())]
    for image_id, index, xyz in points:
        track = pycolmap.Track()
        track.add_element(image_id, index)
        model.add_point3D(xyz, track, np.zeros(3, dtype=np.uint8))
    model.write_binary(str(folder))
    return folder


@pytest.fixture
def fuse(lotus, known_models, photos, seen, monkeypatch):
    """Return a function that runs `lotus fuse` with models that see every picture as it is."""

    def exact(depth_model, normal_model, images, options=None):
        small = [
            torch.nn.functional.interpolate(v.picture.movedim(-1, 0)[None], images.shape[1:3]) for v in seen
        ]
        away = [float((images[0].movedim(-1, 0) - picture[0]).abs().mean()) for picture in small]
        return exact_maps(seen[away.index(min(away))], "disparity")

    monkeypatch.setattr(predict, "predict_joint", exact)

    def run(*words):
        return lotus("fuse", photos, "--model", "disparity-d", "normal-d", "--voxel", "0.12", *words)

    return run


@pytest.fixture
def transforms(seen, tmp_path) -> Path:
    return write_transforms(tmp_path / "transforms.json", [view.camera for view in seen])


def test_photographs_and_poses_become_a_mesh_of_the_room(fuse, transforms, tmp_path):
    ran = fuse("--cameras", transforms, "-o", tmp_path / "room.ply", "--json")
    assert ran.code == 0, ran.err
    told = ran.document
    assert told["views"] == 4
    assert min(told["agreement"]) > 0.95
    assert told["scale_spread"] < 0.01
    vertex = plyfile.PlyData.read(tmp_path / "room.ply")["vertex"]
    points = torch.tensor(np.stack([vertex["x"], vertex["y"], vertex["z"]], -1))
    assert float(surface_distance(points).quantile(0.9)) < 0.06  # half a voxel, in the world of the poses
    assert told["vertices"] == len(points)


def test_a_ply_says_that_it_is_in_the_world_of_the_poses(fuse, transforms, tmp_path):
    fuse("--cameras", transforms, "-o", tmp_path / "room.ply")
    assert "the world of the camera poses" in plyfile.PlyData.read(tmp_path / "room.ply").comments[0]


def test_a_glb_stands_upright_with_its_floor_below(fuse, transforms, tmp_path):
    """The room's floor is 1.5 below the origin of a world with y down: -1.5 in glTF, whose normals point up."""
    ran = fuse("--cameras", transforms, "-o", tmp_path / "room.glb", "-o", tmp_path / "room.obj")
    assert ran.code == 0, ran.err
    glb = Glb(tmp_path / "room.glb")
    vertices, normals = glb.attribute("POSITION"), glb.attribute("NORMAL")
    floor = normals[:, 1] > 0.95
    assert floor.sum() > 30
    assert np.median(vertices[floor, 1]) == pytest.approx(-1.5, abs=0.03)
    assert glb.primitive.attributes.COLOR_0 is not None
    assert "4 views agree on" in ran.out
    assert (tmp_path / "room.obj").read_text().count("\nf ") == len(glb.faces())


def test_a_colmap_model_brings_its_points_along(fuse, seen, tmp_path):
    model = write_colmap(tmp_path / "model", seen)
    ran = fuse("--cameras", model, "-o", tmp_path / "room.ply", "--json")
    assert ran.code == 0, ran.err
    assert ran.document["sparse_points"] == 240
    vertex = plyfile.PlyData.read(tmp_path / "room.ply")["vertex"]
    points = torch.tensor(np.stack([vertex["x"], vertex["y"], vertex["z"]], -1))
    assert float(surface_distance(points).quantile(0.9)) < 0.06


def test_fewer_views_may_be_asked_for(fuse, transforms, tmp_path):
    ran = fuse("--cameras", transforms, "-o", tmp_path / "a.glb", "--max-views", "3", "--json")
    assert ran.code == 0, ran.err
    assert ran.document["views"] == 3


def test_wrong_poses_give_an_error_and_no_mesh(fuse, seen, tmp_path):
    cameras = [view.camera for view in seen]
    cameras[1] = turned(cameras[1], 40.0)
    wrong = write_transforms(tmp_path / "wrong.json", cameras)
    ran = fuse("--cameras", wrong, "-o", tmp_path / "a.glb", "--json")
    assert ran.code == 1
    assert ran.document["error"]["type"] == "GeometryError"
    assert "match" in ran.err or "shares nothing" in ran.err
    assert not (tmp_path / "a.glb").exists()


def test_a_pose_that_is_not_rigid_gives_an_error(fuse, transforms, tmp_path):
    data = json.loads(transforms.read_text())
    data["frames"][2]["transform_matrix"][0][0] *= 1.5
    transforms.write_text(json.dumps(data))
    ran = fuse("--cameras", transforms, "-o", tmp_path / "a.glb")
    assert ran.code == 1
    assert "the pose of view 2 is not rigid" in ran.err


@pytest.mark.parametrize(
    ("words", "wording"),
    [
        (["-o", "a.stl"], "--output must be a file that ends in .glb, .obj, .ply"),
        (["-o", "a.glb", "--max-views", "1"], "--max-views must be from 2 to 100"),
        (["-o", "a.glb", "--max-side", "10"], "--max-side must be at least 64 pixels"),
        (["-o", "a.glb", "--least-support", "9"], "least_support must be a whole number from 0 to 6"),
        (["-o", "a.glb", "--least-agreement", "2"], "least_agreement must be a share from 0 to 1"),
        (["-o", "a.glb", "--voxel", "-1"], "voxel must be a positive length"),
    ],
)
def test_bad_words_are_refused_before_a_model_is_loaded(words, wording, fuse, transforms, known_models):
    ran = fuse("--cameras", transforms, *words)
    assert ran.code == 2
    assert wording in ran.err
    assert known_models == []


def test_a_picture_that_is_missing_is_named(fuse, transforms, photos, known_models, tmp_path):
    (photos / "view_2.png").unlink()
    ran = fuse("--cameras", transforms, "-o", tmp_path / "a.glb", "--json")
    assert ran.code == 2
    assert "images/view_2.png is named by the cameras but is not in" in ran.document["error"]["message"]
    assert known_models == []


def test_cameras_that_are_not_there_are_refused(fuse, tmp_path):
    ran = fuse("--cameras", tmp_path / "nothing", "-o", tmp_path / "a.glb")
    assert ran.code == 2
    assert "nothing" in ran.err


def test_stopping_it_says_so(fuse, transforms, monkeypatch, tmp_path):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(predict, "predict_joint", stop)
    ran = fuse("--cameras", transforms, "-o", tmp_path / "a.glb")
    assert (ran.code, ran.err) == (130, "lotus fuse: stopped\n")


def test_an_output_folder_that_cannot_be_written_is_told(fuse, transforms, tmp_path):
    (tmp_path / "file").touch()
    ran = fuse("--cameras", transforms, "-o", tmp_path / "file" / "a.ply")
    assert ran.code == 1
    assert "file" in ran.err
