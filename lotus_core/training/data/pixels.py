"""Arrays from the bytes of a data set's files: pictures, depth, normals."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from ...errors import CorruptSampleError
from ...io.exr import require_openexr
from .archives import FileTree

Decoder = Callable[[bytes], np.ndarray]


def read_array(files: FileTree, name: str, decode: Decoder) -> np.ndarray:
    """Return a decoded file.

    Args:
        files: The data set.
        name: File within it.
        decode: One of this module's decoders.

    Raises:
        CorruptSampleError: Missing, empty, truncated or damaged, with the file's name.
    """
    data, path = files.read(name), files.path / name
    try:
        return decode(data)
    except (MemoryError, ImportError):
        raise
    except Exception as error:
        raise CorruptSampleError(
            f"{path} is truncated or damaged",
            path=path,
            found=f"{len(data)} bytes; {error or type(error).__name__}",
            remedy="download it again",
        ) from error


def rgb01(data: bytes) -> np.ndarray:
    """Return a picture as (H, W, 3) float32 in [0, 1], as stored: EXIF's rotation is not applied, since none is
    applied to the depth beside it.
    """
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"), dtype=np.float32) / 255.0


def integers(data: bytes) -> np.ndarray:
    """Return a PNG's numbers as they are, (H, W) or (H, W, C), 8 or 16 bits."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        array = np.asarray(image)
    if array.dtype.kind not in "iu":
        raise ValueError(f"a picture of mode {image.mode}, not one of whole numbers")
    return array


def npy(data: bytes) -> np.ndarray:
    """Return the array of a NumPy file; nothing in it is unpickled."""
    return np.load(io.BytesIO(data), allow_pickle=False)


def raw_float32(height: int, width: int) -> Decoder:
    """Return a decoder of bare little-endian float32 numbers, row by row, of a known size."""

    def decode(data: bytes) -> np.ndarray:
        if len(data) != 4 * height * width:
            raise ValueError(f"expected {4 * height * width} bytes for {width}x{height} pixels")
        return np.frombuffer(data, dtype="<f4").reshape(height, width)

    return decode


def exr_rgb(data: bytes) -> np.ndarray:
    """Return the R, G and B planes of an EXR, (H, W, 3) float32.

    Raises:
        MissingExtraError: The package OpenEXR is not installed.
    """
    planes = _exr_planes(data)
    return np.stack([planes[channel] for channel in "RGB"], axis=-1)


def exr_plane(data: bytes) -> np.ndarray:
    """Return the plane Y or Z of an EXR, or its only one, (H, W) float32.

    Raises:
        MissingExtraError: The package OpenEXR is not installed.
    """
    planes = _exr_planes(data)
    for channel in ("Y", "Z"):
        if channel in planes:
            return planes[channel]
    (plane,) = planes.values()
    return plane


def _exr_planes(data: bytes) -> dict[str, np.ndarray]:
    openexr = require_openexr("reading EXR files")
    with openexr.File(io.BytesIO(data), separate_channels=True) as file:
        return {name: np.array(c.pixels, dtype=np.float32) for name, c in file.channels().items()}
