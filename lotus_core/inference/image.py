"""From pictures of any size to what the network takes, and back to exactly that size."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..conventions import LATENT_STRIDE, MIN_SIDE
from ..errors import ImageError, LotusWarning, ShapeError
from .options import Upsample


@dataclass(frozen=True)
class WorkingSize:
    """Sizes of one run, in pixels.

    Attributes:
        height: The input's height.
        width: The input's width.
        inner_height: Height at which the network sees the picture.
        inner_width: Width likewise.
    """

    height: int
    width: int
    inner_height: int
    inner_width: int

    @property
    def padded(self) -> tuple[int, int]:
        """(height, width) of the network's input: the inner size, up to the next multiples of 8."""
        return _ceil(self.inner_height), _ceil(self.inner_width)

    @property
    def latent(self) -> tuple[int, int]:
        """(height, width) of the latents."""
        h, w = self.padded
        return h // LATENT_STRIDE, w // LATENT_STRIDE


def working_size(height: int, width: int, resolution: int) -> WorkingSize:
    """Return the sizes of a run whose longest inner side is `resolution` (0: the image's own size).

    480 x 640 at 768 works at 576 x 768; 77 x 101 at 0 works at 77 x 101 and is padded to 80 x 104.
    """
    if resolution == 0:
        return WorkingSize(height, width, height, width)
    scale = resolution / max(height, width)
    return WorkingSize(height, width, max(1, round(height * scale)), max(1, round(width * scale)))


def check_images(images: Any) -> Tensor:
    """Return a picture batch as (B, H, W, 3) float32 RGB in [0, 1].

    Grey (1 channel) is repeated, alpha (4th channel) is dropped, values outside [0, 1] are clamped with a
    warning.

    Args:
        images: (B, H, W, C) floating-point tensor in [0, 1], C = 1, 3 or 4, both sides at least 16.

    Raises:
        ShapeError: Another shape, an empty batch or another number of channels.
        ImageError: Integers, NaN, infinity, or a side under 16 pixels.
    """
    if not isinstance(images, Tensor):
        raise ImageError(
            "images must be a torch tensor", found=type(images).__name__, remedy="pass (B, H, W, 3)"
        )
    expected = "(B, H, W, 3)"
    if images.ndim != 4:
        raise ShapeError("images", images.shape, expected, remedy="add a batch dimension to a single image")
    batch, height, width, channels = images.shape
    if batch == 0:
        raise ShapeError(
            "images", images.shape, expected, remedy="pass at least one image, the batch is empty"
        )
    if channels not in (1, 3, 4):
        raise ShapeError("images", images.shape, expected, remedy="pass grey, RGB or RGBA, channels last")
    if min(height, width) < MIN_SIDE:
        raise ImageError(
            f"images need at least {MIN_SIDE} pixels on each side",
            found=f"{width}x{height}",
            remedy="upscale them first",
        )
    if not images.is_floating_point():
        raise ImageError(
            "pixels must be floating-point in [0, 1]", found=str(images.dtype), remedy="divide by 255"
        )
    images = images.detach()[..., :3].to("cpu", torch.float32)
    if channels == 1:
        images = images.expand(-1, -1, -1, 3)
    low, high = images.min().item(), images.max().item()  # NaN and infinity show in one of the two
    if not (torch.isfinite(torch.tensor([low, high])).all()):
        bad = int((~torch.isfinite(images)).any(-1).sum())
        raise ImageError(
            "images hold NaN or infinity", found=f"{bad} such pixels", remedy="repair the node before this"
        )
    if low < 0.0 or high > 1.0:
        warnings.warn(
            f"pixels outside [0, 1] were clamped (found {low:.3g} to {high:.3g}): divide by the white level first",
            LotusWarning,
            stacklevel=3,
        )
        images = images.clamp(0.0, 1.0)
    return images


def to_network(images: Tensor, size: WorkingSize) -> Tensor:
    """Return the network's input for a chunk of pictures.

    Antialiased bilinear resize of ``2 * rgb - 1``, then replication at the right and the bottom up to a
    multiple of 8, so that no latent column is lost.

    Args:
        images: (B, H, W, 3) float in [0, 1].
        size: Sizes of the run.

    Returns:
        (B, 3, h, w) float in [-1, 1], h and w multiples of 8.

    Source: the reference's resize, without its truncation of sizes.
    """
    x = images.movedim(-1, 1) * 2.0 - 1.0  # (B, 3, H, W)
    if (size.inner_height, size.inner_width) != (size.height, size.width):
        x = _resize(x, (size.inner_height, size.inner_width))
    h, w = size.padded
    return F.pad(x, (0, w - size.inner_width, 0, h - size.inner_height), mode="replicate").contiguous()


def from_network(decoded: Tensor, size: WorkingSize) -> Tensor:
    """Return a decoded map without its padding, in [0, 1]: (B, 3, inner_height, inner_width)."""
    cropped = decoded[..., : size.inner_height, : size.inner_width]
    return (cropped * 0.5 + 0.5).clamp(0.0, 1.0)


def resize_map(maps: Tensor, height: int, width: int, upsample: Upsample = "bilinear") -> Tensor:
    """Return (B, C, h, w) maps at (B, C, height, width), antialiased where "bilinear" shrinks."""
    if maps.shape[-2:] == (height, width):
        return maps
    if upsample == "nearest-exact":
        return F.interpolate(maps, (height, width), mode="nearest-exact")
    return _resize(maps, (height, width))


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)


def _ceil(side: int) -> int:
    return -(-side // LATENT_STRIDE) * LATENT_STRIDE
