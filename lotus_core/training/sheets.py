"""Sheets of sample pictures."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

_GAP = 2


def rows_of_pictures(rows: Sequence[Tensor]) -> Tensor:
    """Return batches of pictures below each other, one batch a row.

    Args:
        rows: Batches (B, 3, H, W) float in [-1, 1], all of the same shape.

    Returns:
        (3, R * (H + 2), B * (W + 2)) float in [0, 1].
    """
    padded = [functional.pad(row.float().clamp(-1, 1), (0, _GAP, 0, _GAP), value=1.0) for row in rows]
    return torch.cat([torch.cat(list(row), dim=-1) for row in padded], dim=-2) * 0.5 + 0.5
