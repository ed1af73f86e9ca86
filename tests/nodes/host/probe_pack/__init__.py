"""A custom node pack for tests only: exact arrays in and out of a graph, timed work, and the process's state."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comfy_api.latest import ComfyExtension


async def comfy_entrypoint() -> ComfyExtension:
    """The pack's nodes; its route is registered on the way."""
    from . import nodes, state

    state.register_route()
    return nodes.ProbeExtension()
