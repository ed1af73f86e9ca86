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
    B, C, H, W = x.shape
    per_group = C // norm.num_groups
    moments = _channel_moments(x.permute(0, 2, 3, 1).reshape(B, H * W, C), work)
    moments = moments.view(2, B, norm.num_groups, per_group).sum(-1) / (H * W * per_group)
    mean, square = moments.repeat_interleave(per_group, dim=-1)  # (B, C) each
    deviation = ((square - mean * mean).clamp_min(0.0) + norm.eps).sqrt()
    scale = norm.weight.double() / deviation
    return Affine(scale.float(), (norm.bias.double() - mean * scale).float())


def _channel_moments(pixels: Tensor, work: Workspace) -> Tensor:
    """Return the sums of x and of x * x over the pixels: (2, B, C) float64, from (B, N, C) float32.

    Sums run in float32 over a block of pixels (as matrix products: the quickest pass over memory) and in
    float64 over the blocks, so that large images lose no precision.
    """
    B, N, C = pixels.shape
    rows = max(1, min(N, _BLOCK // C))
    ones = torch.ones(1, rows)
    squares = work.take("squares", rows, C)
    sums = torch.zeros(2, B, C, dtype=torch.float64)
    for image in range(B):
        for first in range(0, N, rows):
            block = pixels[image, first : first + rows]
            n = block.shape[0]
            sums[0, image] += (ones[:, :n] @ block)[0]
            sums[1, image] += (ones[:, :n] @ torch.mul(block, block, out=squares[:n]))[0]
    return sums
