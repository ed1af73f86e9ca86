"""From a map's own values to [0, 1], by percentiles that a few outliers cannot move."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import torch

from ..checks import require_shape
from ..errors import OptionError

if TYPE_CHECKING:
    from torch import Tensor

Scope = Literal["image", "sequence"]

PERCENTILES: Final = (1.0, 99.0)
"""Percentiles of a robust range where a caller says none: one pixel in a hundred saturates at each end."""

_IMAGE_SAMPLES: Final = 2**18
_SEQUENCE_SAMPLES: Final = 2**22  # torch.quantile refuses more than 2**24 elements


@dataclass(frozen=True)
class ValueRange:
    """The values that become 0 and 1.

    Attributes:
        low: (B,) float32, one per image, or (1,), one for a whole sequence.
        high: Same shape; equal to `low` where the map is constant.
    """

    low: Tensor
    high: Tensor


def robust_range(
    values: Tensor,
    *,
    mask: Tensor | None = None,
    percentiles: tuple[float, float] = PERCENTILES,
    scope: Scope = "image",
    from_zero: bool = False,
) -> ValueRange:
    """Return the range between two percentiles, of each image or of the whole sequence.

    Percentiles are interpolated linearly between neighbours: of 0, 1, ..., 100 the default ones are 1 and 99.
    Of larger maps they are taken on a regular grid of at most 2**18 pixels an image (2**22 a sequence), which
    moves them by a few hundredths of a percent. Where both fall on one value (a flat background with a small
    object) the minimum and the maximum take their place. NaN and infinity are left out; a map with no valid
    pixel gets (0, 1).

    Args:
        values: (B, H, W) float, any range and unit.
        mask: (B, H, W) bool, True where a pixel counts; None counts every pixel.
        percentiles: Lower and upper percentile, 0 <= lower < upper <= 100; (0, 100) is the plain minimum and
            maximum of the grid.
        scope: "image" (each its own range) or "sequence" (one for all, so that a clip does not flicker).
        from_zero: Let the range start at 0 instead of the lower percentile, for values of at least 0.

    Raises:
        ShapeError: `values` is not (B, H, W), or `mask` has another shape.
        OptionError: Percentiles out of order, or an unknown scope.
    """
    require_shape("values", values, "(B, H, W)", remedy="pass one channel and keep the batch axis")
    lower, upper = percentiles
    if not 0.0 <= lower < upper <= 100.0:
        raise OptionError("percentiles", percentiles, "two numbers with 0 <= lower < upper <= 100")
    if scope not in ("image", "sequence"):
        raise OptionError("scope", scope, '"image" or "sequence"')
    valid = valid_pixels(values, mask)
    if scope == "sequence":
        limit = max(1, _SEQUENCE_SAMPLES // len(values))
        ends = [_range_of(values, valid, percentiles, limit, from_zero)]
    else:
        ends = [
            _range_of(v[None], m[None], percentiles, _IMAGE_SAMPLES, from_zero)
            for v, m in zip(values, valid, strict=True)
        ]
    low, high = zip(*ends, strict=True)
    return ValueRange(torch.stack(low), torch.stack(high))


def normalize(values: Tensor, value_range: ValueRange) -> Tensor:
    """Return a map with `value_range.low` at 0 and `value_range.high` at 1, clamped; a constant map is 0.5.

    Args:
        values: (B, H, W) float. NaN stays NaN.
        value_range: One range per image, or one for all.

    Returns:
        (B, H, W) float32 in [0, 1].

    Raises:
        ShapeError: `values` is not (B, H, W), or the number of ranges fits neither 1 nor B.
    """
    require_shape("values", values, "(B, H, W)", remedy="pass one channel and keep the batch axis")
    if len(value_range.low) != 1:
        expected = f"({len(values)},)"
        require_shape(
            "value_range.low", value_range.low, expected, remedy="pass one range per image, or a single one"
        )
    low = value_range.low.to(values.device)[:, None, None]
    span = value_range.high.to(values.device)[:, None, None] - low
    scaled = (values.float() - low) / span.where(span > 0, torch.ones_like(span))
    constant = (span <= 0) & ~values.isnan()
    return scaled.masked_fill(constant, 0.5).clamp(0.0, 1.0)


def valid_pixels(values: Tensor, mask: Tensor | None) -> Tensor:
    """Return (B, H, W) bool: finite, and True in `mask` where there is one.

    Raises:
        ShapeError: `mask` has another shape than `values`.
    """
    finite = torch.isfinite(values)
    if mask is None:
        return finite
    expected = str(tuple(values.shape))
    require_shape("mask", mask, expected, remedy="pass one flag per pixel of the map")
    return finite & mask.to(device=values.device, dtype=torch.bool)


def _range_of(
    values: Tensor, valid: Tensor, percentiles: tuple[float, float], limit: int, from_zero: bool
) -> tuple[Tensor, Tensor]:
    step = max(1, math.ceil(math.sqrt(values[0].numel() / limit)))
    sample = values[:, ::step, ::step][valid[:, ::step, ::step]]
    if sample.numel() == 0:  # nothing on the grid: a valid speck may lie between its points
        sample = values[valid]
    if sample.numel() == 0:
        return torch.tensor(0.0), torch.tensor(1.0)
    q = torch.tensor(percentiles, dtype=torch.float32, device=sample.device) / 100.0
    low, high = torch.quantile(sample.float(), q).unbind()
    low = torch.zeros_like(low) if from_zero else low
    if low == high:
        everything = values[valid].float()
        low, high = torch.minimum(low, everything.min()), everything.max()
    return low.cpu(), high.cpu()
