"""Pictures of an ensemble's uncertainty."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..errors import OptionError
from .colormap import Colormap, apply_colormap
from .ranges import Scope, ValueRange, normalize, robust_range, valid_pixels

if TYPE_CHECKING:
    from torch import Tensor


def colorize_uncertainty(
    uncertainty: Tensor,
    *,
    maximum: float | None = None,
    colormap: Colormap = "turbo",
    reverse: bool = False,
    mask: Tensor | None = None,
    scope: Scope = "image",
) -> Tensor:
    """Return a picture of an uncertainty map: 0 is the cold end, the upper end is the warm one.

    The range starts at 0, always: where the members agree everywhere, the picture is cold everywhere.

    Args:
        uncertainty: (B, H, W) float, at least 0: the spread of depth in its own unit, or of normals in degrees.
        maximum: Value of the warm end, to compare pictures; None takes the 99th percentile.
        colormap: "grey", "spectral" or "turbo".
        reverse: Paint certainty warm instead.
        mask: (B, H, W) bool, True where the map is valid; the rest is black. None: everywhere.
        scope: "image" or "sequence", for the computed maximum.

    Returns:
        (B, H, W, 3) float32 in [0, 1].

    Raises:
        ShapeError: `uncertainty` or `mask` of another shape.
        OptionError: `maximum` not above 0, unknown colour map or scope.
    """
    if maximum is not None and not maximum > 0:
        raise OptionError("maximum", maximum, "above 0")
    if maximum is None:
        high = robust_range(uncertainty, mask=mask, scope=scope, from_zero=True).high
        high = high.where(high > 0, torch.ones_like(high))
    else:
        high = torch.tensor([maximum])
    scaled = normalize(uncertainty, ValueRange(torch.zeros_like(high), high))
    colours = apply_colormap(scaled, colormap, reverse=reverse)
    return colours * valid_pixels(uncertainty, mask)[..., None]
