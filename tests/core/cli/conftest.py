"""Running the `lotus` command in this process, on models whose output is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lotus_core.cli import choice
from lotus_core.cli.main import main
from tests.core.inference.models import passing_model
from tests.core.io.conftest import file_size_limit

__all__ = ["file_size_limit"]


@dataclass(frozen=True)
class Ran:
    """What a command line left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        return json.loads(self.out)


@pytest.fixture
def lotus(capfd) -> Callable[..., Ran]:
    """Return a function that runs a command line; argparse's exits become codes too."""

    def run(*words: object) -> Ran:
        capfd.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        out, err = capfd.readouterr()
        return Ran(code, out, err)

    return run


@pytest.fixture
def known_models(monkeypatch) -> list[str]:
    """Give every command stand-ins named OUTPUT-MODE ("disparity-d", "normal-g"...); return the names asked for.

    A stand-in gives back 8x8 block means of the picture, so the depth of an evenly grey picture is its grey.
    """
    asked: list[str] = []

    def load(source: str, loading: choice.Loading, kind: str | None = None):
        asked.append(source)
        output, mode = source.split("-")
        return passing_model(mode, output, gain=0.05, name=source)

    monkeypatch.setattr(choice, "load", load)
    return asked


@pytest.fixture
def grey_photo(tmp_path) -> Callable[..., Path]:
    """Return a function that writes an evenly grey photograph and returns its path."""

    def write(name: str = "photo.png", level: int = 51, width: int = 24, height: int = 16) -> Path:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((height, width, 3), level, np.uint8)).save(path)
        return path

    return write
