"""Between ComfyUI's values and the core's: progress with preview, warnings, options, results."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import comfy.model_management as mm
import comfy.utils
from PIL import Image
from torch import Tensor

from ..lotus_core.errors import LotusWarning, OptionError
from ..lotus_core.inference.options import InferenceOptions

logger = logging.getLogger("lotus_geometry")

CHECKPOINT_SIZE = "checkpoint default"
IMAGE_SIZE = "image size"
CUSTOM_SIZE = "custom"
SIZES = (CHECKPOINT_SIZE, IMAGE_SIZE, CUSTOM_SIZE)

PREVIEW_SIDE = 512


class NodeProgress:
    """Shows every finished map: a count of maps, and the newest one as preview.

    Args:
        node_id: The node that is running, where the host says it.
    """

    def __init__(self, node_id: str | None = None) -> None:
        self._bar: Any = None
        self._node_id = node_id

    def __call__(self, done: int, total: int, preview: Tensor) -> None:
        """Report one map, (3, h, w) float in [0, 1]; raises ComfyUI's exception after Cancel."""
        if self._bar is None:
            self._bar = comfy.utils.ProgressBar(total)
        pixels = (preview.movedim(0, -1) * 255.0).round().byte().numpy()
        self._bar.update_absolute(done, total, ("JPEG", Image.fromarray(pixels), PREVIEW_SIDE))
        mm.throw_exception_if_processing_interrupted()


class StepProgress:
    """Shows how many steps are done, and stops the work after Cancel."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __call__(self, done: int, total: int) -> None:
        """Report steps done of all; raises ComfyUI's exception after Cancel."""
        if self._bar is None:
            self._bar = comfy.utils.ProgressBar(total)
        self._bar.update_absolute(done, total)
        mm.throw_exception_if_processing_interrupted()


class DownloadProgress:
    """Shows bytes fetched, and stops the download after Cancel."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __call__(self, done: int, total: int) -> None:
        """Report bytes done of bytes in all; raises ComfyUI's exception after Cancel."""
        mm.throw_exception_if_processing_interrupted()
        if total <= 0:
            return
        if self._bar is None:
            self._bar = comfy.utils.ProgressBar(1000)
        self._bar.update_absolute(int(1000 * done / total), 1000)


@contextmanager
def warnings_logged() -> Iterator[None]:
    """Write the core's warnings to ComfyUI's log, each time they occur, also before an error."""
    caught: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    finally:
        for warning in caught:
            if issubclass(warning.category, LotusWarning):
                logger.warning("Lotus: %s", warning.message)
            else:
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def options(
    working_size: str,
    resolution: int,
    *,
    seed: int = 0,
    ensemble_size: int = 1,
    batch_size: int = 0,
    sequence: str = "images",
    upsample: str = "bilinear",
) -> InferenceOptions:
    """Return the core's options for a node's widgets.

    Args:
        working_size: One of `SIZES`.
        resolution: Longest side in pixels, for "custom".
        seed: Seed of the noise.
        ensemble_size: Number of noises.
        batch_size: Pictures at once; 0 chooses from the free memory.
        sequence: "images" or "video".
        upsample: "bilinear" or "nearest-exact".

    Raises:
        OptionError: A value that is not on offer (0.3.64 does not check combos by itself).
    """
    if working_size not in SIZES:
        raise OptionError("working_size", working_size, f"one of {', '.join(SIZES)}")
    sizes = {CHECKPOINT_SIZE: None, IMAGE_SIZE: 0, CUSTOM_SIZE: resolution}
    return InferenceOptions(
        resolution=sizes[working_size],
        seed=seed,
        ensemble_size=ensemble_size,
        batch_size="auto" if batch_size == 0 else batch_size,
        sequence=sequence,  # type: ignore[arg-type]  # InferenceOptions checks it
        upsample=upsample,  # type: ignore[arg-type]
    )


def to_host(image: Tensor) -> Tensor:
    """Return an IMAGE, (B, H, W, 3) float in [0, 1], where ComfyUI wants results."""
    return image.to(mm.intermediate_device())
