"""The pack's nodes on a real server: pixels, reuse, and what bad input is told."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

import lotus_core
from lotus_core.inference.options import InferenceOptions
from lotus_core.rendering.depth import colorize_depth, depth_hint
from lotus_core.rendering.normal import normal_rgb
from tests.nodes.host.api import PromptRejectedError
from tests.nodes.host.messages import Run
from tests.nodes.host.process import REPOSITORY, ComfyServer
from tests.small_models import write_generative_depth

pytestmark = pytest.mark.comfy

PHOTO = REPOSITORY / "assets" / "photos" / "lobby.jpg"
RUN = {
    "working_size": "custom",
    "resolution": 64,
    "seed": 0,
    "batch_size": 0,
    "sequence": "images",
    "upsample": "bilinear",
}
OPTIONS = InferenceOptions(resolution=64)
DEPTH, NORMAL = "lotus-tiny-depth-d", "lotus-tiny-normal-d"


def loader(model: str, **changes: object) -> dict:
    return {
        "class_type": "LotusGeoLoadModel",
        "inputs": {"model": model, "precision": "auto", "output": "auto"} | changes,
    }


def graph(server: ComfyServer, kind: str, models: dict[str, str], **changes: object) -> dict[str, dict]:
    """One estimator on the photograph, its first output previewed: 1 photo, 2 estimator, 3 preview, then loaders."""
    prompt = {"1": {"class_type": "LoadImage", "inputs": {"image": photo_name(server)}}}
    inputs: dict[str, object] = {"image": ["1", 0], **RUN}
    if kind != "LotusGeoReconstruct":
        inputs["ensemble_size"] = 1
    for number, (socket, model) in enumerate(models.items()):
        prompt[f"load{number}"] = loader(model)
        inputs[socket] = [f"load{number}", 0]
    prompt["2"] = {"class_type": kind, "inputs": inputs | changes}
    prompt["3"] = {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}}
    return prompt


def photo_name(server: ComfyServer) -> str:
    """The photograph as PNG: ComfyUI's versions decode JPEG by different libraries, up to two levels apart."""
    file = io.BytesIO()
    Image.fromarray(pixels()).save(file, "PNG")
    return server.api.upload_image("lobby.png", file.getvalue())


def pixels() -> np.ndarray:
    with Image.open(PHOTO) as image:
        return np.asarray(image.convert("RGB")).copy()


def photo() -> torch.Tensor:
    return torch.from_numpy(pixels())[None].float() / 255.0


def shown(server: ComfyServer, run: Run, node: str = "3") -> torch.Tensor:
    assert run.error is None, run.error
    [png] = server.api.images(run, node)
    return torch.from_numpy(np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).copy())[None]


def assert_same_pixels(picture: torch.Tensor, expected: torch.Tensor) -> None:
    """Within one level, by which ComfyUI's truncation and fp32's last digits may differ."""
    difference = (picture.int() - (expected * 255.0).int()).abs()
    assert picture.shape == expected.shape
    assert difference.max() <= 1
    assert difference.float().mean() < 0.05


@pytest.fixture(scope="module")
def depth_model() -> lotus_core.LotusModel:
    return lotus_core.load_model(DEPTH, precision="fp32", device="cpu")


@pytest.fixture(scope="module")
def normal_model() -> lotus_core.LotusModel:
    return lotus_core.load_model(NORMAL, precision="fp32", device="cpu")


def test_depth_equals_the_librarys(server, depth_model):
    run = server.api.queue(graph(server, "LotusGeoDepth", {"lotus_model": DEPTH}))
    depth = lotus_core.predict_depth(depth_model, photo(), OPTIONS)
    assert_same_pixels(shown(server, run), depth_hint(depth.values, depth.kind))


def test_normal_equals_the_librarys(server, normal_model):
    run = server.api.queue(graph(server, "LotusGeoNormal", {"lotus_model": NORMAL}))
    normals = lotus_core.predict_normals(normal_model, photo(), OPTIONS)
    assert_same_pixels(shown(server, run), normal_rgb(normals.vectors))


def test_joint_equals_the_librarys_and_feeds_both_renderers(server, depth_model, normal_model):
    prompt = graph(server, "LotusGeoJoint", {"depth_model": DEPTH, "normal_model": NORMAL})
    percentiles = {"low_percentile": 5.0, "high_percentile": 95.0, "range_over": "image"}
    prompt |= {
        "4": {"class_type": "PreviewImage", "inputs": {"images": ["2", 1]}},
        "5": {
            "class_type": "LotusGeoRenderDepth",
            "inputs": {"geometry": ["2", 2], "style": "turbo", "reverse": True, **percentiles},
        },
        "6": {"class_type": "PreviewImage", "inputs": {"images": ["5", 0]}},
        "7": {
            "class_type": "LotusGeoRenderNormal",
            "inputs": {"geometry": ["2", 2], "convention": "DirectX (R right, G down)", "uncertainty": False},
        },
        "8": {"class_type": "PreviewImage", "inputs": {"images": ["7", 0]}},
    }
    run = server.api.queue(prompt)
    joint = lotus_core.predict_joint(depth_model, normal_model, photo(), OPTIONS)
    depth, vectors = joint.depth, joint.normals.vectors
    assert_same_pixels(shown(server, run, "3"), depth_hint(depth.values, depth.kind))
    assert_same_pixels(shown(server, run, "4"), normal_rgb(vectors))
    turbo = colorize_depth(depth.values, depth.kind, colormap="turbo", reverse=True, percentiles=(5.0, 95.0))
    assert_same_pixels(shown(server, run, "6"), turbo)
    assert_same_pixels(shown(server, run, "8"), normal_rgb(vectors, "directx"))


def test_reconstruction_equals_the_librarys(server, depth_model):
    run = server.api.queue(graph(server, "LotusGeoReconstruct", {"lotus_model": DEPTH}))
    assert_same_pixels(shown(server, run), lotus_core.reconstruct(depth_model, photo(), OPTIONS).images)


def loads(server: ComfyServer) -> int:
    return server.log().count("Lotus: loaded ")


def test_two_loaders_of_the_same_checkpoint_share_one_model(server):
    before = loads(server)
    prompt = graph(server, "LotusGeoDepth", {"lotus_model": DEPTH}, resolution=72)
    prompt["other"] = loader(DEPTH, precision="auto", output="disparity")
    prompt["again"] = loader(DEPTH)
    prompt["9"] = {
        "class_type": "LotusGeoDepth",
        "inputs": prompt["2"]["inputs"] | {"lotus_model": ["again", 0], "resolution": 80},
    }
    prompt["10"] = {"class_type": "PreviewImage", "inputs": {"images": ["9", 0]}}
    assert server.api.queue(prompt).error is None
    assert loads(server) - before <= 1


def test_a_changed_seed_reloads_nothing(server):
    write_generative_depth(server.base / "models" / "lotus" / "lotus-noisy-disparity-g")
    models = {"lotus_model": "lotus-noisy-disparity-g"}
    first = server.api.queue(graph(server, "LotusGeoDepth", models, seed=1))
    before = loads(server)
    second = server.api.queue(graph(server, "LotusGeoDepth", models, seed=2))
    assert loads(server) == before
    assert "load0" in second.cached
    assert not torch.equal(shown(server, first), shown(server, second))


def test_progress_counts_maps_and_brings_previews(server):
    run = server.api.queue(
        graph(server, "LotusGeoJoint", {"depth_model": DEPTH, "normal_model": NORMAL}, resolution=88)
    )
    assert run.progress("2") == [(1, 2), (2, 2)]
    assert len(run.previews) == 2
    with Image.open(io.BytesIO(run.previews[-1].image)) as preview:
        assert preview.width > preview.height


@pytest.mark.parametrize(
    ("kind", "models", "changes", "words"),
    [
        (
            "LotusGeoDepth",
            {"lotus_model": NORMAL},
            {},
            "this needs a depth or disparity model (found: lotus-tiny-normal-d",
        ),
        (
            "LotusGeoNormal",
            {"lotus_model": DEPTH},
            {},
            "this needs a normal model (found: lotus-tiny-depth-d",
        ),
        (
            "LotusGeoDepth",
            {"lotus_model": DEPTH},
            {"ensemble_size": 4},
            "a discriminative model gives the same map",
        ),
    ],
)
def test_wrong_wiring_is_told_what_to_do(server, kind, models, changes, words):
    run = server.api.queue(graph(server, kind, models, **changes))
    assert run.error is not None
    assert words in run.error["exception_message"]


def test_rendering_what_is_not_there_is_told_what_to_connect(server):
    prompt = graph(server, "LotusGeoDepth", {"lotus_model": DEPTH})
    prompt["4"] = {
        "class_type": "LotusGeoRenderNormal",
        "inputs": {"geometry": ["2", 1], "convention": "OpenGL (R right, G up)", "uncertainty": False},
    }
    prompt["5"] = {"class_type": "PreviewImage", "inputs": {"images": ["4", 0]}}
    run = server.api.queue(prompt)
    assert "this geometry holds no normals" in run.error["exception_message"]


def test_a_picture_under_16_pixels_is_refused(server):
    file = io.BytesIO()
    Image.new("RGB", (40, 12)).save(file, "PNG")
    prompt = graph(server, "LotusGeoDepth", {"lotus_model": DEPTH})
    prompt["1"]["inputs"]["image"] = server.api.upload_image("small.png", file.getvalue())
    run = server.api.queue(prompt)
    assert "at least 16 pixels on each side (found: 40x12)" in run.error["exception_message"]


def test_an_unknown_checkpoint_is_refused_before_the_run_with_the_nearest_names(server):
    with pytest.raises(PromptRejectedError) as caught:
        server.api.submit(graph(server, "LotusGeoDepth", {"lotus_model": "lotus-tiny-dpeth"}))
    [details] = caught.value.details("load0")
    assert "no Lotus model is called 'lotus-tiny-dpeth': did you mean" in details


def test_a_name_with_its_download_mark_means_the_same_checkpoint(server):
    prompt_id = server.api.submit(
        graph(server, "LotusGeoDepth", {"lotus_model": DEPTH + " [download 1.0 GB]"})
    )
    assert server.api.wait(prompt_id).error is None


def test_the_loader_offers_bundled_models_first_and_marks_downloads(server):
    options = server.api.object_info("LotusGeoLoadModel")["input"]["required"]["model"][1]["options"]
    assert options[:2] == [DEPTH, NORMAL]
    assert "lotus-depth-d-v2-0-disparity [download 3.8 GB]" in options


def test_every_node_explains_itself(server):
    for name, info in server.api.object_info().items():
        if not name.startswith("LotusGeo"):
            continue
        assert info["category"] == "image/geometry estimation"
        assert len(info["description"]) > 40
        for inputs in (info["input"].get("required", {}), info["input"].get("optional", {})):
            for socket, spec in inputs.items():
                assert spec[1].get("tooltip"), f"{name}.{socket} has no tooltip"
