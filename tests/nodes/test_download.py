"""Choosing a checkpoint that is not on disk: fetched once, with progress, stopped by Cancel, never asked for again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.loading.hub_server import Fault, HubServer, Repository, serving
from tests.nodes.host.checkouts import Checkout
from tests.nodes.host.process import ComfyServer
from tests.nodes.test_pack import graph
from tests.small_models import published_files

pytestmark = pytest.mark.comfy

NAME = "lotus-depth-d-v2-0-disparity"


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with serving() as running:
        running.repositories[f"jingheya/{NAME}"] = Repository(published_files())
        yield running


@pytest.fixture
def own_server(checkout: Checkout, hub: HubServer, tmp_path: Path) -> Iterator[ComfyServer]:
    environment = {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(tmp_path),
        "HF_HUB_OFFLINE": "0",
        "LOTUS_HOME": "",
    }
    with ComfyServer(checkout, environment=environment) as running:
        yield running


def weights(server: ComfyServer) -> set[str]:
    folder = server.base / "models" / "lotus"
    return {path.name for path in folder.glob("*.safetensors")} if folder.is_dir() else set()


def test_a_checkpoint_is_fetched_once_and_a_cancelled_fetch_goes_on(
    own_server: ComfyServer, hub: HubServer
) -> None:
    api = own_server.api
    prompt = graph(own_server, "LotusGeoDepth", {"lotus_model": f"{NAME} [download 3.8 GB]"})
    hub.faults.append(Fault("cdn", "slow", pause=0.05))
    started = api.submit(prompt)
    cancel = threading.Thread(target=lambda: (_wait_for_bytes(hub), api.interrupt()))
    cancel.start()
    cancelled = api.wait(started)
    cancel.join()
    assert cancelled.interrupted
    assert cancelled.error is None
    assert f"{NAME}.safetensors" not in weights(own_server)

    hub.faults.clear()
    run = api.queue(prompt)
    assert run.error is None, (run.error["exception_message"], run.error["traceback"][-6:])
    assert len(run.progress("load0")) >= 1
    assert f"{NAME}.safetensors" in weights(own_server)

    assert not hub.asked("text_encoder")  # ComfyUI carries the empty prompt's embedding itself
    asked = len(hub.requests)
    again = api.queue(graph(own_server, "LotusGeoDepth", {"lotus_model": NAME}, resolution=72))
    assert again.error is None, again.error
    assert len(hub.requests) == asked
    labels = api.object_info("LotusGeoLoadModel")["input"]["required"]["model"][1]["options"]
    assert NAME in labels


def _wait_for_bytes(hub: HubServer) -> None:
    deadline = time.monotonic() + 60
    while hub.body_bytes < 200_000 and time.monotonic() < deadline:
        time.sleep(0.02)
