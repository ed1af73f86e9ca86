"""Group normalisation as one scale and shift per channel, for the convolution that follows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .tiles import Affine
from .workspace import Workspace

_BLOCK = 1 << 17
"""Numbers per block: few enough for a block and its squares to stay in the cache."""


def group_affine(x: Tensor, norm: nn.GroupNorm, work: Workspace) -> Affine:
    """Return the scale and shift by which a group normalisation acts on each channel of each image.

    Args:
        x: (B, C, H, W) float32, channels last.
        norm: The normalisation, affine, its weights in float32 on the CPU.
        work: Scratch memory.

    Returns:
        (B, C) scale and shift such that ``x * scale + shift`` equals ``norm(x)``.
    """
    B, C = x.shape[:2]
    by_group = (B, norm.num_groups, C // norm.num_groups)
    means, variances = (
        m.view(by_group) for m in _channel_moments(x.permute(0, 2, 3, 1).reshape(B, -1, C), work)
    )
    mean = means.mean(-1, keepdim=True)
    variance = (variances + (means - mean).square()).mean(-1, keepdim=True)
    scale = norm.weight.double().view(by_group[1:]) / (variance + norm.eps).sqrt()
    shift = norm.bias.double().view(by_group[1:]) - mean * scale
    return Affine(scale.view(B, C).float(), shift.view(B, C).float())


def _channel_moments(pixels: Tensor, work: Workspace) -> tuple[Tensor, Tensor]:
    """Return mean and variance of every channel of every image, (B, C) float64, from (B, N, C) float32.

    Differences from the first block's mean are summed, so that an offset costs no precision: in float32 over a
    block (as a matrix product, the quickest pass over memory), in float64 over the blocks.
    """
    B, N, C = pixels.shape
    rows = max(1, min(N, _BLOCK // C))
    ones = torch.ones(1, rows)
    centred = work.take("centred", rows, C)
    sums = torch.zeros(2, B, C, dtype=torch.float64)
    pivots = ones.div(rows) @ pixels[:, :rows]  # (B, 1, C)
    for image in range(B):
        for first in range(0, N, rows):
            block = pixels[image, first : first + rows]
            n = block.shape[0]
            torch.sub(block, pivots[image], out=centred[:n])
            sums[0, image] += (ones[:, :n] @ centred[:n])[0]
            sums[1, image] += (ones[:, :n] @ centred[:n].square_())[0]
    offset = sums[0] / N
    return pivots[:, 0] + offset, (sums[1] / N - offset.square()).clamp_min(0.0)
