"""Lotus Geometry: ComfyUI's entry point. It imports nothing until ComfyUI asks for the nodes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .nodes.extension import LotusGeometryExtension

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> LotusGeometryExtension:
    """Return the pack's extension.

    Raises:
        Exception: Whatever stopped the import; logged with its traceback, of which ComfyUI prints none.
    """
    try:
        from .nodes.extension import LotusGeometryExtension
    except Exception:
        logging.getLogger("lotus_geometry").exception("Lotus Geometry could not be loaded")
        raise
    return LotusGeometryExtension()
