"""What a test asks the running process: its memory, the models it holds, torch's global settings."""

from __future__ import annotations

import gc
import sys
from typing import Any

import comfy.model_management as mm
import psutil
from aiohttp import web
from server import PromptServer

from .torch_settings import torch_settings


def register_route() -> None:
    """Serve `process_state` as GET /probe/state."""

    @PromptServer.instance.routes.get("/probe/state")
    async def answer(request: web.Request) -> web.Response:
        return web.json_response(process_state())


def process_state() -> dict[str, Any]:
    """Resident bytes, loaded models in ComfyUI's order, torch's global settings, and modules imported."""
    gc.collect()
    return {
        "resident_bytes": psutil.Process().memory_info().rss,
        "models": [_model_state(loaded) for loaded in mm.current_loaded_models if loaded.model is not None],
        "torch": torch_settings(),
        "modules": sorted({name.split(".")[0] for name in sys.modules if not name.startswith("/")}),
    }


def _model_state(loaded: Any) -> dict[str, Any]:
    """One entry of ComfyUI's list: the module's class and identity, its bytes in all and on its device."""
    module = loaded.model.model
    return {
        "class": type(module).__name__,
        "identity": id(module),
        "bytes": loaded.model_memory(),
        "loaded_bytes": loaded.model_loaded_memory(),
        "device": str(loaded.device),
    }
