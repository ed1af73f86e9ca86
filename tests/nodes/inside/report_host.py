"""Reports what a script in ComfyUI's interpreter sees: its modules, its device, and the pack's own names."""

from __future__ import annotations

import importlib.util
import sys

import comfy.model_management as mm
import comfyui_version
import pack

probe = pack.load_pack(pack.REPOSITORY / "tests" / "nodes" / "host" / "probe_pack")
pack.report(
    {
        "version": comfyui_version.__version__,
        "nodes": getattr(importlib.util.find_spec("nodes"), "origin", None),
        "device": str(mm.get_torch_device()),
        "arguments": sys.argv[1:],
        "probe": pack.module(probe, "nodes").__name__,
        "loaded_twice": pack.load_pack(pack.REPOSITORY / "tests" / "nodes" / "host" / "probe_pack") == probe,
    }
)
