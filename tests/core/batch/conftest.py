from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lotus_core.batch.estimator import Estimator
from lotus_core.batch.job import Job
from lotus_core.inference.options import InferenceOptions
from tests.core.inference.models import passing_model
from tests.core.io.conftest import file_size_limit

__all__ = ["file_size_limit"]


def image_bytes(level: int = 128, width: int = 24, height: int = 16, form: str = "PNG") -> bytes:
    """An evenly grey picture as the bytes of a file."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), level, np.uint8)).save(buffer, form)
    return buffer.getvalue()


@pytest.fixture
def photos(tmp_path) -> Callable[..., list[Path]]:
    """Return a function that writes evenly grey photographs, each a level brighter than the one before."""

    def write(count: int, folder: str = "in", width: int = 24, height: int = 16) -> list[Path]:
        paths = [tmp_path / folder / f"p{index:03d}.png" for index in range(count)]
        for index, path in enumerate(paths):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image_bytes(level=(10 + index) % 256, width=width, height=height))
        return paths

    return write


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    """Write a .tar of named members."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def job(form: str = "npz", **changes) -> Job:
    """A job of a model that gives back 8x8 block means of the picture."""
    values = {"options": InferenceOptions(resolution=0), "format": form, "chunk": 4}
    return Job("test", **{**values, **changes})


def estimator(of: Job | None = None, output: str = "disparity", mode: str = "d") -> Estimator:
    """The stand-in model of a job."""
    return Estimator(of or job(), passing_model(mode, output, name="test"))
