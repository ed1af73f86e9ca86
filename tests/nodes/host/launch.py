"""Run a script of a ComfyUI checkout (by default ``main.py``) with its own interpreter.

ComfyUI imports torchvision and torchaudio at start-up, although a graph of still images calls neither.
Beside a CPU-only PyTorch, torchvision's wheel often lacks its compiled operators and torchaudio is absent.
This launcher puts the smallest stand-ins in place, only where the real thing is missing, then hands over::

    python launch.py CHECKOUT ARGUMENTS...
    python launch.py CHECKOUT --run SCRIPT ARGUMENTS... -- SCRIPT_ARGUMENTS...

The first runs ``main.py``. The second runs SCRIPT with the checkout first on ``sys.path`` and the script's own
folder last; ARGUMENTS configure ComfyUI as on its command line. This file is run by ComfyUI's Python, so it
imports nothing of this repository, and nothing heavy before ``main.py`` does: ComfyUI sets its environment up
before torch is imported.
"""

from __future__ import annotations

import importlib
import os
import runpy
import sys
import types
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

TORCHVISION_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
"""Operators that torchvision looks up while it is imported. Source: torchvision/_meta_registrations.py."""


class TorchvisionSchemas(MetaPathFinder):
    """Declares torchvision's operators just before its first import, if its compiled library does not load.

    The schemas let ``import torchvision`` succeed; calling one of the operators still raises, as it should.
    """

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        """Declare the schemas when torchvision is asked for; finding it is left to the usual finders."""
        if name == "torchvision":
            sys.meta_path.remove(self)
            self._declare_missing_operators()
        return None

    @staticmethod
    def _declare_missing_operators() -> None:
        spec = PathFinder.find_spec("torchvision")
        if spec is None or spec.origin is None:
            return
        torch = importlib.import_module("torch")
        for library_file in Path(spec.origin).parent.glob("_C.*"):
            try:
                torch.ops.load_library(str(library_file))
            except OSError:
                continue
            return
        library = torch.library.Library("torchvision", "DEF")
        for schema in TORCHVISION_SCHEMAS:
            library.define(schema)
        TorchvisionSchemas.library = library  # the schemas live as long as their Library object


class EmptyPackage(MetaPathFinder, Loader):
    """Finds a package that is not installed, and every submodule of it, as empty modules."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        """A spec of an empty package for the package's name and any name below it."""
        if name.split(".")[0] != self.package:
            return None
        return ModuleSpec(name, self, is_package=True)

    def exec_module(self, module: types.ModuleType) -> None:
        """Leave the module empty."""


def install_stand_ins() -> None:
    """Make ``import torchvision`` and ``import torchaudio`` succeed whatever is installed."""
    sys.meta_path.insert(0, TorchvisionSchemas())
    sys.meta_path.append(EmptyPackage("torchaudio"))  # last: an installed torchaudio is found before


def main(arguments: list[str]) -> None:
    """Prepare the interpreter and run the script that the arguments name."""
    checkout, rest = Path(arguments[0]).resolve(), arguments[1:]
    here = str(Path(__file__).resolve().parent)
    sys.path[:] = [str(checkout), *(entry for entry in sys.path if entry not in ("", here))]
    os.chdir(checkout)
    install_stand_ins()
    if rest[:1] != ["--run"]:
        sys.argv = [str(checkout / "main.py"), *rest]
        runpy.run_path(sys.argv[0], run_name="__main__")
        return
    script, rest = rest[1], rest[2:]
    split = rest.index("--") if "--" in rest else len(rest)
    sys.argv = ["main.py", *rest[:split]]
    importlib.import_module("comfy.options").enable_args_parsing()
    importlib.import_module("comfy.cli_args")  # reads sys.argv once, now
    sys.argv = [script, *rest[split + 1 :]]
    sys.path.append(str(Path(script).resolve().parent))  # last, so that ComfyUI's modules keep their names
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
