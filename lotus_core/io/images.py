"""Photographs from files, as the model takes them."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import ExifTags, Image

from ..conventions import MIN_SIDE
from ..errors import ImageError

if TYPE_CHECKING:
    from torch import Tensor

IMAGE_SUFFIXES: Final = frozenset(
    (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm")
)
"""Suffixes, in lower case, by which a folder's images are told from its other files."""

_FORMATS: Final = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM")

# EXIF 2.32, tag 0x0112: what undoes each orientation.
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_SIXTEEN_BITS: Final = 65535.0


@dataclass(frozen=True)
class ImageFile:
    """A photograph that was read.

    Attributes:
        pixels: (1, H, W, 3) float32 RGB, [0, 1] (a floating-point TIFF keeps its own values), upright.
        path: Where it was read from.
        format: Name of the format, such as "JPEG".
        focal_35mm_mm: Focal length in millimetres at which a 35 mm camera sees the same angle, from EXIF; None
            where the file does not say. On a 36 x 24 mm frame the diagonal field of view is
            ``2 * atan(21.63 / focal)``.
    """

    pixels: Tensor
    path: Path
    format: str
    focal_35mm_mm: float | None


def read_image(path: str | Path) -> ImageFile:
    """Return a photograph: PNG, JPEG, WebP, TIFF, BMP, GIF or PPM, of any colour mode.

    It is turned upright as its EXIF orientation says. Grey, palette and CMYK become RGB; an alpha channel is
    dropped, not composited, as the reference and ComfyUI's own loader do, so that a file gives the same map
    everywhere. 16-bit grey keeps its precision; 16-bit colour is read at 8 bits. Of several frames or pages
    the first is taken. Colour profiles are not applied, as in the reference.

    Args:
        path: The file.

    Raises:
        ImageError: No such file, an empty, truncated, damaged or unknown one, one whose sides are below 16 pixels,
            or one so large that it looks like a decompression bomb.
    """
    path = Path(path)
    return decode_image(_read(path), path)


def decode_image(data: bytes, path: str | Path) -> ImageFile:
    """Return a photograph from the bytes of its file, as `read_image` does.

    Args:
        data: The whole file.
        path: What it is called, for messages and in the result; nothing is read there.

    Raises:
        ImageError: Empty, truncated, damaged or unknown data, or a size that `read_image` refuses.
    """
    import torch

    path = Path(path)
    if not data:
        raise ImageError(f"{path} is empty", found="0 bytes", remedy="copy or download it again")
    try:
        with Image.open(BytesIO(data), formats=_FORMATS) as image:
            image.load()
            form, orientation, focal = image.format or "", *_exif(image)
            pixels = _rgb01(_upright(image, orientation))
    except Image.UnidentifiedImageError as error:
        raise ImageError(
            f"{path} is not an image that can be read",
            found=f"a file that begins with {data[:8]!r}",
            remedy="use PNG, JPEG, WebP or TIFF",
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path} is too large", found=str(error), remedy="shrink it first") from error
    except MemoryError:
        raise
    except Exception as error:
        raise ImageError(
            f"{path} is truncated or damaged",
            found=str(error) or type(error).__name__,
            remedy="copy or download it again",
        ) from error
    height, width = pixels.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise ImageError(
            f"{path} is too small",
            found=f"{width}x{height} pixels",
            remedy=f"use an image of at least {MIN_SIDE} pixels on each side",
        )
    return ImageFile(torch.from_numpy(pixels)[None], path, form, focal)


def _read(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise ImageError(f"{path} is a folder", remedy="name an image file")
        return path.read_bytes() if path.stat().st_size else b""  # devices have no size, and no end
    except FileNotFoundError as error:
        raise ImageError(f"there is no file {path}", remedy="check its name") from error
    except OSError as error:
        raise ImageError(
            f"{path} cannot be opened", found=error.strerror or str(error), remedy="check its permissions"
        ) from error


def _exif(image: Image.Image) -> tuple[int, float | None]:
    """Return (orientation 1 to 8, 35 mm focal length or None); damaged EXIF counts as none."""
    try:
        exif = image.getexif()
        orientation = exif.get(ExifTags.Base.Orientation, 1)
        focal = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.FocalLengthIn35mmFilm)
        focal = None if focal is None else float(focal)
    except Exception:  # noqa: BLE001 (the picture is good; only what is said about it is not)
        return 1, None
    valid = focal is not None and 0.0 < focal < float("inf")  # EXIF: 0 means unknown
    return orientation if orientation in _UPRIGHT else 1, focal if valid else None


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _rgb01(image: Image.Image) -> np.ndarray:
    """Return (H, W, 3) float32 RGB, [0, 1] but for floating-point files."""
    if image.mode.startswith("I") or image.mode == "F":  # "I" is how some versions give 16-bit grey
        grey = np.array(image, dtype=np.float32)
        if image.mode != "F":
            grey /= _SIXTEEN_BITS
        return np.repeat(grey[..., None], 3, axis=-1)
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # Pillow warns where such a palette is made RGB at once
    rgb = np.array(image.convert("RGB"))
    return rgb.astype(np.float32) / 255.0
