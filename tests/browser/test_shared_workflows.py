"""Every shared workflow opens in ComfyUI's frontend as its author saved it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.nodes.host.shared_files import provide_images, read_workflow, workflow_parameters
from tests.nodes.host.workflow import workflow_to_prompt

if TYPE_CHECKING:
    from tests.browser.frontend import Frontend

pytestmark = pytest.mark.browser

SCREENSHOT_VARIABLE = "BROWSER_SCREENSHOTS"
"""A folder: when set, a picture of each opened workflow is saved there, by version and name."""


@pytest.mark.parametrize("path", workflow_parameters())
def test_workflow_opens_with_no_missing_node_and_no_console_error(frontend: Frontend, path: Path) -> None:
    workflow = read_workflow(path)
    provide_images(frontend.server.api, workflow)
    nodes = frontend.open(workflow)
    folder = os.environ.get(SCREENSHOT_VARIABLE)
    if folder:
        frontend.screenshot(Path(folder) / frontend.server.checkout.version / f"{path.stem}.png")
    assert [node.type for node in nodes if not node.known] == []
    flagged = [node.type for node in nodes if node.flagged and node.type.startswith("LotusGeo")]
    assert set(flagged) <= {
        "LotusGeoLoadModel"
    }  # newer frontends frame a loader whose file is not on disk yet
    linked = {
        str(node["id"]): {slot["name"] for slot in node.get("inputs") or [] if slot.get("link") is not None}
        for node in workflow["nodes"]
    }
    assert {node.id: set(node.linked) for node in nodes} == linked
    assert frontend.errors == []
    assert frontend.alerts() == []


@pytest.mark.parametrize("path", workflow_parameters())
def test_workflow_is_read_by_the_tests_as_by_the_frontend(frontend: Frontend, path: Path) -> None:
    workflow = read_workflow(path)
    provide_images(frontend.server.api, workflow)
    frontend.open(workflow)
    ours = workflow_to_prompt(workflow, frontend.server.api.object_info())
    assert without_viewer_pictures(ours) == without_viewer_pictures(frontend.prompt())


def without_viewer_pictures(prompt: dict[str, dict]) -> dict[str, dict]:
    """The prompt without what viewers and previews show, which only the frontend sends along."""
    shown = {"Preview3D": "image", "PreviewAny": "preview", "LoadVideo": "video-preview"}
    return {
        node_id: node
        | {
            "inputs": {
                name: value for name, value in node["inputs"].items() if name != shown.get(node["class_type"])
            }
        }
        for node_id, node in prompt.items()
    }
