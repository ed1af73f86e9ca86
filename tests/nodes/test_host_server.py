"""The test harness itself, against the probe pack: what it reports must be what ComfyUI did."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tests.nodes.host.api import PromptRejectedError, RequestRefusedError
from tests.nodes.host.messages import Message
from tests.nodes.host.process import ComfyServer

pytestmark = pytest.mark.comfy


def png(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def gradient(height: int = 16, width: int = 24) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 10, y * 10, x + y], axis=-1).astype(np.uint8)


def work_prompt(file: str, **inputs: object) -> dict[str, dict]:
    defaults = {"mode": "work", "seed": 0, "steps": 2, "seconds_per_step": 0.0, "show": True}
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": file}},
        "2": {"class_type": "ProbeWork", "inputs": {"image": ["1", 0], **defaults, **inputs}},
        "3": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
    }


def test_server_reports_the_version_of_its_checkout(server: ComfyServer) -> None:
    stats = server.api.get_json("/system_stats")
    assert stats["system"]["comfyui_version"] == server.checkout.version


def test_uploaded_image_comes_back_inverted(server: ComfyServer) -> None:
    pixels = gradient()
    name = server.api.upload_image("gradient.png", png(pixels))
    run = server.api.queue(work_prompt(name, seed=1))
    assert run.succeeded
    assert run.error is None
    [shown] = server.api.images(run, "3")
    difference = np.asarray(Image.open(io.BytesIO(shown))).astype(int) - (255 - pixels)
    assert set(np.unique(difference)) <= {-1, 0}  # ComfyUI truncates 255 * x where it writes a PNG


def test_progress_and_previews_are_recorded_in_order(server: ComfyServer) -> None:
    name = server.api.upload_image("gradient.png", png(gradient()))
    run = server.api.queue(work_prompt(name, seed=2, steps=3))
    assert run.progress("2") == [(1, 3), (2, 3), (3, 3)]
    assert [preview.node_id for preview in run.previews] == ["2", "2", "2"]
    assert Image.open(io.BytesIO(run.previews[0].image)).size == (256, 171)  # scaled to the side asked for


def test_second_run_of_the_same_prompt_is_answered_from_the_cache(server: ComfyServer) -> None:
    name = server.api.upload_image("gradient.png", png(gradient()))
    first = server.api.queue(work_prompt(name, seed=3))
    second = server.api.queue(work_prompt(name, seed=3))
    assert "2" in first.executed
    assert second.executed == []
    assert {"1", "2"} <= second.cached
    assert second.outputs == {"3": first.outputs["3"]}  # the graph's end is told again, its inner node not


def test_failing_node_is_named_with_its_error(server: ComfyServer) -> None:
    name = server.api.upload_image("gradient.png", png(gradient()))
    run = server.api.queue(work_prompt(name, mode="fail", seed=4))
    assert not run.succeeded
    assert run.error is not None
    assert run.error["node_id"] == "2"
    assert run.error["exception_message"].strip() == "told to fail with seed 4"
    assert run.error["exception_type"].endswith("ProbeFailureError")


def test_interrupt_stops_a_run_at_its_next_step(server: ComfyServer) -> None:
    name = server.api.upload_image("gradient.png", png(gradient()))
    prompt_id = server.api.submit(work_prompt(name, seed=5, steps=200, seconds_per_step=0.05))

    def stop_at_first_progress(message: Message) -> None:
        if message.type == "progress" and message.data["value"] == 1:
            server.api.interrupt()

    run = server.api.wait(prompt_id, on_message=stop_at_first_progress)
    assert run.interrupted
    assert not run.succeeded
    assert len(run.progress("2")) < 100
    assert server.api.queue(work_prompt(name, seed=6)).succeeded


def test_rejected_prompt_says_which_node_and_why(server: ComfyServer) -> None:
    name = server.api.upload_image("gradient.png", png(gradient()))
    with pytest.raises(PromptRejectedError) as caught:
        server.api.submit(work_prompt(name, steps=0))
    assert caught.value.node_errors["2"]["errors"][0]["type"] == "value_smaller_than_min"
    assert caught.value.details("2") == ["steps"]
    assert caught.value.details("1") == []


def test_history_keeps_the_outputs_of_a_run(server: ComfyServer) -> None:
    name = server.api.upload_image("gradient.png", png(gradient()))
    run = server.api.queue(work_prompt(name, seed=7))
    kept = server.api.history(run.prompt_id)
    assert kept["status"]["status_str"] == "success"
    assert kept["outputs"]["3"] == run.outputs["3"]


def test_refused_request_names_its_address_and_status(server: ComfyServer) -> None:
    with pytest.raises(RequestRefusedError, match=r"^/view\?filename=absent\.png.* answered 404"):
        server.api.file({"filename": "absent.png", "subfolder": "", "type": "temp"})


def test_arrays_pass_through_a_graph_unchanged(server: ComfyServer) -> None:
    array = np.random.default_rng(0).normal(size=(2, 5, 7, 3)).astype(np.float32)
    array[0, 0, 0, 0] = np.nan
    np.save(server.base / "input" / "exact.npy", array)
    prompt = {
        "1": {"class_type": "ProbeLoadArray", "inputs": {"file": "exact.npy"}},
        "2": {"class_type": "ProbeSaveArray", "inputs": {"value": ["1", 0], "name": "exact"}},
    }
    run = server.api.queue(prompt)
    with np.load(io.BytesIO(server.api.file(run.outputs["2"]["arrays"][0]))) as saved:
        assert saved["value"].dtype == np.float32
        assert np.array_equal(saved["value"], array, equal_nan=True)


def test_state_describes_the_server_process(server: ComfyServer) -> None:
    state = server.state()
    assert state["resident_bytes"] > 100e6
    assert state["torch"]["default_dtype"] == "torch.float32"
    assert "torch" in state["modules"]
    assert state["models"] == []
