"""What ComfyUI says over its WebSocket while a prompt runs."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from typing import Any

PREVIEW_IMAGE = 1
PREVIEW_IMAGE_WITH_METADATA = 4
"""Binary events, numbered as in ComfyUI's protocol.py."""


@dataclass(frozen=True)
class Message:
    """One JSON message: its type, such as ``progress`` or ``executed``, and its data."""

    type: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Preview:
    """One preview frame: the encoded image file, and the node that sent it (None from older protocols)."""

    image: bytes
    node_id: str | None


@dataclass
class Run:
    """Everything recorded of one prompt, from ``execution_start`` to its end.

    `outputs` maps a node's id to the ``ui`` dictionary it returned; nodes answered from the cache are in
    `cached`, nodes that ran, in order, in `executed`.
    """

    prompt_id: str
    messages: list[Message] = field(default_factory=list)
    previews: list[Preview] = field(default_factory=list)
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    executed: list[str] = field(default_factory=list)
    cached: set[str] = field(default_factory=set)
    error: dict[str, Any] | None = None
    interrupted: bool = False
    succeeded: bool = False

    def record(self, message: Message) -> bool:
        """Take one message in; True when it is the last of this prompt."""
        self.messages.append(message)
        data = message.data
        if message.type == "executed":
            self.outputs[data["node"]] = data["output"] or {}
        elif message.type == "execution_cached":
            self.cached.update(data["nodes"])
        elif message.type == "execution_success":
            self.succeeded = True
        elif message.type == "execution_error":
            self.error = data
        elif message.type == "execution_interrupted":
            self.interrupted = True
        elif message.type == "executing":
            if data["node"] is None:
                return True
            self.executed.append(data["node"])
        return False

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        """The data of every message of one type, in order."""
        return [message.data for message in self.messages if message.type == kind]

    def progress(self, node_id: str) -> list[tuple[float, float]]:
        """(value, maximum) of every progress message of one node, in order."""
        found = self.of_type("progress")
        return [(data["value"], data["max"]) for data in found if data["node"] == node_id]


def parse_preview(frame: bytes) -> Preview | None:
    """The preview in a binary WebSocket frame; None for other binary events.

    Big-endian: event (4 bytes); then for event 1 the image type (4 bytes) and the image, for event 4 the length
    of a JSON text (4 bytes), that text and the image.
    """
    event, second = struct.unpack(">II", frame[:8])
    if event == PREVIEW_IMAGE:
        return Preview(frame[8:], None)
    if event == PREVIEW_IMAGE_WITH_METADATA:
        metadata = json.loads(frame[8 : 8 + second])
        return Preview(frame[8 + second :], metadata["node_id"])
    return None
