"""The views of a scene as files: their cameras, and the pictures that these belong to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import GeometryError

if TYPE_CHECKING:
    from torch import Tensor

    from ..geometry.camera import Camera
    from .cameras import CameraSet, PosedImage


def read_cameras(path: Path, images: Path) -> CameraSet:
    """Return the cameras of a transforms.json or a COLMAP model.

    Args:
        path: The file, its folder, or a folder with a model.
        images: Folder of the pictures: the original NeRF format leaves their size to them.

    Raises:
        GeometryError: Neither is there, or it is malformed.
    """
    from .colmap import read_colmap
    from .transforms_json import frame_names, read_transforms

    file = transforms_file(path)
    if file is None:
        return read_colmap(path)
    names = frame_names(file)
    from .images import read_image

    pixels = read_image(find_image(images, names[0])).pixels
    return read_transforms(file, image_size=(pixels.shape[1], pixels.shape[2]))


def transforms_file(path: Path) -> Path | None:
    """Return the transforms.json that a path of cameras means, or None where it must be a COLMAP model.

    Args:
        path: The file, its folder, or a folder with a model.
    """
    file = path / "transforms.json" if path.is_dir() else path
    return file if file.suffix.lower() == ".json" and file.is_file() else None


def find_image(folder: Path, name: str) -> Path:
    """Return the picture that a camera file names.

    The name is looked up below the folder as it is, then shortened from the left (a file may name
    ``images/a.jpg`` where the folder is ``images``), with the usual suffixes where it has none.

    Raises:
        GeometryError: There is none.
    """
    from .images import IMAGE_SUFFIXES

    parts = [part for part in Path(name).parts if part not in ("..", ".", "/")]
    for start in range(len(parts)):
        candidate = folder.joinpath(*parts[start:])
        if candidate.is_file():
            return candidate
        for suffix in sorted(IMAGE_SUFFIXES):
            with_suffix = candidate.with_name(candidate.name + suffix)
            if with_suffix.is_file():
                return with_suffix
    raise GeometryError(
        f"{name} is named by the cameras but is not in {folder}",
        remedy="name the folder that the pictures' paths start from",
    )


def spread_views(cameras: CameraSet, most: int) -> CameraSet:
    """Return at most so many views, evenly spread over their names; the points keep their observations."""
    import torch

    count = len(cameras.images)
    if count <= most:
        return cameras
    return cameras.chosen(torch.linspace(0, count - 1, most).round().long().tolist())


def load_view(posed: PosedImage, file: Path, max_side: int) -> tuple[Tensor, Camera, Tensor]:
    """Return a picture at most so large, undistorted, its camera, and where the lens saw something.

    Returns:
        image: (H, W, 3) float32, [0, 1].
        camera: Of that size.
        mask: (H, W) bool.

    Raises:
        ImageError: The file cannot be read.
        GeometryError: The picture has another shape than its camera.
    """
    import torch

    from ..geometry.distortion import undistort_image
    from .cameras import fit_to_image
    from .images import read_image

    image = read_image(file).pixels[0]
    height, width = image.shape[:2]
    posed = fit_to_image(posed, height, width)
    shrink = max_side / max(height, width)
    if shrink < 1:
        size = (max(16, round(height * shrink)), max(16, round(width * shrink)))
        smaller = torch.nn.functional.interpolate(
            image.movedim(-1, 0)[None], size, mode="bilinear", antialias=True
        )
        image = smaller[0].movedim(0, -1)
        posed = fit_to_image(posed, *size)
    if posed.distortion.is_zero:
        return image, posed.camera, torch.ones(image.shape[:2], dtype=torch.bool)
    image, seen = undistort_image(image, posed.camera, posed.distortion)
    return image, posed.camera, seen
