"""Lotus Load Views on a real server: which pictures, in which order, and from where."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.nodes.batches import Graph, maps
from tests.nodes.host.api import PromptRejectedError
from tests.nodes.host.process import ComfyServer
from tests.nodes.views import FOLDER, VIEWS, names, pictures, provide_views, write_transforms

pytestmark = pytest.mark.comfy


def load_graph(server: ComfyServer, **changes: object) -> Graph:
    provide_views(server)
    inputs = {"cameras": f"{FOLDER}/transforms.json", "max_side": 1024, "max_views": 100}
    return {
        "load": {"class_type": "LotusGeoLoadViews", "inputs": inputs | changes},
        "maps": {"class_type": "ProbeSaveArray", "inputs": {"value": ["load", 0], "name": "maps"}},
        "names": {"class_type": "PreviewAny", "inputs": {"source": ["load", 2]}},
    }


def loaded(server: ComfyServer, prompt: Graph) -> tuple[torch.Tensor, list[str]]:
    run = server.api.queue(prompt)
    return torch.from_numpy(maps(server, run)["value"]), run.outputs["names"]["text"][0].splitlines()


def failure(server: ComfyServer, prompt: Graph) -> str:
    run = server.api.queue(prompt)
    assert run.error is not None
    return run.error["exception_message"]


def test_every_picture_comes_sorted_by_name(server):
    batch, told = loaded(server, load_graph(server))
    assert told == names() == sorted(told)
    assert batch.shape == pictures().shape
    # JPEG is decoded by two libraries' rules here and there: two levels apart at most
    assert float((batch - pictures()).abs().max()) <= 2.5 / 255


def test_the_order_does_not_depend_on_the_file(server):
    path = write_transforms(server, FOLDER + "-turned", lambda data: data["frames"].reverse())
    for picture in VIEWS.glob("*.jpg"):
        shutil.copy(picture, server.base / "input" / (FOLDER + "-turned"))
    _, told = loaded(server, load_graph(server, cameras=path))
    assert told == names()


def test_a_folder_means_the_cameras_in_it_and_pictures_may_lie_in_images(server):
    def into_images(data: dict) -> None:
        for frame in data["frames"]:
            frame["file_path"] = f"./images/{frame['file_path']}"

    write_transforms(server, "studio", into_images)
    target = server.base / "input" / "studio" / "images"
    target.mkdir(exist_ok=True)
    for picture in VIEWS.glob("*.jpg"):
        shutil.copy(picture, target)
    batch, told = loaded(server, load_graph(server, cameras="studio"))
    assert batch.shape == pictures().shape
    assert [Path(name).name for name in told] == names()


def test_fewer_views_are_spread_evenly(server):
    batch, told = loaded(server, load_graph(server, max_views=2))
    assert told == [names()[0], names()[-1]]
    assert len(batch) == 2


def test_large_pictures_are_shrunk_to_the_longest_side(server):
    batch, _ = loaded(server, load_graph(server, max_side=96))
    height, width = pictures().shape[1:3]
    assert batch.shape[1:3] == (round(96 * height / width), 96)
    assert float(batch.mean()) == pytest.approx(float(pictures().mean()), abs=0.01)


@pytest.mark.parametrize("path", ["", "../input-twin/transforms.json", "/etc/hostname"])
def test_a_path_to_nothing_or_out_of_the_input_folder_is_refused(server, path):
    prompt = load_graph(server, cameras=path)
    if path == "":  # the input folder itself: it is there, but holds no cameras
        assert "COLMAP" in failure(server, prompt)
        return
    with pytest.raises(PromptRejectedError) as refused:
        server.api.submit(prompt)
    assert "ComfyUI's input folder" in refused.value.details("load")[0]


def test_a_name_that_leads_out_of_the_folder_finds_nothing(server):
    def outside(data: dict) -> None:
        data["frames"][0]["file_path"] = "../../outside.jpg"

    shutil.copy(next(VIEWS.glob("*.jpg")), server.base / "outside.jpg")
    path = write_transforms(server, "outward", outside)
    assert "outside.jpg is named by the cameras but is not in" in failure(
        server, load_graph(server, cameras=path)
    )


def test_a_missing_picture_is_told_by_name(server):
    path = write_transforms(server, "bare", lambda data: None)
    assert f"{names()[0]} is named by the cameras but is not in" in failure(
        server, load_graph(server, cameras=path)
    )


def test_pictures_of_two_sizes_are_told(server):
    path = write_transforms(server, "mixed", lambda data: None)
    folder = server.base / "input" / "mixed"
    for picture in VIEWS.glob("*.jpg"):
        shutil.copy(picture, folder)
    from PIL import Image

    with Image.open(folder / names()[0]) as image:
        image.resize((image.width // 2, image.height // 2)).save(folder / names()[0])
    height, width = pictures().shape[1:3]
    message = failure(server, load_graph(server, cameras=path))
    assert "a batch holds pictures of one size" in message
    assert f"{width // 2}x{height // 2}, {width}x{height}" in message


def test_a_picture_that_changed_on_disk_is_loaded_again(server):
    path = write_transforms(server, "living", lambda data: None)
    folder = server.base / "input" / "living"
    for picture in VIEWS.glob("*.jpg"):
        shutil.copy(picture, folder)
    before, _ = loaded(server, load_graph(server, cameras=path))
    shutil.copy(folder / names()[1], folder / names()[0])
    os.utime(folder / names()[0], (1e9, 1e9))
    after, _ = loaded(server, load_graph(server, cameras=path))
    assert not np.array_equal(before[0], after[0])
    assert np.array_equal(after[0], after[1])


def test_cameras_without_frames_are_told(server):
    path = write_transforms(server, "hollow", lambda data: data.update(frames=[]))
    assert json.loads((server.base / "input" / path).read_text(encoding="utf-8"))["frames"] == []
    assert "lists no frames" in failure(server, load_graph(server, cameras=path))
