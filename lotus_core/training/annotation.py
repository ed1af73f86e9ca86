"""From depth and normals to the picture that the denoiser learns to paint."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal

import torch
from torch import Tensor

from .sample import Sample

DepthMap = Literal["linear", "linear-range", "disparity", "disparity-range"]
"""How depth becomes a map in [-1, 1].

linear, disparity: between the 2 % and 98 % quantiles of the picture's valid pixels, clipped.
linear-range, disparity-range: between its least and greatest value.
Source: norm_type truncnorm, instnorm, trunc_disparity and disparity of the reference's data sets.
"""

Target = Literal["depth", "normal"]

LOW_QUANTILE: Final = 0.02
HIGH_QUANTILE: Final = 0.98
_MIN_SPAN: Final = 1e-5


def annotation(sample: Sample, target: Target, depth_map: DepthMap = "disparity") -> Tensor:
    """Return the annotation as a picture: (3, H, W) float32 in [-1, 1].

    Depth fills all three channels alike; the sky lies at the far end. Normals are Lotus's own colours, zero (mid
    grey) where there is no surface.
    """
    if target == "normal":
        return torch.where(sample.valid, sample.normal.clamp(-1, 1), 0.0)
    return depth_picture(sample.depth, sample.valid, sample.sky, depth_map).expand(3, -1, -1)


def depth_picture(depth: Tensor, valid: Tensor, sky: Tensor, depth_map: DepthMap) -> Tensor:
    """Return depth as one channel.

    For depths 1, 2 and 4 m and "disparity-range" the map is (1, -1/3, -1): disparities 1, 1/2 and 1/4, of which
    1/2 lies a third of the way up.

    Args:
        depth: (H, W) float, metres or up to scale.
        valid: (H, W) bool; its pixels set the range.
        sky: (H, W) bool, painted as infinitely far.
        depth_map: The map.

    Returns:
        (H, W) float32 in [-1, 1]; the far end where neither valid nor sky, or where nothing is valid.
    """
    is_disparity = depth_map.startswith("disparity")
    far = torch.full_like(depth, -1.0 if is_disparity else 1.0)
    if not valid.any():
        return far
    values = 1 / depth if is_disparity else depth
    low, high = _range(values[valid], depth_map)
    scaled = ((values - low) / (high - low + _MIN_SPAN) - 0.5) * 2
    return torch.where(valid & ~sky, scaled.clamp(-1, 1), far)


def _range(values: Tensor, depth_map: DepthMap) -> tuple[Tensor, Tensor]:
    if depth_map.endswith("-range"):
        return values.amin(), values.amax()
    # kthvalue needs no sort, and torch.quantile refuses more than 16 M elements: exact interpolation by hand.
    return _quantile(values, LOW_QUANTILE), _quantile(values, HIGH_QUANTILE)


def _quantile(values: Tensor, share: float) -> Tensor:
    place = share * (values.numel() - 1)
    below = int(place)
    low = values.kthvalue(below + 1).values
    high = values.kthvalue(min(below + 2, values.numel())).values
    return low + (high - low) * (place - below)


def known(sample: Sample, target: Target) -> Tensor:
    """Return where the annotation counts, (H, W) bool: for depth also the sky, for normals surfaces alone.

    Source: reference train_lotus_g.py, valid_mask_for_latent.
    """
    return sample.valid | sample.sky if target == "depth" else sample.valid


def flipped(sample: Sample) -> Sample:
    """Return the mirror image: left and right swapped, and with them the sign of the normals' x."""
    normal = sample.normal.flip(-1) * sample.normal.new_tensor([-1.0, 1.0, 1.0])[:, None, None]
    return replace(
        sample,
        image=sample.image.flip(-1),
        depth=sample.depth.flip(-1),
        normal=normal,
        valid=sample.valid.flip(-1),
        sky=sample.sky.flip(-1),
    )
