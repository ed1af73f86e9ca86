"""`lotus joint --geometry` on a network that sees an exact room: the camera and the surface follow from algebra."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from lotus_core.cli import joint_geometry
from lotus_core.inference import predict
from lotus_core.types import DepthPrediction, JointPrediction, NormalPrediction
from tests.core.geometry.analytic import network_map, room
from tests.core.inference.models import info
from tests.core.io.test_meshes import Glb, outward

HEIGHT, WIDTH, FOV = 48, 64, 64.0


@pytest.fixture
def room_seen(known_models, monkeypatch):
    """Whatever the picture, the models see the room, 64 degrees across; return the options of every call."""
    calls = []

    def see(depth_model, normal_model, images, options=None, **named):
        calls.append(named)
        height, width = images.shape[1:3]
        depth, normals = room(FOV, height, width)
        values, _ = network_map(depth, "disparity")
        model = info(output="disparity")
        return JointPrediction(
            DepthPrediction(values[None], "disparity", None, model),
            NormalPrediction(normals[None], None, model),
        )

    monkeypatch.setattr(predict, "predict_joint", see)
    return calls


@pytest.fixture
def photo(tmp_path):
    """A photograph, red above and blue below."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[: HEIGHT // 2, :, 0], pixels[HEIGHT // 2 :, :, 2] = 255, 255
    path = tmp_path / "in" / "photo.png"
    path.parent.mkdir()
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def joint(lotus, room_seen, photo, tmp_path):
    """Return a function that runs `lotus joint` on the photograph."""

    def run(*words, source=photo, other=()):
        models = ("--model", "disparity-d", "normal-d")
        return lotus("joint", source, *other, "-o", tmp_path / "out", "--json", *models, *words)

    return run


def with_exif(path, focal_35mm: int):
    """The same photograph as a JPEG that tells its focal length."""
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = focal_35mm  # FocalLengthIn35mmFilm
    target = path.with_suffix(".jpg")
    with Image.open(path) as image:
        image.save(target, exif=exif)
    return target


def test_every_geometry_file_is_written_and_told(joint, tmp_path):
    ran = joint("--geometry", "glb,ply,points,obj,camera,png16,exr,npz", "--format", "png")
    assert ran.code == 0, ran.err
    files = ran.document["items"][0]["files"]
    names = {path.rsplit("/", 1)[1] for path in files}
    assert names == {
        "photo_depth.png", "photo_normal.png", "photo_mesh.glb", "photo_mesh.ply", "photo_mesh.obj",
        "photo_points.ply", "photo_camera.json", "photo_geometry.exr", "photo_geometry.npz",
        "photo_geometry_depth16.png", "photo_geometry_normal16.png",
    }  # fmt: skip
    assert all((tmp_path / "out" / name).stat().st_size > 0 for name in names)


def test_the_field_of_view_is_found_and_reported(joint, tmp_path):
    ran = joint("--geometry", "camera")
    told = ran.document["items"][0]["geometry"]
    assert told["fov_x_deg"] == pytest.approx(FOV, abs=1.5)
    assert told["fov_from"] == "normals"
    assert 0 < told["sd_log_focal"] < 0.3
    assert told["unit"] == "unknown"
    k = json.loads((tmp_path / "out/photo_camera.json").read_text())["intrinsics"]
    assert math.degrees(2 * math.atan(WIDTH / 2 / k[0][0])) == pytest.approx(told["fov_x_deg"], abs=0.01)


def test_a_given_field_of_view_wins(joint):
    told = joint("--geometry", "camera", "--fov-x", "50").document["items"][0]["geometry"]
    assert told["fov_x_deg"] == pytest.approx(50.0)
    assert told["fov_from"] == "option"


def test_the_photographs_own_focal_length_wins_over_the_estimate(joint, photo):
    """28 mm on a diagonal of 43.27 mm: f = 28 / 43.27 * 80 px, so 2 atan(32 / 51.77) = 63.4 degrees across."""
    told = joint("--geometry", "camera", source=with_exif(photo, 28)).document["items"][0]["geometry"]
    assert told["fov_x_deg"] == pytest.approx(63.44, abs=0.02)
    assert told["fov_from"] == "exif"


def test_exif_may_be_ignored_but_is_told(joint, photo):
    source = with_exif(photo, 100)
    told = joint("--geometry", "camera", "--ignore-exif", source=source).document["items"][0]["geometry"]
    assert told["fov_from"] == "normals"
    assert told["exif_fov_x_deg"] == pytest.approx(19.6, abs=0.1)


def test_a_known_distance_makes_metres(joint, tmp_path):
    """The far wall is 5 away at the picture's middle; called 10 m, everything is twice as far."""
    depth, _ = room(FOV, HEIGHT, WIDTH)
    x, y = WIDTH // 2, HEIGHT // 2
    # The distance is along the ray; at (x + .5, y + .5) the ray is all but the axis.
    ran = joint(
        "--geometry", "npz,camera", "--known-distance", f"{x + 0.5},{y + 0.5},{2 * float(depth[y, x])}"
    )
    assert ran.document["items"][0]["geometry"]["unit"] == "metre"
    with np.load(tmp_path / "out/photo_geometry.npz") as file:
        found = file["depth"]
        inside = file["valid"] & ~file["clipped"]
    assert np.median(found[inside] / (2 * depth.numpy()[inside])) == pytest.approx(1.0, abs=0.03)


def test_the_mesh_faces_the_camera_and_carries_the_photograph(joint, tmp_path):
    joint("--geometry", "glb", "--fov-x", "64")
    glb = Glb(tmp_path / "out/photo_mesh.glb")
    vertices = glb.attribute("POSITION")
    facing = (outward(vertices, glb.faces()) * -vertices[glb.faces()].mean(axis=1)).sum(axis=1)
    assert (facing > 0).mean() > 0.99
    assert glb.texture().size == (WIDTH, HEIGHT)
    assert np.asarray(glb.texture())[1, 1].tolist()[:3] == [255, 0, 0]


@pytest.mark.parametrize(("colour", "has"), [("vertex", "COLOR_0"), ("none", None)])
def test_how_a_mesh_carries_the_picture_is_chosen(colour, has, joint, tmp_path):
    joint("--geometry", "glb", "--colour", colour)
    attributes = Glb(tmp_path / "out/photo_mesh.glb").primitive.attributes
    assert attributes.TEXCOORD_0 is None
    assert (attributes.COLOR_0 is not None) == (has is not None)


def test_a_stride_thins_the_mesh(joint, tmp_path):
    joint("--geometry", "glb")
    fine = len(Glb(tmp_path / "out/photo_mesh.glb").faces())
    joint("--geometry", "glb", "--stride", "4")
    assert len(Glb(tmp_path / "out/photo_mesh.glb").faces()) < fine / 8


def test_without_geometry_nothing_is_resolved(joint, room_seen, monkeypatch):
    monkeypatch.setattr(joint_geometry, "resolve", lambda *_: pytest.fail("nobody asked for it"))
    ran = joint()
    assert ran.code == 0
    assert "geometry" not in ran.document["items"][0]
    assert room_seen == [{}]


def test_maps_are_kept_where_the_geometry_fails(lotus, known_models, grey_photo, tmp_path):
    """An evenly grey picture's maps are constant here: no surface follows from them that could be scaled."""
    ran = lotus(
        "joint", grey_photo(), "-o", tmp_path / "out", "--model", "disparity-d", "normal-d", "--json",
        "--geometry", "camera", "--known-distance", "500,500,1",
    )  # fmt: skip
    assert ran.code == 1
    failed = ran.document["items"][0]
    assert failed["error"]["type"] == "GeometryError"
    assert "outside the picture" in failed["error"]["message"]
    assert (tmp_path / "out/photo_depth.png").is_file()
    assert not (tmp_path / "out/photo_camera.json").exists()


def test_an_input_is_never_overwritten(joint, photo, tmp_path):
    """The texture of an OBJ would be photo_mesh.png, which is itself read in this run."""
    (tmp_path / "out").mkdir()
    other = tmp_path / "out/photo_mesh.png"
    other.write_bytes(photo.read_bytes())
    before = other.read_bytes()
    ran = joint("--geometry", "obj", other=[other])
    assert ran.code == 1
    assert "is an input of this run" in ran.err
    assert other.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "wording"),
    [
        (["--geometry", "stl"], "unknown geometry stl: choose from png16, exr"),
        (["--geometry", ","], "no geometry: choose from"),
        (["--geometry", "glb", "--fov-x", "200"], "fov_x_deg must be a number of degrees from 1 to 170"),
        (["--geometry", "glb", "--stride", "0"], "stride must be a whole number from 1 to 64"),
        (["--geometry", "glb", "--known-distance", "3,4"], "write three numbers such as"),
        (["--geometry", "glb", "--known-distance", "3,4,-1"], "the distance must be positive"),
    ],
)
def test_bad_words_are_refused_before_anything_is_computed(words, wording, joint, room_seen):
    ran = joint(*words)
    assert ran.code == 2
    assert wording in ran.err
    assert room_seen == []


def test_a_missing_library_is_told_before_anything_is_computed(joint, room_seen, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "trimesh", None)
    ran = joint("--geometry", "glb")
    assert ran.code == 2
    assert "lotus-geometry[mesh]" in ran.err
    assert room_seen == []


def test_forms_are_taken_once_in_the_given_order():
    assert joint_geometry.parse_forms("glb, camera,GLB") == ("glb", "camera")


def test_the_forms_are_those_that_the_library_writes():
    from lotus_core.io.geometry_files import GEOMETRY_FORMATS

    assert joint_geometry.GEOMETRY_FORMS == GEOMETRY_FORMATS


def test_a_distance_is_three_numbers():
    assert joint_geometry.parse_distance("320, 240.5,2") == (320.0, 240.5, 2.0)
    assert torch.tensor(joint_geometry.parse_distance("0,0,1e-3"))[2] > 0
