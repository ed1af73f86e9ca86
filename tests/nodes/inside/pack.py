"""For scripts that run in ComfyUI's interpreter: load the node pack as ComfyUI does, and report a result.

A script beside this file imports it as ``pack``; the tests run it with ``run_inside``.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[3]


def load_pack(root: Path = REPOSITORY) -> str:
    """Import the pack in `root` under a name made from its path, as nodes.load_custom_node does; that name.

    Modules of the pack are then imported with ``module(name, "nodes.memory")``. The pack's folder is not put on
    ``sys.path``, where its ``nodes`` would hide ComfyUI's.
    """
    name = str(root).replace(".", "_x_")
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, root / "__init__.py")
        if spec is None or spec.loader is None:
            raise ImportError(f"{root} holds no package")
        package = importlib.util.module_from_spec(spec)
        sys.modules[name] = package
        spec.loader.exec_module(package)
    return name


def module(pack_name: str, path: str) -> ModuleType:
    """A module of a loaded pack by its dotted path below the root, such as ``lotus_core.types``."""
    return importlib.import_module(f"{pack_name}.{path}")


def report(value: Any) -> None:
    """Hand a JSON-able value back to the test."""
    Path(os.environ["INSIDE_REPORT"]).write_text(json.dumps(value), encoding="utf-8")
