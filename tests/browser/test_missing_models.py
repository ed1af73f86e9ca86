"""A shared workflow whose checkpoint is not on this machine: the frontend offers it, and Run still fetches it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.nodes.host.process import REPOSITORY
from tests.nodes.host.shared_files import provide_images, read_workflow

if TYPE_CHECKING:
    from tests.browser.frontend import Frontend

pytestmark = pytest.mark.browser

WORKFLOW = REPOSITORY / "workflows" / "lotus_depth.json"
FILE = "lotus-depth-d-v2-0-disparity.safetensors"


def open_workflow(frontend: Frontend) -> None:
    workflow = read_workflow(WORKFLOW)
    provide_images(frontend.server.api, workflow)
    frontend.open(workflow)


def test_the_missing_file_is_offered_by_its_name(frontend: Frontend) -> None:
    open_workflow(frontend)
    frontend.page.get_by_text(FILE).first.wait_for(timeout=10_000)


def test_run_sends_the_graph_all_the_same(frontend: Frontend) -> None:
    open_workflow(frontend)
    frontend.page.keyboard.press("Escape")
    sent: list[dict] = []

    def catch(route, request) -> None:
        sent.append(json.loads(request.post_data))
        route.fulfill(status=200, json={"prompt_id": "caught", "number": 1, "node_errors": {}})

    frontend.page.route("**/api/prompt", catch)
    frontend.page.evaluate("async () => { await window.app.queuePrompt(0, 1) }")
    frontend.page.unroute("**/api/prompt", catch)
    loaders = [node for node in sent[0]["prompt"].values() if node["class_type"] == "LotusGeoLoadModel"]
    assert [node["inputs"]["model"] for node in loaders] == [FILE]
