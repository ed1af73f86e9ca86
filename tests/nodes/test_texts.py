"""Help pages and translations against what the nodes themselves declare, on a real server."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.nodes.host.process import REPOSITORY, ComfyServer

pytestmark = pytest.mark.comfy

CHINESE = re.compile(r"[\u4e00-\u9fff]")


@pytest.fixture(scope="module")
def nodes(server: ComfyServer) -> dict[str, Any]:
    found = {name: info for name, info in server.api.object_info().items() if name.startswith("LotusGeo")}
    assert found, server.log_tail()
    return found


def definitions(language: str) -> dict[str, Any]:
    path = REPOSITORY / "locales" / language / "nodeDefs.json"
    return json.loads(path.read_text(encoding="utf-8"))


def slots(info: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    """(group, key, tooltip) of every input and output of a node."""
    found = []
    for category in ("required", "optional"):
        for name, declared in info["input"].get(category, {}).items():
            found.append(("inputs", name, (declared[1] if len(declared) > 1 else {}).get("tooltip")))
    for number, tooltip in enumerate(info["output_tooltips"]):
        found.append(("outputs", str(number), tooltip))
    return found


def section(page: str, title: str) -> list[str]:
    """Names in the first column of the first table under a heading of a help page."""
    body = page.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0].strip().split("\n\n")[0]
    return re.findall(r"^\| `(\w+)`", body, flags=re.MULTILINE)


def test_english_repeats_what_the_nodes_say(nodes):
    texts = definitions("en")
    for node, info in nodes.items():
        assert texts[node]["display_name"] == info["display_name"]
        assert texts[node]["description"] == info["description"]
        for group, key, tooltip in slots(info):
            assert texts[node][group][key].get("tooltip") == tooltip, f"{node} {group} {key}"


def test_chinese_says_something_wherever_english_does(nodes):
    texts = definitions("zh")
    for node, info in nodes.items():
        assert CHINESE.search(texts[node]["display_name"])
        assert CHINESE.search(texts[node]["description"])
        for group, key, tooltip in slots(info):
            text = texts[node][group][key].get("tooltip")
            assert (text is None) == (tooltip is None), f"{node} {group} {key}"
            assert text is None or CHINESE.search(text), f"{node} {group} {key}"


def test_no_translation_is_left_of_a_node_that_is_gone(nodes):
    for language in ("en", "zh"):
        assert set(definitions(language)) == set(nodes)


def test_help_pages_list_exactly_the_inputs_and_outputs(nodes):
    for node, info in nodes.items():
        page = (REPOSITORY / "web" / "docs" / f"{node}.md").read_text(encoding="utf-8")
        lines = page.splitlines()
        assert lines[0] == f"# {info['display_name']}"
        assert section(page, "Inputs") == [
            name for group in ("required", "optional") for name in info["input"].get(group, {})
        ], node
        told = section(page, "Outputs")
        assert told[: len(info["output_name"])] == info["output_name"], node
        # file sockets come last; versions that have none leave them out
        assert all(name in ("glb", "ply") for name in told[len(info["output_name"]) :]), node
        assert "\n## Example\n" in page
        assert "\n## When it fails\n" in page


def test_help_pages_speak_of_workflows_that_exist(nodes):
    shipped = {path.stem for path in (REPOSITORY / "workflows").glob("*.json")}
    for node in nodes:
        page = (REPOSITORY / "web" / "docs" / f"{node}.md").read_text(encoding="utf-8")
        named = set(re.findall(r"template\s+`(\w+)`", page))
        assert named <= shipped, f"{node} names {named - shipped}"


def test_no_help_page_is_left_of_a_node_that_is_gone(nodes):
    assert {path.stem for path in (REPOSITORY / "web" / "docs").glob("*.md")} == set(nodes)
