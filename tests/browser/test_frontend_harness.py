"""The browser harness itself: it must see what is wrong with a page, or its silence proves nothing."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from tests.nodes.host.workflow import workflow_to_prompt

if TYPE_CHECKING:
    from tests.browser.frontend import Frontend

pytestmark = pytest.mark.browser

PROBE = json.loads((Path(__file__).parent / "data" / "probe.json").read_text(encoding="utf-8"))


@pytest.fixture
def probe(frontend: Frontend) -> dict[str, Any]:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(file, "PNG")
    frontend.server.api.upload_image("probe.png", file.getvalue())
    return copy.deepcopy(PROBE)


def test_sound_workflow_opens_with_known_nodes_and_no_error(frontend: Frontend, probe: dict) -> None:
    nodes = frontend.open(probe)
    assert {node.id: node.type for node in nodes} == {
        str(node["id"]): node["type"] for node in probe["nodes"]
    }
    assert all(node.known and not node.flagged for node in nodes)
    assert frontend.errors == []
    assert frontend.alerts() == []


def test_node_of_a_missing_pack_is_unknown(frontend: Frontend, probe: dict) -> None:
    probe["nodes"][2]["type"] = "NodeOfAMissingPack"
    unknown = [node.type for node in frontend.open(probe) if not node.known]
    assert unknown == ["NodeOfAMissingPack"]


def test_file_that_breaks_the_frontends_schema_is_alerted(frontend: Frontend, probe: dict) -> None:
    probe["id"] = "no UUID"
    frontend.open(probe)
    [alert] = frontend.alerts()
    assert "Invalid workflow against zod schema" in alert


def test_missing_input_picture_is_recorded(frontend: Frontend, probe: dict) -> None:
    probe["nodes"][0]["widgets_values"][0] = "never-uploaded.png"
    frontend.open(probe)
    assert frontend.errors
    assert all("404" in error and "never-uploaded.png" in error for error in frontend.errors)


def test_linked_inputs_are_those_of_the_file(frontend: Frontend, probe: dict) -> None:
    nodes = {node.id: node for node in frontend.open(probe)}
    assert set(nodes["2"].linked) == {"image", "mask", "steps"}


def test_console_errors_and_uncaught_exceptions_are_recorded(frontend: Frontend, probe: dict) -> None:
    frontend.open(probe)
    frontend.page.evaluate(
        "() => { console.error('first'); setTimeout(() => { throw new Error('second') }) }"
    )
    frontend.page.wait_for_timeout(50)
    assert [error.split(" (")[0] for error in frontend.errors] == ["first", "uncaught: second"]


def test_missing_file_of_the_server_is_recorded_but_not_one_of_another_host(
    frontend: Frontend, probe: dict
) -> None:
    frontend.open(probe)
    load = "url => fetch(url).catch(() => null)"
    frontend.page.evaluate(load, "https://example.com/model.json")
    frontend.page.evaluate(load, "/api/userdata/absent.json")
    assert frontend.errors == []
    frontend.page.evaluate(load, "/extensions/absent.js")
    frontend.page.wait_for_timeout(50)
    [error] = frontend.errors
    assert "404" in error
    assert "/extensions/absent.js" in error


def test_our_reading_of_a_workflow_is_the_frontends_own(frontend: Frontend, probe: dict) -> None:
    frontend.open(probe)
    ours = workflow_to_prompt(probe, frontend.server.api.object_info())
    assert ours == frontend.prompt()
    assert ours["2"]["inputs"]["steps"] == 4
    assert ours["2"]["inputs"]["image"] == ["1", 0]


def test_prompt_of_the_page_runs_on_its_server(frontend: Frontend, probe: dict) -> None:
    frontend.open(probe)
    assert frontend.server.api.queue(frontend.prompt()).succeeded


def test_screenshot_shows_the_page(frontend: Frontend, probe: dict, tmp_path: Path) -> None:
    frontend.open(probe)
    frontend.screenshot(tmp_path / "shots" / "probe.png")
    with Image.open(tmp_path / "shots" / "probe.png") as shot:
        assert shot.size == (1600, 1000)
        assert len(shot.convert("RGB").getcolors(maxcolors=1 << 24)) > 100
