"""Several maps of one picture, from several noises, made one with its spread."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def merge_depths(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the merged map of N affine-invariant maps, and how far they lie apart.

    Each map is brought to the ensemble's mean shift (median) and scale (median absolute deviation), then
    merged pixel by pixel by the median. Maps ``x``, ``x + 0.1`` and ``x - 0.1`` merge to ``x`` with zero spread.

    Args:
        maps: (N, B, H, W) float in [0, 1].

    Returns:
        (B, H, W) in [0, 1], and the median absolute deviation of the aligned maps, (B, H, W).
    """
    flat = maps.flatten(2)  # (N, B, H*W)
    shift = flat.median(dim=-1, keepdim=True).values
    scale = (flat - shift).abs().median(dim=-1, keepdim=True).values
    constant = scale < 1e-6
    gain = torch.where(constant, torch.ones_like(scale), scale.mean(0, keepdim=True) / scale.clamp_min(1e-6))
    aligned = ((flat - shift) * gain + shift.mean(0, keepdim=True)).reshape(maps.shape)
    merged = _median(aligned)
    spread = _median((aligned - merged).abs())
    return merged.clamp(0.0, 1.0), spread


def merge_normals(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean direction of N normal maps, and their mean angle to it.

    Args:
        vectors: (N, B, H, W, 3) unit vectors.

    Returns:
        (B, H, W, 3) unit vectors, and the mean angle in degrees, (B, H, W).
    """
    mean = F.normalize(vectors.sum(0), dim=-1)
    # chord -> angle: exact for small angles in fp32, where acos of a product loses half of the digits
    half_chord = ((vectors - mean).norm(dim=-1) * 0.5).clamp(max=1.0)
    return mean, torch.rad2deg(2.0 * torch.asin(half_chord)).mean(0)


def _median(stack: Tensor) -> Tensor:
    """Median along the first dimension; the mean of the middle two for an even count."""
    ordered = stack.sort(dim=0).values
    n = len(ordered)
    return (ordered[(n - 1) // 2] + ordered[n // 2]) * 0.5
