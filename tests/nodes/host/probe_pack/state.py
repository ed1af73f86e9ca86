"""What a test asks the running process: its memory, the models it holds, torch's global settings."""

from __future__ import annotations

import gc
import hashlib
import sys
from typing import Any

import comfy.model_management as mm
import psutil
import torch
from aiohttp import web
from server import PromptServer


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


def torch_settings() -> dict[str, Any]:
    """Everything global of torch that a node must leave as it found it."""
    return {
        "default_dtype": str(torch.get_default_dtype()),
        "default_device": str(torch.get_default_device()),
        "rng_state": hashlib.sha256(torch.random.get_rng_state().numpy().tobytes()).hexdigest(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "cudnn": [
            torch.backends.cudnn.enabled,
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.allow_tf32,
        ],
        "cuda_matmul_tf32": torch.backends.cuda.matmul.allow_tf32,
        "mkldnn": torch.backends.mkldnn.enabled,
        "sdp": [
            torch.backends.cuda.flash_sdp_enabled(),
            torch.backends.cuda.mem_efficient_sdp_enabled(),
            torch.backends.cuda.math_sdp_enabled(),
        ],
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
