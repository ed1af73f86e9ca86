"""What the repository offers to ComfyUI beside its nodes: workflows, their thumbnails and input images."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from .api import ComfyApi
from .process import REPOSITORY
from .workflow import input_images, input_videos

WORKFLOWS = sorted((REPOSITORY / "workflows").glob("*.json"))


def workflow_parameters() -> list[Any]:
    """The shared workflows, to parametrise a test with; a skip where there are none."""
    if not WORKFLOWS:
        skip = pytest.mark.skip(reason="the repository has no workflows/*.json")
        return [pytest.param(Path(), marks=skip, id="no-workflows")]
    return [pytest.param(path, id=path.stem) for path in WORKFLOWS]


def read_workflow(path: Path) -> dict[str, Any]:
    """A workflow file as the frontend would read it."""
    return json.loads(path.read_text(encoding="utf-8"))


def provide_images(api: ComfyApi, workflow: Mapping[str, Any], side: int = 96) -> None:
    """Upload a small picture or video under every name that the workflow's loaders read.

    The picture has smooth shading and edges, so that a depth or normal map of it isn't constant.
    """
    for name in input_images(workflow):
        picture = Image.linear_gradient("L").resize((side, side)).convert("RGB")
        draw = ImageDraw.Draw(picture)
        draw.rectangle((side // 4, side // 3, side // 2, side - 8), fill=(180, 90, 40))
        draw.ellipse((side // 2, side // 5, side - 6, side // 5 + side // 3), fill=(60, 120, 200))
        file = io.BytesIO()
        picture.save(file, "PNG")
        api.upload_image(name, file.getvalue())
    provide_videos(api, workflow)


def provide_videos(api: ComfyApi, workflow: Mapping[str, Any], **values: Any) -> None:
    """Upload a short clip with sound under every name that the workflow's video loaders read."""
    from tests.core.io.video_files import write_clip

    for name in input_videos(workflow):
        with tempfile.TemporaryDirectory() as folder:
            clip = write_clip(Path(folder) / name, **{"frames": 10, "audio": "aac", **values})
            api.upload_image(name, clip.read_bytes())  # the route takes any file
