"""Which ComfyUI checkouts the tests run in, and with which Python."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

SEARCH_VARIABLE = "COMFYUI_PATH"
"""Environment variable with ComfyUI folders, separated as PATH is on this system."""


@dataclass(frozen=True)
class Checkout:
    """One ComfyUI source tree: its folder, its version, and the interpreter that has its requirements."""

    root: Path
    version: str
    python: Path

    @property
    def version_tuple(self) -> tuple[int, ...]:
        """The version as numbers, to compare: ``"0.3.64"`` is ``(0, 3, 64)``."""
        return tuple(int(part) for part in re.findall(r"\d+", self.version))


def open_checkout(root: Path) -> Checkout:
    """The ComfyUI source tree in `root`; FileNotFoundError says what is missing when it is none."""
    version_file = root / "comfyui_version.py"
    for needed in (root / "main.py", version_file):
        if not needed.is_file():
            raise FileNotFoundError(f"{root} is not a ComfyUI checkout: it has no {needed.name}")
    found = re.search(r'__version__ = "([^"]+)"', version_file.read_text(encoding="utf-8"))
    if found is None:
        raise FileNotFoundError(f"{version_file} states no __version__")
    return Checkout(root.resolve(), found.group(1), _interpreter(root))


def find_checkouts() -> list[Checkout]:
    """Checkouts named by COMFYUI_PATH, else every one under ``~/comfy``, oldest version first.

    A folder that COMFYUI_PATH names must be a checkout: a typo there would otherwise skip its tests in silence.
    """
    named = os.environ.get(SEARCH_VARIABLE)
    if named is not None:
        found = [open_checkout(Path(entry).expanduser()) for entry in named.split(os.pathsep) if entry]
    else:
        home = Path.home() / "comfy"
        candidates = sorted(home.iterdir()) if home.is_dir() else []
        found = [open_checkout(folder) for folder in candidates if (folder / "comfyui_version.py").is_file()]
    return sorted(found, key=lambda checkout: checkout.version_tuple)


def _interpreter(root: Path) -> Path:
    """The checkout's own virtual environment where it has one, else the Python that runs the tests."""
    for relative in (".venv/bin/python", ".venv/Scripts/python.exe"):
        if (root / relative).is_file():
            return root / relative  # not resolved: the link's place is what makes it a virtual environment
    return Path(sys.executable)
