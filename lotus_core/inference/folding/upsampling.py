"""Nearest-neighbour 2x followed by a 3x3 convolution, computed on the small map.

Both forms are exact, borders included. `PhaseUpsample` needs 4 multiplications per pixel of the result and
channel pair instead of 9, and 16/9 of the weights; `DifferenceUpsample` needs 2.25 and no more weights, but
reads its results more often: it suits the UNet's small maps with their wide kernels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .convolution import can_filter, convolve
from .leaves import at_hand, convolution, layout_of, linear, wide_bias, wide_weight
from .minimal_filtering import phase_kernels, winograd_after_upsampling
from .tiles import tiled_convolution
from .workspace import Workspace


class PlainUpsample(nn.Module):
    """The upsampled map, then the convolution.

    Args:
        conv: 3x3, padding 1; shared, not copied.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor, work: Workspace, size: tuple[int, int] | None = None) -> Tensor:
        """Return the convolution of (B, C, h, w) enlarged to `size`, or twice."""
        if size is None:
            size = (2 * x.shape[2], 2 * x.shape[3])
        return convolve(self.conv, F.interpolate(x, size=size, mode="nearest"), work)


class PhaseUpsample(nn.Module):
    """Four 2x2 convolutions, one per phase of the result, in one leaf with four times the channels.

    Args:
        conv: 3x3, padding 1; its kernels are summed in float32.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        kernels = phase_kernels(wide_weight(conv)).flatten(0, 2)
        # With padding 1, result (i, j) sees rows i - 1 and i: phase 0 of row i, phase 1 of row i - 1.
        self.phases = convolution(kernels, wide_bias(conv).repeat(4), padding=1)
        self.out_channels = conv.out_channels

    def forward(self, x: Tensor, work: Workspace, size: tuple[int, int] | None = None) -> Tensor:
        """Return (B, D, 2h, 2w) from (B, C, h, w); no other `size` is possible."""
        C, h, w = x.shape[1:]
        D = self.out_channels
        if size not in (None, (2 * h, 2 * w)):
            raise ValueError(f"four phases make {2 * h}x{2 * w} from {h}x{w}, not {size}")
        if can_filter(x, work) and h * w >= 256 and at_hand(self.phases, x):
            kernels = self.phases.weight.view(2, 2, D, C, 2, 2).permute(0, 1, 4, 5, 3, 2).reshape(16, C, D)
            bias = torch.zeros(D) if self.phases.bias is None else self.phases.bias
            x = x.contiguous(memory_format=torch.channels_last)
            return tiled_convolution(x, kernels, bias[:D], winograd_after_upsampling(), work)
        phases = self.phases(x).unflatten(1, (2, 2, D))  # (B, 2, 2, D, h + 1, w + 1)
        out = x.new_empty(x.shape[0], D, 2 * h, 2 * w).contiguous(memory_format=layout_of(x))
        for a in (0, 1):
            for b in (0, 1):
                out[:, :, a::2, b::2] = phases[:, a, b, :, a : a + h, b : b + w]
        return out


class DifferenceUpsample(nn.Module):
    """Matrix products of the map and of its differences between neighbours.

    Along one axis, with kernel w and s = w0 + w1 + w2, the even pixels of the result are
    ``s x[i] + w0 d[i]`` and the odd ones ``s x[i] - w2 d[i + 1]``, where ``d[i] = x[i - 1] - x[i]``: three
    products for two pixels instead of six. Where the enlarged map is cropped by one pixel (an odd size), the
    last even pixel also has ``- w2 d[i + 1]``: there its third tap falls on the padding.

    Args:
        conv: 3x3, padding 1; its kernels are combined in float32.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        weight = wide_weight(conv)
        basis = weight.new_tensor([[1, 1, 1], [1, 0, 0], [0, 0, -1]])  # s, w0, -w2
        kernels = torch.einsum("au,bv,ocuv->aboc", basis, basis, weight)
        whole, differences = slice(0, 1), slice(1, 3)
        self.whole = linear(kernels[whole, whole].flatten(0, 2), wide_bias(conv))
        self.columns = linear(kernels[whole, differences].flatten(0, 2), None)
        self.rows = linear(kernels[differences, whole].flatten(0, 2), None)
        self.both = linear(kernels[differences, differences].flatten(0, 2), None)
        self.out_channels = conv.out_channels

    def forward(self, x: Tensor, work: Workspace, size: tuple[int, int] | None = None) -> Tensor:
        """Return (B, D, H, W) from (B, C, h, w); `size` is (H, W), each side 2 or 2 - 1 pixels per pixel.

        Raises:
            ValueError: Another size.
        """
        B, _, h, w = x.shape
        H, W = (2 * h, 2 * w) if size is None else size
        if h != (H + 1) // 2 or w != (W + 1) // 2:
            raise ValueError(f"{h}x{w} cannot be doubled to {H}x{W}")
        layout, x = layout_of(x), x.permute(0, 2, 3, 1)
        above = _differences(x, 1)  # (B, h + 1, w, C)
        of_whole = _phases(self.whole(x), self.columns(_differences(x, 2)), 2, W)
        rows = self.rows(above).unflatten(-1, (2, -1)).unbind(-2)
        both = self.both(_differences(above, 2)).unflatten(-1, (2, -1)).unbind(-2)
        of_rows = zip(*(_phases(r, b, 2, W) for r, b in zip(rows, both, strict=True)), strict=True)
        out = x.new_empty(B, H, W, self.out_channels)
        for column, (whole, differences) in enumerate(zip(of_whole, of_rows, strict=True)):
            even, odd = _phases(whole, torch.cat(differences, dim=-1), 1, H)
            out[:, 0::2, column::2] = even
            out[:, 1::2, column::2] = odd
        return out.permute(0, 3, 1, 2).contiguous(memory_format=layout)


def _differences(x: Tensor, dim: int) -> Tensor:
    """Return x[i - 1] - x[i] along `dim`, zeros outside; one longer than `x`."""
    edge = torch.zeros_like(x.narrow(dim, 0, 1))
    return torch.cat([edge, x], dim) - torch.cat([x, edge], dim)


def _phases(whole: Tensor, differences: Tensor, dim: int, size: int) -> tuple[Tensor, Tensor]:
    """Return the even and the odd pixels along `dim` of a result of `size` pixels.

    Args:
        whole: (..., n, ..., D), products with s.
        differences: (..., n + 1, ..., 2 * D), products with w0, then with -w2.
        dim: The axis, n pixels long.
        size: 2 * n or 2 * n - 1.
    """
    n = whole.shape[dim]
    first, last = differences.chunk(2, dim=-1)
    even = whole + first.narrow(dim, 0, n)
    if size % 2:
        even.narrow(dim, n - 1, 1).add_(last.narrow(dim, n, 1))
    return even, whole.narrow(dim, 0, size // 2) + last.narrow(dim, 1, size // 2)
