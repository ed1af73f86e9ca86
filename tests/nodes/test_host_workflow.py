"""Saved workflows turned into prompts, on small hand-written cases."""

from __future__ import annotations

from typing import Any

import pytest

from tests.nodes.host.workflow import WorkflowError, input_images, input_videos, workflow_to_prompt

SAMPLER = {
    "input": {
        "required": {
            "model": ["MODEL", {}],
            "seed": ["INT", {"default": 0, "control_after_generate": True}],
            "steps": ["INT", {"default": 20}],
            "sampler": [["euler", "ddim"], {}],
        },
        "optional": {
            "mask": ["MASK"],
            "strength": ["FLOAT", {"default": 1.0}],
            "name": ["STRING", {"default": "x", "forceInput": True}],
            "mode": ["COMBO", {"options": ["a", "b"], "default": "b"}],
        },
    }
}
LOADER = {"input": {"required": {"file": [["m.safetensors"]]}}}
LOAD_IMAGE = {"input": {"required": {"image": [["a.png", "b.png"], {"image_upload": True}]}}}
PREVIEW_3D = {
    "input": {"required": {"model_file": ["STRING", {"default": ""}]}, "optional": {"camera": ["CAM"]}}
}
INFO = {"Sampler": SAMPLER, "Loader": LOADER, "LoadImage": LOAD_IMAGE, "Preview3D": PREVIEW_3D}


def node(
    node_id: int, kind: str, values: Any = None, links: dict[str, int | None] | None = None, **more: Any
) -> dict:
    sockets = [{"name": name, "type": "*", "link": link} for name, link in (links or {}).items()]
    return {"id": node_id, "type": kind, "mode": 0, "inputs": sockets, "widgets_values": values, **more}


def convert(*nodes: dict, links: list[Any] | None = None, **more: Any) -> dict:
    return workflow_to_prompt({"nodes": list(nodes), "links": links or [], **more}, INFO)


def test_widget_values_are_named_in_schema_order_and_the_seed_control_is_dropped() -> None:
    sampler = node(2, "Sampler", [7, "randomize", 30, "ddim", 0.5, "a"], {"model": 1})
    prompt = convert(node(1, "Loader", ["m.safetensors"]), sampler, links=[[1, 1, 0, 2, 0, "MODEL"]])
    assert prompt["1"] == {"class_type": "Loader", "inputs": {"file": "m.safetensors"}}
    assert prompt["2"] == {
        "class_type": "Sampler",
        "inputs": {
            "model": ["1", 0],
            "seed": 7,
            "steps": 30,
            "sampler": "ddim",
            "strength": 0.5,
            "mode": "a",
        },
    }


def test_link_takes_the_place_of_a_widgets_value() -> None:
    sampler = node(2, "Sampler", [7, "fixed", 30, "ddim", 0.5, "a"], {"steps": 4})
    prompt = convert(node(1, "Loader", ["m.safetensors"]), sampler, links=[[4, 1, 3, 2, 0, "INT"]])
    assert prompt["2"]["inputs"]["steps"] == ["1", 3]
    assert prompt["2"]["inputs"]["sampler"] == "ddim"


def test_optional_socket_without_link_is_left_out() -> None:
    prompt = convert(node(2, "Sampler", [7, "fixed", 30, "ddim", 0.5, "a"], {"mask": None}))
    assert "mask" not in prompt["2"]["inputs"]
    assert "name" not in prompt["2"]["inputs"]


def test_widgets_newer_than_the_file_get_their_defaults() -> None:
    prompt = convert(node(2, "Sampler", [7, "fixed", 30]))
    assert prompt["2"]["inputs"] == {"seed": 7, "steps": 30, "sampler": "euler", "strength": 1.0, "mode": "b"}


def test_widget_values_saved_by_name_are_taken_by_name() -> None:
    prompt = convert(node(2, "Sampler", {"steps": 3, "mode": "a"}))
    assert prompt["2"]["inputs"] == {"seed": 0, "steps": 3, "sampler": "euler", "strength": 1.0, "mode": "a"}


def test_upload_button_of_load_image_is_no_input() -> None:
    assert convert(node(1, "LoadImage", ["b.png", "image"]))["1"]["inputs"] == {"image": "b.png"}


def test_the_picture_of_preview_3ds_viewer_is_sent_along_as_the_frontend_does() -> None:
    inputs = convert(node(1, "Preview3D", ["mesh.glb", ""]))["1"]["inputs"]
    assert inputs == {"model_file": "mesh.glb", "image": ""}


def test_links_in_object_form_are_read() -> None:
    link = {"id": 9, "origin_id": 1, "origin_slot": 2, "target_id": 2, "target_slot": 0, "type": "MODEL"}
    prompt = convert(node(1, "Loader", ["m"]), node(2, "Sampler", [], {"model": 9}), links=[link])
    assert prompt["2"]["inputs"]["model"] == ["1", 2]


def test_reroutes_are_followed_to_their_source() -> None:
    prompt = convert(
        node(1, "Loader", ["m"]),
        node(5, "Reroute", None, {"": 1}),
        node(6, "Reroute", None, {"": 2}),
        node(2, "Sampler", [], {"model": 3}),
        links=[[1, 1, 0, 5, 0, "*"], [2, 5, 0, 6, 0, "*"], [3, 6, 0, 2, 0, "*"]],
    )
    assert set(prompt) == {"1", "2"}
    assert prompt["2"]["inputs"]["model"] == ["1", 0]


def test_reroute_with_nothing_on_it_is_an_error() -> None:
    reroute = node(5, "Reroute", None, {"": None})
    with pytest.raises(WorkflowError, match=r"node 5 \(Reroute\) has nothing on its input"):
        convert(reroute, node(2, "Sampler", [], {"model": 3}), links=[[3, 5, 0, 2, 0, "*"]])


def test_primitive_node_becomes_its_value() -> None:
    primitive = node(3, "PrimitiveNode", [42, "fixed"])
    prompt = convert(primitive, node(2, "Sampler", [7], {"steps": 1}), links=[[1, 3, 0, 2, 1, "INT"]])
    assert set(prompt) == {"2"}
    assert prompt["2"]["inputs"]["steps"] == 42


def test_comments_are_dropped() -> None:
    assert set(
        convert(node(1, "Note", ["text"]), node(2, "MarkdownNote", ["*"]), node(3, "Loader", ["m"]))
    ) == {"3"}


@pytest.mark.parametrize(("mode", "word"), [(2, "muted"), (4, "bypassed"), (1, "in mode 1")])
def test_node_that_would_not_run_is_an_error(mode: int, word: str) -> None:
    with pytest.raises(
        WorkflowError, match=rf"node 1 \(Loader\) is {word}: a shared workflow runs every node"
    ):
        convert(node(1, "Loader", ["m"]) | {"mode": mode})


def test_unknown_node_type_is_an_error() -> None:
    with pytest.raises(WorkflowError, match=r"node 1 \(Absent\) is not a node type of this server"):
        convert(node(1, "Absent"))


def test_subgraph_is_an_error() -> None:
    definitions = {"subgraphs": [{"id": "c7d3-21"}]}
    with pytest.raises(WorkflowError, match=r"node 1 \(c7d3-21\) is a subgraph"):
        convert(node(1, "c7d3-21"), definitions=definitions)


def test_more_values_than_widgets_is_an_error_that_lists_both() -> None:
    with pytest.raises(
        WorkflowError, match=r"saves 2 widget values \['m', 'n'\], its schema has 1: \['file'\]"
    ):
        convert(node(1, "Loader", ["m", "n"]))


def test_input_images_are_listed_once_in_order() -> None:
    nodes = [node(i, "LoadImage", [name, "image"]) for i, name in enumerate(["b.png", "a.png", "b.png"])]
    assert input_images({"nodes": [node(9, "Loader", ["m"]), *nodes]}) == ["b.png", "a.png"]


def test_input_videos_are_listed_apart_from_images() -> None:
    nodes = [node(1, "LoadVideo", ["a.mp4", "image"]), node(2, "LoadImage", ["b.png", "image"])]
    assert input_videos({"nodes": nodes}) == ["a.mp4"]
    assert input_images({"nodes": nodes}) == ["b.png"]
