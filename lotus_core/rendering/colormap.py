"""Colour maps, made from their published control points: no plotting library is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal, get_args

import torch

from ..errors import OptionError

if TYPE_CHECKING:
    from torch import Tensor

Colormap = Literal["grey", "spectral", "turbo"]

COLORMAPS: Final[tuple[Colormap, ...]] = get_args(Colormap)

_CONTROL_POINTS: Final[dict[Colormap, tuple[tuple[int, int, int], ...]]] = {
    "grey": ((0, 0, 0), (255, 255, 255)),
    # ColorBrewer 2.0 (C. Brewer, M. Harrower), diverging, "Spectral", 11 classes, from its blue to its red end.
    "spectral": (
        (94, 79, 162), (50, 136, 189), (102, 194, 165), (171, 221, 164), (230, 245, 152), (255, 255, 191),
        (254, 224, 139), (253, 174, 97), (244, 109, 67), (213, 62, 79), (158, 1, 66),
    ),
    # Turbo (A. Mikhailov, Google, 2019): every 15th of the 256 published entries, which gives the ones between
    # within 0.023. The published polynomial is 0.125 off at the ends.
    "turbo": (
        (48, 18, 59), (63, 62, 156), (70, 102, 221), (69, 140, 253), (47, 178, 244), (26, 212, 208),
        (34, 235, 170), (82, 250, 122), (139, 255, 75), (183, 247, 53), (219, 226, 54), (245, 197, 58),
        (254, 161, 48), (249, 117, 29), (232, 75, 12), (206, 45, 4), (169, 22, 1), (122, 4, 3),
    ),
}  # fmt: skip


def apply_colormap(values: Tensor, colormap: Colormap = "spectral", *, reverse: bool = False) -> Tensor:
    """Return the colours of a map.

    0 is the cold end and 1 the warm one: black to white, violet to red (Spectral, the red end as in matplotlib's
    "Spectral_r"), dark blue to dark red (Turbo). Colours between two control points are interpolated
    linearly: grey 0.25 is (0.25, 0.25, 0.25).

    Args:
        values: (...) float in [0, 1]; values outside are clamped, NaN is black.
        colormap: "grey", "spectral" or "turbo".
        reverse: Run the map from 1 to 0.

    Returns:
        (..., 3) float32 RGB in [0, 1].

    Raises:
        OptionError: An unknown colour map.
    """
    points = _points(colormap, values.device)
    known = ~values.isnan()
    x = values.float().nan_to_num(0.0).clamp(0.0, 1.0)
    x = (1.0 - x if reverse else x) * (len(points) - 1)
    index = x.floor().clamp(max=len(points) - 2).long()
    fraction = (x - index)[..., None]
    colours = torch.lerp(points[index], points[index + 1], fraction)  # (..., 3)
    return colours * known[..., None]


def _points(colormap: Colormap, device: torch.device) -> Tensor:
    points: Sequence[tuple[int, int, int]] | None = _CONTROL_POINTS.get(colormap)
    if points is None:
        raise OptionError("colormap", colormap, f"one of {', '.join(COLORMAPS)}")
    return torch.tensor(points, dtype=torch.float32, device=device) / 255.0
