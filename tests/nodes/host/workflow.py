"""A workflow as the frontend saves it, turned into the prompt that the server runs.

The saved form keeps widget values as a bare list in the order of the node's widgets, with values of widgets
that exist only in the frontend between them. What the frontend itself makes of the same file is the judge: the
browser tests compare both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .api import Prompt

WIDGET_TYPES = frozenset({"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"})
IMAGE_LOADERS = frozenset({"LoadImage", "LoadImageMask"})
VIDEO_LOADERS = frozenset({"LoadVideo"})
COMMENT_NODES = frozenset({"Note", "MarkdownNote"})
UPLOAD_OPTIONS = ("image_upload", "animated_image_upload", "video_upload", "audio_upload")
"""Options of a combo that make the frontend add an upload button, saved as one more value."""

VIEWER_NODES = frozenset({"Preview3D", "Preview3DAnimation", "SaveGLB"})
"""Nodes to which the frontend adds a viewer, saved as one more value after all others."""


class WorkflowError(Exception):
    """A saved workflow that can't be turned into a prompt, and why."""


@dataclass(frozen=True)
class _Link:
    source_id: str
    source_slot: int


def workflow_to_prompt(workflow: Mapping[str, Any], object_info: Mapping[str, Any]) -> Prompt:
    """The prompt of a saved workflow, given the schemas of the server that will run it.

    Comments are dropped, reroutes followed and primitive nodes replaced by their value. WorkflowError for a
    node type that the server doesn't have, a muted or bypassed node, a subgraph, and widget values that don't
    fit the schema.
    """
    nodes = {str(node["id"]): node for node in workflow["nodes"]}
    links = dict(_read_links(workflow.get("links", [])))
    prompt: Prompt = {}
    for node_id, node in nodes.items():
        kind = node["type"]
        if kind in COMMENT_NODES or kind in ("Reroute", "PrimitiveNode"):
            continue
        _require_runnable(node, workflow, object_info)
        inputs = _widget_inputs(node, object_info[kind])
        for socket in node.get("inputs") or []:
            if socket.get("link") is not None:
                inputs[socket["name"]] = _resolve(links[socket["link"]], nodes, links)
        prompt[node_id] = {"class_type": kind, "inputs": inputs}
    return prompt


def input_images(workflow: Mapping[str, Any]) -> list[str]:
    """Names of the files in the input folder that a workflow's image loaders read, each once, in order."""
    return _input_files(workflow, IMAGE_LOADERS)


def input_videos(workflow: Mapping[str, Any]) -> list[str]:
    """Names of the files in the input folder that a workflow's video loaders read, each once, in order."""
    return _input_files(workflow, VIDEO_LOADERS)


def _input_files(workflow: Mapping[str, Any], kinds: frozenset[str]) -> list[str]:
    loaders = (node for node in workflow["nodes"] if node["type"] in kinds)
    return list(dict.fromkeys(node["widgets_values"][0] for node in loaders))


def _require_runnable(
    node: Mapping[str, Any], workflow: Mapping[str, Any], object_info: Mapping[str, Any]
) -> None:
    name = f"node {node['id']} ({node['type']})"
    subgraphs = {graph["id"] for graph in (workflow.get("definitions") or {}).get("subgraphs", [])}
    if node["type"] in subgraphs:
        raise WorkflowError(f"{name} is a subgraph: expand it before saving")
    if node.get("mode", 0) != 0:
        state = {2: "muted", 4: "bypassed"}.get(node["mode"], f"in mode {node['mode']}")
        raise WorkflowError(f"{name} is {state}: a shared workflow runs every node")
    if node["type"] not in object_info:
        raise WorkflowError(f"{name} is not a node type of this server")


def _read_links(links: list[Any]) -> Iterator[tuple[int, _Link]]:
    """Links in both saved forms: [id, source, slot, target, slot, type] and, newer, an object."""
    for link in links:
        if isinstance(link, Mapping):
            yield link["id"], _Link(str(link["origin_id"]), link["origin_slot"])
        else:
            yield link[0], _Link(str(link[1]), link[2])


def _resolve(link: _Link, nodes: Mapping[str, Any], links: Mapping[int, _Link]) -> Any:
    """What a linked input becomes: [node id, output slot], or the value of a primitive node."""
    source = nodes[link.source_id]
    while source["type"] == "Reroute":
        upstream = source["inputs"][0]["link"]
        if upstream is None:
            raise WorkflowError(f"node {source['id']} (Reroute) has nothing on its input")
        link = links[upstream]
        source = nodes[link.source_id]
    if source["type"] == "PrimitiveNode":
        return source["widgets_values"][0]
    return [link.source_id, link.source_slot]


def _widget_inputs(node: Mapping[str, Any], info: Mapping[str, Any]) -> dict[str, Any]:
    """Value of every widget of a node; a widget that the file doesn't have yet gets its default."""
    saved = node.get("widgets_values") or []
    widgets = list(_widgets(node["type"], info))
    if isinstance(saved, Mapping):
        return {name: saved.get(name, default) for name, default in widgets if name is not None}
    if len(saved) > len(widgets):
        names = [name or "(frontend only)" for name, _ in widgets]
        raise WorkflowError(
            f"node {node['id']} ({node['type']}) saves {len(saved)} widget values {list(saved)}, "
            f"its schema has {len(widgets)}: {names}"
        )
    inputs: dict[str, Any] = {}
    for place, (name, default) in enumerate(widgets):
        if name is not None:
            inputs[name] = saved[place] if place < len(saved) else default
    return inputs


def _widgets(kind: str, info: Mapping[str, Any]) -> Iterator[tuple[str | None, Any]]:
    """(input name, default) of each widget in saved order; the name is None for the frontend's own widgets."""
    for category in ("required", "optional"):
        uploads = 0
        for name, spec in info["input"].get(category, {}).items():
            options = spec[1] if len(spec) > 1 else {}
            widget_type = _widget_type(spec[0], options)
            if widget_type is None:
                continue
            yield name, _default(spec[0], widget_type, options)
            if options.get("control_after_generate"):
                yield None, "fixed"
            uploads += any(options.get(option) for option in UPLOAD_OPTIONS)
        for _ in range(uploads):  # the frontend puts the button after all inputs of the category
            yield None, "image"
    if kind == "Preview3D":
        yield "image", ""  # the viewer's picture, which the frontend sends along
    elif kind in VIEWER_NODES:
        yield None, ""


def _widget_type(io_type: Any, options: Mapping[str, Any]) -> str | None:
    """The kind of widget of an input, None for one that is only a socket."""
    if isinstance(io_type, list):
        return "COMBO"
    if options.get("forceInput"):
        return None
    declared = options.get("widgetType", io_type)
    return declared if declared in WIDGET_TYPES else None


def _default(io_type: Any, widget_type: str, options: Mapping[str, Any]) -> Any:
    """What the frontend fills a new widget with."""
    if "default" in options:
        return options["default"]
    if widget_type == "COMBO":
        choices = io_type if isinstance(io_type, list) else options.get("options", [])
        return choices[0] if choices else None
    return {"INT": 0, "FLOAT": 0, "STRING": "", "BOOLEAN": False}[widget_type]
