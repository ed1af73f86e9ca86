"""Random changes of a picture's appearance that leave its geometry alone."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

_LUMA = (0.299, 0.587, 0.114)


def vary_appearance(image: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Return a picture under another exposure, contrast, colour and sharpness.

    At strength 1: exposure by a factor e^0.35, gamma by e^0.3, contrast by e^0.25 and channel gains by e^0.12 (one
    standard deviation each), saturation from 0.4 to 1.36, one picture in ten grey, a blur in three of ten, sensor
    noise of up to 0.03.

    Args:
        image: (3, H, W) float in [-1, 1].
        strength: 0 returns the picture as it is; 1 is the full range.
        generator: Of the draws, on the CPU.

    Returns:
        (3, H, W) float in [-1, 1].
    """
    if strength <= 0:
        return image
    gauss = torch.randn(6, generator=generator).tolist()
    share = torch.rand(5, generator=generator).tolist()
    rgb01 = (image * 0.5 + 0.5).clamp(0, 1)
    if share[0] < 0.3 * strength:
        rgb01 = _blurred(rgb01, 0.3 + 0.7 * share[1])
    gains = torch.tensor(gauss[:3]).mul(0.12 * strength).exp()[:, None, None]
    rgb01 = rgb01 * gains * math.exp(0.35 * strength * gauss[3])
    rgb01 = rgb01.clamp(1e-4, 1) ** math.exp(0.3 * strength * gauss[4])
    grey = (rgb01 * torch.tensor(_LUMA)[:, None, None]).sum(0, keepdim=True)
    saturation = 0.0 if share[2] < 0.1 * strength else 1 + strength * (1.6 * share[3] - 1) * 0.6
    rgb01 = grey + (rgb01 - grey) * saturation
    mean = rgb01.mean()
    rgb01 = mean + (rgb01 - mean) * math.exp(0.25 * strength * gauss[5])
    noise = torch.randn(rgb01.shape, generator=generator) * (0.03 * strength * share[4] ** 2)
    return (rgb01 + noise).clamp(0, 1) * 2 - 1


def _blurred(rgb01: Tensor, sigma_px: float) -> Tensor:
    offsets = torch.arange(-2.0, 3.0)
    weights = torch.exp(-0.5 * (offsets / sigma_px) ** 2)
    weights = weights / weights.sum()
    padded = functional.pad(rgb01[:, None], (2, 2, 2, 2), mode="replicate")
    rows = functional.conv2d(padded, weights.view(1, 1, 5, 1))
    return functional.conv2d(rows, weights.view(1, 1, 1, 5))[:, 0]
