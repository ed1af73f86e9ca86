"""Making and reading the leaves: the `nn.Linear`, `nn.Conv2d` and norms that hold every weight.

A host may take over these leaves (keep their weights in another dtype or on another device, and cast them
when they are called), so a forward pass calls a leaf and reads its weights only where `at_hand` says so.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Return ``y = x @ weight.T + bias`` as a leaf; weight (out, in), bias (out,) or None."""
    with torch.device("meta"):
        leaf = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    _fill(leaf, weight, bias)
    return leaf


def convolution(weight: Tensor, bias: Tensor | None, *, padding: int = 0, stride: int = 1) -> nn.Conv2d:
    """Return a convolution as a leaf; weight (out, in, k, k), bias (out,) or None."""
    out_channels, in_channels, size, _ = weight.shape
    with torch.device("meta"):
        leaf = nn.Conv2d(in_channels, out_channels, size, stride, padding, bias=bias is not None)
    _fill(leaf, weight, bias)
    return leaf


def rebiased(conv: nn.Conv2d, bias: Tensor) -> nn.Conv2d:
    """Return a convolution that shares the weight parameter of another and has another bias."""
    with torch.device("meta"):
        size, stride, padding = conv.kernel_size[0], conv.stride[0], int(conv.padding[0])
        other = nn.Conv2d(conv.in_channels, conv.out_channels, size, stride, padding)
    other.weight, other.bias = conv.weight, nn.Parameter(bias, requires_grad=False)
    return other


def wide_weight(leaf: nn.Linear | nn.Conv2d) -> Tensor:
    """Return a leaf's weight in at least float32, the type in which folds are computed."""
    return widened(leaf.weight.data)


def wide_bias(leaf: nn.Linear | nn.Conv2d) -> Tensor:
    """Return a leaf's bias in at least float32, zeros where it has none; (out,)."""
    if leaf.bias is None:
        return torch.zeros(leaf.weight.shape[0], dtype=widened(leaf.weight.data[:0]).dtype)
    return widened(leaf.bias.data)


def widened(x: Tensor) -> Tensor:
    """Return a tensor in at least float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def layout_of(x: Tensor) -> torch.memory_format:
    """Return how a (B, C, h, w) map lies in memory: channels last, or else contiguous."""
    last = x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def laid_out_like(x: Tensor, other: Tensor) -> Tensor:
    """Return a (B, C, h, w) map in the memory layout of another: convolutions are slow where layouts mix."""
    return x.contiguous(memory_format=layout_of(other))


def at_hand(leaf: nn.Module, x: Tensor) -> bool:
    """Say whether a leaf's weights can be read directly to compute with `x`.

    They cannot where a host keeps them on another device or in another dtype than `x`, or patches them on
    every call (it then hangs non-empty `weight_function` or `bias_function` lists on the leaf).
    """
    if getattr(leaf, "weight_function", None) or getattr(leaf, "bias_function", None):
        return False
    parameters = tuple(leaf.parameters(recurse=False))
    return bool(parameters) and all(p.device == x.device and p.dtype == x.dtype for p in parameters)


def _fill(leaf: nn.Linear | nn.Conv2d, weight: Tensor, bias: Tensor | None) -> None:
    leaf.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        leaf.bias = nn.Parameter(bias, requires_grad=False)
