"""Cancel on a real server: within one picture, between the stages, and with a clean run afterwards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.nodes.batches import estimate, maps, write_frames
from tests.nodes.host.checkouts import Checkout
from tests.nodes.host.process import ComfyServer, run_inside
from tests.nodes.test_pack import DEPTH, NORMAL

pytestmark = pytest.mark.comfy

FRAMES = 60
INSIDE = Path(__file__).parent / "inside"


def cancelled_at(server: ComfyServer, graph: dict, count: int) -> object:
    """The run of a graph that is cancelled once `count` maps are reported."""

    def watch(message: object) -> None:
        if message.type == "progress" and message.data["value"] == count:
            server.api.interrupt()

    return server.api.wait(server.api.submit(graph), on_message=watch)


@pytest.mark.parametrize("at", [1, 3])
def test_a_batch_stops_within_a_few_pictures(server: ComfyServer, at: int) -> None:
    file = write_frames(server, FRAMES, 96, 96, seed=at)
    graph = estimate("LotusGeoDepth", {"lotus_model": DEPTH}, file, resolution=96, batch_size=1)
    run = cancelled_at(server, graph, at)
    assert run.interrupted
    assert run.error is None
    done = [value for value, _ in run.progress("run")]
    assert at <= done[-1] < at + 20, "HTTP takes its time, but not that of the whole batch"
    assert run.progress("run")[-1][1] == FRAMES
    assert "maps" not in run.outputs


def test_the_run_after_a_cancelled_one_is_clean(server: ComfyServer) -> None:
    file = write_frames(server, FRAMES, 64, 64, seed=9)
    models = {"depth_model": DEPTH, "normal_model": NORMAL}
    graph = estimate("LotusGeoJoint", models, file, batch_size=1)
    assert cancelled_at(server, graph, 2).interrupted
    small = write_frames(server, 3, 64, 64, seed=10)
    again = server.api.queue(estimate("LotusGeoJoint", models, small, batch_size=1))
    reference = server.api.queue(estimate("LotusGeoJoint", models, small, batch_size=3))
    found, expected = maps(server, again), maps(server, reference)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, atol=1e-5, err_msg=name)


def test_progress_counts_pictures_and_shows_each(server: ComfyServer) -> None:
    file = write_frames(server, 5, 64, 64, seed=11)
    run = server.api.queue(estimate("LotusGeoNormal", {"lotus_model": NORMAL}, file, batch_size=1))
    values = run.progress("run")
    assert values[0] == (1, 5)
    assert values[-1] == (5, 5)
    assert [value for value, _ in values] == sorted({value for value, _ in values})
    assert len(run.previews) == 5
    assert len({preview.image for preview in run.previews}) == 5, "each shows its own picture"


@pytest.fixture(scope="module")
def stops(checkout: Checkout) -> dict:
    return run_inside(checkout, INSIDE / "interrupts.py")


@pytest.mark.parametrize(("stage", "computed"), [("encode", ["encode"]), ("denoise", ["encode", "denoise"])])
def test_a_stop_during_one_stage_keeps_the_next_from_starting(stops, stage, computed):
    found = stops["during"][stage]
    assert found["computed"] == computed
    assert found["raised"] == "InterruptProcessingException"


def test_a_stop_between_chunks_keeps_the_next_chunk_from_starting(stops):
    found = stops["during"]["decode"]
    assert found["computed"] == ["encode", "denoise", "decode"]
    assert found["raised"] == "InterruptProcessingException"


def test_a_stop_reaches_a_vae_that_works_in_strips(stops):
    assert stops["strips"]["raised"] == "InterruptProcessingException"
    assert stops["strips"]["layers"] == 5


def test_after_a_stop_nothing_is_interrupted_any_more(stops):
    assert stops["clean_after"]
