"""Lotus Load Views: the pictures that a file of cameras names, as one batch in its order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import comfy.model_management as mm
import comfy.utils
import torch
from comfy_api.latest import io
from torch import Tensor

from ..lotus_core.errors import GeometryError, ImageError, LotusError, OptionError
from ..lotus_core.io.cameras import fit_to_image
from ..lotus_core.io.images import read_image
from ..lotus_core.io.views import find_image, read_cameras, spread_views
from . import compat
from .bridge import to_host
from .poses import check_path, fingerprint, input_path


def shrink(image: Tensor, max_side: int) -> Tensor:
    """Return a picture (1, H, W, 3) whose longest side is at most so many pixels."""
    height, width = image.shape[1:3]
    share = max_side / max(height, width)
    if share >= 1:
        return image
    size = (max(16, round(width * share)), max(16, round(height * share)))
    return comfy.utils.common_upscale(image.movedim(-1, 1), *size, "area", "disabled").movedim(1, -1)


def load_pictures(cameras: str, max_side: int, max_views: int) -> tuple[Tensor, list[str]]:
    """Return the pictures that cameras below the input folder name, (B, H, W, 3) float in [0, 1], and their names.

    Raises:
        OptionError: The path leads nowhere, or out of the input folder.
        GeometryError: Malformed cameras, a picture that is missing, or one of another shape than its camera.
        ImageError: A picture that cannot be read, or pictures of several sizes.
    """
    path = input_path(cameras)
    folder = path if path.is_dir() else path.parent
    views = spread_views(read_cameras(path, folder), max_views)
    pictures: list[Tensor] = []
    for view in views.images:
        mm.throw_exception_if_processing_interrupted()
        picture = read_image(picture_file(folder, view.name)).pixels[..., :3]
        fit_to_image(view, *picture.shape[1:3])
        pictures.append(shrink(picture, max_side))
    sizes = {tuple(picture.shape[1:3]) for picture in pictures}
    if len(sizes) > 1:
        raise ImageError(
            "a batch holds pictures of one size",
            found=", ".join(f"{width}x{height}" for height, width in sorted(sizes)),
            remedy="use pictures of one camera, all upright or all sideways; lotus fuse takes several sizes",
        )
    return torch.cat(pictures), [view.name for view in views.images]


def picture_file(folder: Path, name: str) -> Path:
    """Return the picture that a camera names: beside the cameras, or in ``images`` beside or above them.

    Raises:
        GeometryError: There is none.
        OptionError: The name leads out of the input folder.
    """
    root = input_path("")
    above = [folder.parent / "images", folder.parent.parent / "images"]  # of COLMAP's sparse/0
    for place in (folder, folder / "images", *above):
        if place.is_dir() and place.is_relative_to(root) and named_in(place, name):
            return named_in(place, name)[0]
    return find_image(folder, name)  # says that there is none


def named_in(folder: Path, name: str) -> list[Path]:
    """Return the picture of that name in a folder, or nothing.

    Raises:
        OptionError: The name leads out of the folder.
    """
    try:
        file = find_image(folder, name)
    except GeometryError:
        return []
    if not file.is_relative_to(folder):
        raise OptionError("file_path", name, "a path below the folder of the cameras")
    return [file]


def pictures_fingerprint(cameras: str) -> str:
    """Return what changes when the cameras or their pictures change on disk."""
    try:
        path = input_path(cameras)
        folder = path if path.is_dir() else path.parent
        files = [picture_file(folder, view.name) for view in read_cameras(path, folder).images]
        stats = [(str(file), file.stat()) for file in files]
    except (LotusError, OSError) as error:
        return str(error)
    return fingerprint(cameras) + repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])


class LotusLoadViews(io.ComfyNode):
    """Loads the pictures of several views."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return the node's inputs and outputs."""
        return compat.schema(
            node_id="LotusGeoLoadViews",
            display_name="Lotus Load Views",
            category=compat.CATEGORY,
            description="Loads the pictures that a transforms.json (NeRF, Nerfstudio) or a COLMAP model names, as one "
            "batch, for Lotus Joint and Lotus Fuse Views.",
            search_aliases=["lotus", "load folder", "multi-view", "colmap", "transforms.json"],
            inputs=[
                io.String.Input(
                    "cameras",
                    default="",
                    placeholder="my-scene/transforms.json",
                    tooltip="Below ComfyUI's input folder: a transforms.json, a COLMAP model, or a folder with one; "
                    "the pictures beside it, or in a folder images.",
                ),
                io.Int.Input(
                    "max_side",
                    default=1024,
                    min=64,
                    max=8192,
                    step=8,
                    tooltip="Larger pictures are shrunk to this longest side.",
                ),
                io.Int.Input(
                    "max_views",
                    default=100,
                    min=2,
                    max=100,
                    tooltip="Of more pictures, this many are taken, evenly spread over their names.",
                ),
            ],
            outputs=[
                io.Image.Output("image", display_name="image", tooltip="One batch, sorted by name."),
                io.String.Output(
                    "cameras_path", display_name="cameras_path", tooltip="For cameras of Lotus Fuse Views."
                ),
                io.String.Output("names", display_name="names", tooltip="For names of Lotus Fuse Views."),
            ],
        )

    @classmethod
    def validate_inputs(cls, cameras: str | None) -> bool | str:
        """Tell a wrong path before anything runs."""
        return check_path(cameras)

    @classmethod
    def fingerprint_inputs(cls, cameras: str | None = None, **_: Any) -> str:
        """Notice cameras and pictures that changed on disk."""
        return "" if cameras is None else pictures_fingerprint(cameras)

    @classmethod
    def execute(cls, cameras: str, max_side: int, max_views: int) -> io.NodeOutput:
        """Load them."""
        pictures, names = load_pictures(cameras, max_side, max_views)
        return io.NodeOutput(to_host(pictures), cameras, "\n".join(names))
