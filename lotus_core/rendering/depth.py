"""Pictures of depth maps.

Convention:
    In every picture the near side is the white or warm end, whatever the kind of the map. With the range
    0 to 1, disparity 0.8 (near) and depth 0.2 (near) are both painted as 0.8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..conventions import DepthKind
from ..errors import OptionError
from .colormap import Colormap, apply_colormap
from .ranges import PERCENTILES, Scope, ValueRange, normalize, robust_range, valid_pixels

if TYPE_CHECKING:
    from torch import Tensor


def nearness(
    values: Tensor,
    kind: DepthKind,
    *,
    mask: Tensor | None = None,
    value_range: ValueRange | None = None,
    percentiles: tuple[float, float] = PERCENTILES,
    scope: Scope = "image",
) -> Tensor:
    """Return how near every pixel is: 1 at the near end of the range, 0 at the far end.

    Disparity as it is, depth as 1 - x, after the range has become [0, 1]. A constant map is 0.5; pixels that
    are masked out, NaN or infinite are 0, as if infinitely far.

    Args:
        values: (B, H, W) float, of the stated kind.
        kind: "depth" (high = far) or "disparity" (high = near).
        mask: (B, H, W) bool, True where the map is valid; None: everywhere.
        value_range: Range to use, in the map's own values, for example one for a whole clip; None computes a
            robust one.
        percentiles: Percentiles of the computed range.
        scope: "image" or "sequence", for the computed range.

    Returns:
        (B, H, W) float32 in [0, 1].

    Raises:
        ShapeError: `values` or `mask` of another shape.
        OptionError: Unknown kind, scope, or percentiles out of order.
    """
    if kind not in ("depth", "disparity"):
        raise OptionError("kind", kind, '"depth" (high = far) or "disparity" (high = near)')
    if value_range is None:
        value_range = robust_range(values, mask=mask, percentiles=percentiles, scope=scope)
    scaled = normalize(values, value_range)
    near = scaled if kind == "disparity" else 1.0 - scaled
    return torch.where(valid_pixels(values, mask), near, torch.zeros_like(near))


def depth_hint(
    values: Tensor,
    kind: DepthKind,
    *,
    mask: Tensor | None = None,
    value_range: ValueRange | None = None,
    percentiles: tuple[float, float] = PERCENTILES,
    scope: Scope = "image",
) -> Tensor:
    """Return the picture that a depth ControlNet takes: grey, near = white for either kind.

    Args:
        values: (B, H, W) float, of the stated kind.
        kind: "depth" (high = far) or "disparity" (high = near).
        mask: (B, H, W) bool, True where the map is valid; None: everywhere.
        value_range: Range to use, in the map's own values; None computes a robust one.
        percentiles: Percentiles of the computed range.
        scope: "image" or "sequence", for the computed range.

    Returns:
        (B, H, W, 3) float32 in [0, 1], three equal channels; black where the map is not valid.

    Raises:
        ShapeError: `values` or `mask` of another shape.
        OptionError: Unknown kind or scope, or percentiles out of order.
    """
    near = nearness(values, kind, mask=mask, value_range=value_range, percentiles=percentiles, scope=scope)
    return near[..., None].repeat(1, 1, 1, 3)


def colorize_depth(
    values: Tensor,
    kind: DepthKind,
    *,
    colormap: Colormap = "spectral",
    reverse: bool = False,
    mask: Tensor | None = None,
    value_range: ValueRange | None = None,
    percentiles: tuple[float, float] = PERCENTILES,
    scope: Scope = "image",
) -> Tensor:
    """Return a coloured picture of a depth map, near = the warm (red) or white end.

    Args:
        values: (B, H, W) float, of the stated kind.
        kind: "depth" (high = far) or "disparity" (high = near).
        colormap: "grey", "spectral" or "turbo".
        reverse: Paint far with the warm or white end instead.
        mask: (B, H, W) bool, True where the map is valid; None: everywhere.
        value_range: Range to use, in the map's own values; None computes a robust one.
        percentiles: Percentiles of the computed range.
        scope: "image" or "sequence", for the computed range.

    Returns:
        (B, H, W, 3) float32 in [0, 1]; black where the map is not valid.

    Raises:
        ShapeError: `values` or `mask` of another shape.
        OptionError: Unknown kind, colour map or scope, or percentiles out of order.
    """
    near = nearness(values, kind, mask=mask, value_range=value_range, percentiles=percentiles, scope=scope)
    colours = apply_colormap(near, colormap, reverse=reverse)
    return colours * valid_pixels(values, mask)[..., None]
