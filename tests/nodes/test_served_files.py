"""Templates, thumbnails, help pages and translations as a browser gets them from a real server."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.nodes.host.process import ComfyServer
from tests.nodes.host.shared_files import WORKFLOWS, read_workflow, workflow_parameters

pytestmark = pytest.mark.comfy

PACK = "lotus-geometry"
PREFIX = "LotusGeo"
LANGUAGES = ("en", "zh")


@pytest.fixture(scope="module")
def our_nodes(server: ComfyServer) -> dict[str, Any]:
    found = {name: info for name, info in server.api.object_info().items() if name.startswith(PREFIX)}
    assert found, server.log_tail()
    return found


def test_every_node_comes_from_this_pack(our_nodes: dict[str, Any]) -> None:
    assert {info["python_module"] for info in our_nodes.values()} == {f"custom_nodes.{PACK}"}


def test_workflows_are_listed_as_templates(server: ComfyServer) -> None:
    listed = server.api.get_json("/workflow_templates").get(PACK, [])
    assert sorted(listed) == [path.stem for path in WORKFLOWS]


@pytest.mark.parametrize("path", workflow_parameters())
def test_template_and_its_thumbnail_are_served(server: ComfyServer, path: Path) -> None:
    address = f"/api/workflow_templates/{PACK}/{path.stem}"
    assert server.api.get_json(f"{address}.json") == read_workflow(path)
    with Image.open(io.BytesIO(server.api.request(f"{address}.jpg"))) as thumbnail:
        assert thumbnail.format == "JPEG"
        assert min(thumbnail.size) >= 200


def test_every_node_has_a_help_page(server: ComfyServer, our_nodes: dict[str, Any]) -> None:
    for name in our_nodes:
        page = server.api.request(f"/extensions/{PACK}/docs/{name}.md").decode("utf-8")
        assert page.startswith("# "), f"{name}: a help page begins with a heading"
        for category in ("required", "optional"):
            for input_name in our_nodes[name]["input"].get(category, {}):
                assert input_name in page, f"{name}: the help page does not mention input {input_name}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_node_input_and_output_is_named_in_each_language(
    server: ComfyServer, our_nodes: dict[str, Any], language: str
) -> None:
    definitions = server.api.get_json("/i18n").get(language, {}).get("nodeDefs", {})
    for name, info in our_nodes.items():
        translated = definitions.get(name, {})
        assert translated.get("display_name"), f"{name} has no display_name in {language}"
        inputs = [*info["input"].get("required", {}), *info["input"].get("optional", {})]
        assert set(inputs) == set(translated.get("inputs", {})), f"inputs of {name} in {language}"
        slots = {str(slot) for slot in range(len(info["output"]))}
        # a version without sockets for 3D files leaves the last outputs out
        assert slots <= set(translated.get("outputs", {})), f"outputs of {name} in {language}"


def test_no_stray_script_is_loaded_into_the_frontend(server: ComfyServer) -> None:
    assert [path for path in server.api.get_json("/extensions") if f"/{PACK}/" in path] == []
