"""From a YAML file and the command line's changes to a checked config."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from ...errors import InputError, OptionError
from .stages import AnyConfig, Config

_ADAPTER: TypeAdapter[AnyConfig] = TypeAdapter(Config)


def read_config(path: Path, changes: Mapping[str, Any] | None = None) -> AnyConfig:
    """Return the config of a YAML file.

    Args:
        path: The file.
        changes: Values in place of the file's, by dotted key: ``{"schedule.steps": 100, "data.0.folder": "x"}``.

    Raises:
        InputError: The file cannot be read, or is no YAML mapping.
        OptionError: A key or value that no stage has.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(
            f"the config {path} cannot be read", found=str(error).splitlines()[0], remedy="check the file"
        ) from error
    if not isinstance(raw, dict):
        raise InputError(
            f"the config {path} is no list of settings",
            found=type(raw).__name__,
            remedy="write KEY: VALUE lines, as in configs/",
        )
    for key, value in (changes or {}).items():
        _change(raw, key, value)
    try:
        return _ADAPTER.validate_python(raw)
    except ValidationError as error:
        first = error.errors()[0]
        # the discriminated union puts the stage's name first; the file has no such key
        place = ".".join(str(part) for part in first["loc"] if part != raw.get("stage")) or "stage"
        raise OptionError(place, first.get("input"), first["msg"][:1].lower() + first["msg"][1:]) from error


def _change(raw: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    node: Any = raw
    for part in parents:
        node = node[_index(node, part, key)] if isinstance(node, list) else node.setdefault(part, {})
        if not isinstance(node, dict | list):
            raise OptionError(key, value, f"a key of the config; {part} holds a value, not settings")
    if isinstance(node, list):
        node[_index(node, last, key)] = value
    else:
        node[last] = value


def _index(node: list[Any], part: str, key: str) -> int:
    if not part.isdecimal() or int(part) >= len(node):
        raise OptionError(key, part, f"a key of the config; here a number below {len(node)}")
    return int(part)
