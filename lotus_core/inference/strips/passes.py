"""The layers of an autoencoder, strip by strip.

Between layers a map lies in main memory, whole. A layer takes a strip of rows to the device, with the rows above
and below that its kernels see, and brings the result back. Normalisations take their mean and variance from the
whole map. So the result is the one of the undivided network up to rounding: there are no seams to hide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import Attention, AutoencoderLayers, Convolution, Doubling, Halving, Layer, Residual

Affine = tuple[Tensor, Tensor]
"""Scale and shift of every channel of every image, (B, C, 1, 1) float32."""


class StripPass:
    """One pass through an autoencoder.

    Args:
        device: Where strips are computed.
        dtype: Type in which they are computed, and in which maps wait.
        strip_bytes: About how much memory of the device one strip may take.
        between_layers: Called before every layer; may raise, to stop.
    """

    def __init__(
        self,
        device: torch.device,
        dtype: torch.dtype,
        strip_bytes: int,
        between_layers: Callable[[], None] = lambda: None,
    ) -> None:
        self._device = device
        self._dtype = dtype
        self._strip_bytes = strip_bytes
        self._between_layers = between_layers

    def encode(self, layers: AutoencoderLayers, rgb: Tensor) -> Tensor:
        """Return scaled latents, (B, 4, H/8, W/8) on the CPU, of pixels (B, 3, H, W) in [-1, 1]."""
        return layers.finish(self._run(layers.encoder, rgb.to("cpu", self._dtype)))

    def decode(self, layers: AutoencoderLayers, x0: Tensor) -> Tensor:
        """Return pixels, (B, 3, 8h, 8w) on the CPU, about [-1, 1], of scaled latents (B, 4, h, w)."""
        return self._run(layers.decoder, layers.prepare(x0.to("cpu", self._dtype)))

    def _run(self, layers: Sequence[Layer], x: Tensor) -> Tensor:
        for layer in layers:
            self._between_layers()
            if isinstance(layer, Convolution):
                x = self._convolution(layer, x)
            elif isinstance(layer, Residual):
                x = self._residual(layer, x)
            elif isinstance(layer, Halving):
                x = self._halving(layer, x)
            elif isinstance(layer, Doubling):
                x = self._doubling(layer, x)
            else:
                x = self._attention(layer, x)
        return x

    def _residual(self, layer: Residual, x: Tensor) -> Tensor:
        hidden = self._convolution(layer.first, x)
        shortcut = layer.shortcut

        def beside(first: int, end: int) -> Tensor:
            rows = self._to_device(x, first, end)
            return rows if shortcut is None else shortcut(rows)

        # where the widths agree, each strip may overwrite the rows that it alone still reads
        return self._convolution(layer.second, hidden, beside=beside, out=x if shortcut is None else None)

    def _convolution(
        self,
        layer: Convolution,
        x: Tensor,
        *,
        beside: Callable[[int, int], Tensor] | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """Return ``conv(silu(norm(x))) + beside``, written to `out` where that is given."""
        affine = None if layer.norm is None else self._affine(layer.norm, x)
        halo = layer.conv.kernel_size[0] // 2
        rows = self._rows(x, layer.conv.out_channels)
        for first, end in _strips(x.shape[2], rows):
            top, bottom = max(0, first - halo), min(x.shape[2], end + halo)
            strip = layer.conv(self._activated(self._to_device(x, top, bottom), affine))
            strip = strip[:, :, first - top : end - top]
            if beside is not None:
                strip = strip + beside(first, end)
            out = self._store(strip, out, first, x.shape[2])
        return _required(out)

    def _halving(self, layer: Halving, x: Tensor) -> Tensor:
        out: Tensor | None = None
        height = x.shape[2] // 2
        for first, end in _strips(height, max(1, self._rows(x, layer.conv.out_channels) // 2)):
            bottom = min(x.shape[2], 2 * end + 1)
            strip = F.pad(self._to_device(x, 2 * first, bottom), (0, 1, 0, 2 * end + 1 - bottom))
            out = self._store(layer.conv(strip), out, first, height)
        return _required(out)

    def _doubling(self, layer: Doubling, x: Tensor) -> Tensor:
        out: Tensor | None = None
        for first, end in _strips(x.shape[2], self._rows(x, 8 * layer.out_channels)):
            top, bottom = max(0, first - 1), min(x.shape[2], end + 1)
            strip = layer.enlarge(self._to_device(x, top, bottom))
            out = self._store(
                strip[:, :, 2 * (first - top) : 2 * (end - top)], out, 2 * first, 2 * x.shape[2]
            )
        return _required(out)

    def _attention(self, layer: Attention, x: Tensor) -> Tensor:
        """Queries, keys and values of the small map lie on the device; the queries are answered strip by strip."""
        affine = self._affine(layer.norm, x)
        C, H, W = x.shape[1:]
        strips = list(_strips(H, self._rows(x, 4 * C)))
        parts: list[Sequence[Tensor]] = []
        for first, end in strips:
            tokens = self._normalised(self._to_device(x, first, end), affine).flatten(2).transpose(1, 2)
            if len(layer.projections) == 1:
                parts.append(layer.projections[0](tokens).chunk(3, dim=-1))
            else:
                parts.append([projection(tokens) for projection in layer.projections])
        query, key, value = (
            torch.cat(part, dim=1).unflatten(-1, (layer.heads, -1)).transpose(1, 2)
            for part in zip(*parts, strict=True)
        )  # (B, heads, H * W, width)
        del parts
        for first, end in strips:
            mixed = F.scaled_dot_product_attention(query[:, :, first * W : end * W], key, value)
            tokens = layer.out(mixed.transpose(1, 2).flatten(2))  # (B, rows * W, C)
            strip = tokens.transpose(1, 2).unflatten(2, (end - first, W)) + self._to_device(x, first, end)
            self._store(strip, x, first, H)
        return x

    def _activated(self, strip: Tensor, affine: Affine | None) -> Tensor:
        return strip if affine is None else F.silu(self._normalised(strip, affine))

    def _normalised(self, strip: Tensor, affine: Affine) -> Tensor:
        return torch.addcmul(affine[1], strip.float(), affine[0]).to(self._dtype)

    def _affine(self, norm: nn.GroupNorm, x: Tensor) -> Affine:
        """Return the scale and shift by which a normalisation over the whole map acts on each channel."""
        B, C = x.shape[:2]
        grouped = x.view(B, norm.num_groups, -1)
        moments = [torch.var_mean(group.float(), correction=0) for image in grouped for group in image]
        variance, mean = (torch.stack(m).view(B, norm.num_groups) for m in zip(*moments, strict=True))
        scale = torch.rsqrt(variance + norm.eps).repeat_interleave(C // norm.num_groups, dim=1)
        mean = mean.repeat_interleave(C // norm.num_groups, dim=1)
        scale = scale * norm.weight.detach().to("cpu", torch.float32)
        shift = norm.bias.detach().to("cpu", torch.float32) - mean * scale
        return scale[:, :, None, None].to(self._device), shift[:, :, None, None].to(self._device)

    def _rows(self, x: Tensor, out_channels: int) -> int:
        """Return how many rows one strip may have: its input, that in float32 twice, and its result twice."""
        itemsize = self._dtype.itemsize
        row = x.shape[0] * x.shape[3] * (x.shape[1] * (itemsize + 8) + out_channels * 2 * itemsize)
        return max(1, self._strip_bytes // row)

    def _to_device(self, x: Tensor, first: int, end: int) -> Tensor:
        return x[:, :, first:end].to(self._device)

    def _store(self, strip: Tensor, out: Tensor | None, first: int, height: int) -> Tensor:
        if out is None:
            out = torch.empty(strip.shape[0], strip.shape[1], height, strip.shape[3], dtype=self._dtype)
        out[:, :, first : first + strip.shape[2]] = strip.to("cpu")
        return out


def _strips(height: int, rows: int) -> Iterator[tuple[int, int]]:
    for first in range(0, height, rows):
        yield first, min(height, first + rows)


def _required(out: Tensor | None) -> Tensor:
    if out is None:
        raise ValueError("a map without rows has no layers")
    return out
