"""Every shared workflow, run to its last image on a real server with small models."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lotus_core.io.video import VideoReader
from tests.core.io.video_files import audio_packets
from tests.nodes.host.messages import Message
from tests.nodes.host.process import REPOSITORY, ComfyServer
from tests.nodes.host.shared_files import provide_videos
from tests.nodes.host.workflow import input_images, workflow_to_prompt
from tests.nodes.views import RESOLUTION, need_package, pictures, provide_views
from tests.small_models import write_generative_depth

pytestmark = pytest.mark.comfy

WORKFLOWS = sorted((REPOSITORY / "workflows").glob("*.json"))
OF_PICTURES = [path for path in WORKFLOWS if "LoadVideo" not in path.read_text(encoding="utf-8")]
OF_VIDEOS = [path for path in WORKFLOWS if path not in OF_PICTURES]
PHOTO = REPOSITORY / "assets" / "photos" / "lobby.jpg"
STAND_INS = {
    "depth": "lotus-tiny-depth-d",
    "normal": "lotus-tiny-normal-d",
    "ensemble": "lotus-noisy-disparity-g",
}


@pytest.fixture(scope="module")
def models(server: ComfyServer) -> ComfyServer:
    """The server with a small G checkpoint on disk, and files of the names that the ControlNet graphs load."""
    folder = server.base / "models"
    write_generative_depth(folder / "lotus" / "lotus-noisy-disparity-g")
    for kind, name in (
        ("checkpoints", "v1-5-pruned-emaonly-fp16.safetensors"),
        ("controlnet", "control_v11f1p_sd15_depth_fp16.safetensors"),
        ("controlnet", "control_v11p_sd15_normalbae_fp16.safetensors"),
    ):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        (folder / kind / name).write_bytes(b"")
    provide_views(server)
    return server


def with_small_models(prompt: dict) -> dict:
    """The prompt with each loader's checkpoint replaced by a small one of the same kind."""
    prompt = copy.deepcopy(prompt)
    for node in prompt.values():
        if node["class_type"] == "LotusGeoLoadModel":
            kind = "ensemble" if "-g-" in node["inputs"]["model"] else "normal"
            kind = kind if "normal" in node["inputs"]["model"] or kind == "ensemble" else "depth"
            node["inputs"]["model"] = STAND_INS[kind]
        if "working_size" in node["inputs"]:
            resolution = RESOLUTION if takes_views(prompt) else 96  # views of 96 pixels don't fit together
            node["inputs"] |= {"working_size": "custom", "resolution": resolution}
    return prompt


def takes_views(prompt: dict) -> bool:
    """Whether a graph fuses the rendered views, rather than looking at the photograph."""
    return any(node["class_type"] == "LotusGeoFuseViews" for node in prompt.values())


def upto_controlnet(prompt: dict) -> dict:
    """The part of a graph that feeds the ControlNet's image input, ending in a preview of it."""
    apply = next(node for node in prompt.values() if node["class_type"] == "ControlNetApplyAdvanced")
    wanted, kept = [apply["inputs"]["image"][0]], {}
    while wanted:
        node_id = wanted.pop()
        kept[node_id] = prompt[node_id]
        wanted += [value[0] for value in prompt[node_id]["inputs"].values() if isinstance(value, list)]
    return kept | {"hint": {"class_type": "PreviewImage", "inputs": {"images": apply["inputs"]["image"]}}}


def load(path: Path, server: ComfyServer) -> dict:
    workflow = json.loads(path.read_text(encoding="utf-8"))
    for name in input_images(workflow):
        server.api.upload_image(name, PHOTO.read_bytes())
    provide_videos(server.api, workflow, height=96, width=128)
    return workflow_to_prompt(workflow, server.api.object_info())


@pytest.mark.parametrize("path", OF_PICTURES, ids=lambda path: path.stem)
def test_workflow_runs_to_its_last_image(models: ComfyServer, path: Path) -> None:
    prompt = with_small_models(load(path, models))
    if any(node["class_type"] == "ControlNetApplyAdvanced" for node in prompt.values()):
        prompt = upto_controlnet(prompt)
    count, size = 1, (640, 480)  # the photograph's own
    if takes_views(prompt):
        need_package(models.checkout, "skimage")
        count, height, width, _ = pictures().shape
        size = (width, height)
    run = models.api.queue(prompt)
    assert run.error is None, run.error
    assert run.succeeded
    ends = [node for node in prompt if prompt[node]["class_type"] in ("SaveImage", "PreviewImage")]
    assert ends
    for node in ends:
        shown = models.api.images(run, node)
        assert len(shown) == count
        for picture in shown:
            with Image.open(io.BytesIO(picture)) as image:
                assert image.size == size
                assert np.asarray(image).std() > 5


@pytest.mark.parametrize("path", OF_VIDEOS, ids=lambda path: path.stem)
def test_video_workflow_runs_to_a_video_that_plays(models: ComfyServer, path: Path, tmp_path: Path) -> None:
    run = models.api.queue(with_small_models(load(path, models)))
    assert run.error is None, run.error
    [entry] = [shown for output in run.outputs.values() for shown in output.get("images", [])]
    made = tmp_path / entry["filename"]
    made.write_bytes(models.api.file(entry))
    with VideoReader(made) as reader:
        frames = [frame.rgb for frame in reader.frames()]
    assert [frame.shape for frame in frames] == [(96, 128, 3)] * 10
    assert audio_packets(made)[0]
    assert np.stack(frames).std() > 5


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_is_valid_as_it_is_shared(models: ComfyServer, path: Path) -> None:
    """The whole graph passes the server's validation with the checkpoints that it names; it is not run."""
    prompt = load(path, models)
    photo = models.api.upload_image("photo.jpg", PHOTO.read_bytes())
    busy = models.api.submit(
        {
            "1": {"class_type": "LoadImage", "inputs": {"image": photo}},
            "2": {
                "class_type": "ProbeWork",
                "inputs": {
                    "image": ["1", 0],
                    "mode": "work",
                    "seed": WORKFLOWS.index(path),
                    "steps": 600,
                    "seconds_per_step": 0.1,
                    "show": True,
                },
            },
            "3": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
        }
    )
    waiting = models.api.submit(prompt)  # raises PromptRejectedError with what the server objects to
    models.api.post_json("/queue", {"delete": [waiting]})

    def stop(message: Message) -> None:
        if message.type == "progress":  # before its first step an interrupt would be forgotten
            models.api.interrupt()

    assert models.api.wait(busy, on_message=stop).interrupted


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_is_offered_as_a_template_with_its_picture(server: ComfyServer, path: Path) -> None:
    assert path.stem in server.api.get_json("/workflow_templates")["lotus-geometry"]
    picture = server.api.request(f"/api/workflow_templates/lotus-geometry/{path.stem}.jpg")
    with Image.open(io.BytesIO(picture)) as image:
        assert min(image.size) >= 256


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_loaders_say_where_missing_models_are(path: Path) -> None:
    for node in json.loads(path.read_text(encoding="utf-8"))["nodes"]:
        if node["type"] in ("LotusGeoLoadModel", "CheckpointLoaderSimple", "ControlNetLoader"):
            for model in node["properties"]["models"]:
                assert set(model) >= {"name", "url", "directory"}
                assert model["url"].startswith("https://")
