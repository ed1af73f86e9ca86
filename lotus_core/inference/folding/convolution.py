"""One convolution with the normalisation before it and the sum after it, computed the quickest exact way."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .leaves import at_hand
from .minimal_filtering import winograd
from .normalisation import group_affine
from .tiles import tiled_convolution
from .workspace import Workspace

_MIN_PIXELS = 1024
"""Below this the transform of the kernels costs more than minimal filtering saves."""
_MIN_CHANNELS = 64
"""Below this the transforms of the tiles do."""
_MAX_GATHERED_PIXELS = 640
"""Up to this a wide kernel is read once as a matrix; oneDNN would reorder it on every call."""


def convolve(
    conv: nn.Conv2d,
    x: Tensor,
    work: Workspace,
    *,
    norm: nn.GroupNorm | None = None,
    shift: Tensor | None = None,
    residual: Tensor | None = None,
    in_place: bool = False,
    scratch: bool = False,
) -> Tensor:
    """Return ``conv(silu(norm(x))) + shift + residual``.

    Args:
        conv: 3x3, stride 1, padding 1.
        x: (B, C, h, w).
        work: Scratch memory and settings of this pass.
        norm: Normalisation, followed by SiLU; None for neither.
        shift: (1, D), added to every pixel.
        residual: (B, D, h, w).
        in_place: Whether the result may be written over `residual`.
        scratch: Whether the result may live in scratch memory, until the next such result.

    Returns:
        (B, D, h, w).
    """
    if _filtered(conv, norm, x, work):
        x = x.contiguous(memory_format=torch.channels_last)
        out = residual if in_place and _is_dense(residual) else None
        if out is None and scratch:
            out = _scratch(work, x.shape[0], conv.out_channels, *x.shape[2:])
        return tiled_convolution(
            x,
            conv.weight.permute(2, 3, 1, 0).flatten(0, 1),
            _bias(conv, shift),
            winograd(),
            work,
            before=None if norm is None else group_affine(x, norm, work),
            residual=residual,
            out=out,
        )
    if norm is not None:
        x = F.silu(norm(x), inplace=True)
    y = gathered_convolution(conv, x) if _gathered(conv, x, work) else conv(x)
    if shift is not None:
        y += shift[:, :, None, None]
    if residual is not None:
        y += residual
    return y


def gathered_convolution(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Return a 3x3 convolution with padding 1 as one matrix product, for small maps with many channels.

    Args:
        conv: The convolution, its weights channels last and at hand.
        x: (B, C, h, w).

    Returns:
        (B, D, h, w), channels last.
    """
    B, C, h, w = x.shape
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    image, row, column, _ = padded.stride()
    windows = padded.as_strided((B, h, w, 3, 3, C), (image, row, column, row, column, 1))
    kernels = conv.weight.permute(0, 2, 3, 1).reshape(conv.out_channels, 9 * C)
    return F.linear(windows.reshape(-1, 9 * C), kernels, conv.bias).view(B, h, w, -1).permute(0, 3, 1, 2)


def can_filter(x: Tensor, work: Workspace) -> bool:
    """Say whether tensors like `x` can take the way of minimal filtering: fp32 on the CPU, not traced."""
    return (
        work.filtering
        and x.device.type == "cpu"
        and x.dtype is torch.float32
        and not torch.compiler.is_compiling()
    )


def _filtered(conv: nn.Conv2d, norm: nn.GroupNorm | None, x: Tensor, work: Workspace) -> bool:
    return (
        can_filter(x, work)
        and x.shape[2] * x.shape[3] >= _MIN_PIXELS
        and min(conv.in_channels, conv.out_channels) >= _MIN_CHANNELS
        and at_hand(conv, x)
        and (norm is None or at_hand(norm, x))
    )


def _gathered(conv: nn.Conv2d, x: Tensor, work: Workspace) -> bool:
    return (
        can_filter(x, work)
        and x.shape[0] * x.shape[2] * x.shape[3] <= _MAX_GATHERED_PIXELS
        and min(conv.in_channels, conv.out_channels) >= _MIN_CHANNELS
        and at_hand(conv, x)
        and conv.weight.is_contiguous(memory_format=torch.channels_last)
    )


def _bias(conv: nn.Conv2d, shift: Tensor | None) -> Tensor:
    bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias
    return bias if shift is None else bias + shift[0]


def _is_dense(x: Tensor | None) -> bool:
    return x is not None and x.is_contiguous(memory_format=torch.channels_last)


def _scratch(work: Workspace, batch: int, channels: int, height: int, width: int) -> Tensor:
    return work.take("hidden", batch, height, width, channels).permute(0, 3, 1, 2)
