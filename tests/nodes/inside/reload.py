"""Loads a checkpoint as the loader node does, asks for it again, and reports the seconds each took.

Two arguments: a checkpoint's folder, and how often it is asked for again.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import folder_paths
import pack

module = partial(pack.module, pack.load_pack())
folders, load = module("nodes.folders"), module("nodes.load")
checkpoint = Path(sys.argv[1])
folders.register()
paths, extensions = folder_paths.folder_names_and_paths[folders.FOLDER]
folder_paths.folder_names_and_paths[folders.FOLDER] = ([str(checkpoint.parent), *paths], extensions)


def ask() -> tuple[float, Any]:
    """Seconds of the loader node, and its model."""
    started = time.perf_counter()
    model = load.LoadLotusModel.execute(checkpoint.name, "fp32", "depth").args[0]
    return time.perf_counter() - started, model


first, model = ask()
again = [ask() for _ in range(int(sys.argv[2]))]
pack.report({"first": first, "again": [s for s, _ in again], "same": all(m is model for _, m in again)})
