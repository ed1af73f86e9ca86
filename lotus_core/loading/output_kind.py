"""What a checkpoint estimates: said by the caller, the catalogue, the file itself or its name; never guessed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, get_args

from ..conventions import OutputKind
from ..errors import OptionError, OutputKindError

METADATA_KEY: Final = "lotus.output"
"""Key of a safetensors file's metadata under which `lotus convert` keeps what a model estimates."""

_ASK: Final = 'pass output="depth" (high = far), "disparity" (high = near) or "normal"'

_WORDS: Final[Mapping[str, OutputKind]] = {
    "disparity": "disparity",
    "depth": "depth",
    "depthmap": "depth",
    "normal": "normal",
    "normals": "normal",
    "normalmap": "normal",
}


def require_output(value: str) -> OutputKind:
    """Return an output kind that was given as text.

    Raises:
        OptionError: Not "depth", "disparity" or "normal".
    """
    for kind in get_args(OutputKind):
        if value == kind:
            return kind
    raise OptionError("output", value, '"depth", "disparity" or "normal"')


def output_from_name(name: str) -> OutputKind | None:
    """Return what a file or folder name says, or None where it says nothing.

    "disparity" includes "depth": published names read ``lotus-depth-g-v2-0-disparity``. For example
    ``lotus-normal-d-v1-0-fp16`` gives "normal", ``mini-d`` gives None.

    Raises:
        OutputKindError: The name says both normals and depth.
    """
    words = re.split(r"[^a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower())
    kinds = {_WORDS[word] for word in words if word in _WORDS}
    if "normal" in kinds and len(kinds) > 1:
        raise OutputKindError(
            f"the name {name!r} says both normals and depth",
            found=" and ".join(sorted(kinds)),
            remedy=_ASK,
        )
    for kind in ("disparity", "depth", "normal"):
        if kind in kinds:
            return kind
    return None


def unknown_output(name: str) -> OutputKindError:
    """Return the error that asks what a checkpoint estimates."""
    return OutputKindError(f"nothing says what {name} estimates", found=f"the name {name!r}", remedy=_ASK)
