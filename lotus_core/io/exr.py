"""OpenEXR files: floats as they are. Needs the extra "exr" (OpenEXR 3.5 or newer)."""

from __future__ import annotations

import importlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import MissingExtraError, ShapeError
from .atomic import write_bytes

if TYPE_CHECKING:
    from torch import Tensor


def write_exr(
    path: str | Path, channels: Mapping[str, Tensor], *, attributes: Mapping[str, str] | None = None
) -> Path:
    """Write a scan-line EXR of 32-bit floats, losslessly compressed (ZIP), whole or not at all.

    Args:
        path: The file; missing folders are made.
        channels: (H, W) float planes by channel name, all of one size. Viewers show "Y" as grey and "R", "G",
            "B" as colour; a dot makes a layer ("uncertainty.Y"). NaN and infinity are kept.
        attributes: Text attributes of the header, such as {"lotusKind": "disparity"}.

    Returns:
        The path.

    Raises:
        ShapeError: Planes that are not (H, W), or of different sizes.
        MissingExtraError: The package OpenEXR is not installed.
        NoSpaceError: The disk is full.
        NotWritableError: The folder or file cannot be written.
    """
    planes = _planes(channels)
    openexr = require_openexr()
    header = {"compression": openexr.ZIP_COMPRESSION, "type": openexr.scanlineimage, **(attributes or {})}
    buffer = io.BytesIO()  # writing by file name, OpenEXR does not notice a full disk
    openexr.File(header, dict(planes)).write(buffer)  # it changes the dict that it is given
    return write_bytes(path, buffer.getvalue())


def _planes(channels: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    planes = {name: np.ascontiguousarray(c.detach().cpu().float().numpy()) for name, c in channels.items()}
    size = next(iter(planes.values())).shape if planes else ()
    for name, plane in planes.items():
        if plane.ndim != 2 or plane.size == 0:
            raise ShapeError(f"channel {name}", plane.shape, "(H, W)", remedy="pass one plane per channel")
        if plane.shape != size:
            raise ShapeError(f"channel {name}", plane.shape, str(size), remedy="pass planes of one size")
    return planes


def require_openexr(purpose: str = "writing EXR files") -> Any:
    """Return the module OpenEXR.

    Args:
        purpose: What needs it, for the message.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        return importlib.import_module("OpenEXR")
    except ImportError as error:
        raise MissingExtraError("OpenEXR", "exr", purpose) from error
