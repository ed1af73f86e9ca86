"""Convolutions on the CPU by minimal filtering, strip by strip so that all of it happens in the cache."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .minimal_filtering import Filtering
from .workspace import Workspace

TILES_PER_STRIP = 128
"""Enough rows for the matrix products to run at full speed, few enough for the strip to stay in the cache."""


@dataclass(frozen=True)
class Affine:
    """What comes before a convolution: ``silu(x * scale + shift)``.

    Attributes:
        scale: (B, C) float32.
        shift: (B, C) float32.
    """

    scale: Tensor
    shift: Tensor


def tiled_convolution(
    x: Tensor,
    kernels: Tensor,
    bias: Tensor,
    filtering: Filtering,
    work: Workspace,
    *,
    before: Affine | None = None,
    residual: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Return the convolution of `x`, with what surrounds it, in one pass over memory.

    Args:
        x: (B, C, H, W) float32, channels last.
        kernels: (k, C, D) float32, the flattened kernels that `filtering` takes.
        bias: (D,) float32.
        filtering: The algorithm.
        work: Scratch memory.
        before: Normalisation and activation of `x`; None to take `x` as it is.
        residual: (B, D, fH, fW) float32, channels last, added to the result. f is 1, or 2 after upsampling.
        out: (B, D, fH, fW) float32, channels last, to write to; may be `residual` itself. None: a new tensor.

    Returns:
        (B, D, fH, fW) float32, channels last.
    """
    strips = _Strips(x, kernels, filtering, work)
    if out is None:
        out = torch.empty(x.shape[0], *strips.result_size, dtype=x.dtype).permute(0, 3, 1, 2)
    rows_in, rows_out = x.permute(0, 2, 3, 1), out.permute(0, 2, 3, 1)
    rows_residual = None if residual is None else residual.permute(0, 2, 3, 1)
    for image in range(x.shape[0]):
        affine = None if before is None else (before.scale[image], before.shift[image])
        for first in range(0, strips.tile_rows, strips.rows):
            count = min(strips.rows, strips.tile_rows - first)
            strips.load(rows_in[image], first, count, affine)
            tiles = strips.multiply(count)
            where = slice(first * filtering.outputs, (first + count) * filtering.outputs)
            added = None if rows_residual is None else rows_residual[image, where]
            strips.store(tiles, bias, added, rows_out[image, where])
    return out


class _Strips:
    """The strips of one convolution: their geometry and their buffers."""

    def __init__(self, x: Tensor, kernels: Tensor, filtering: Filtering, work: Workspace) -> None:
        _, C, H, W = x.shape
        k, _, D = kernels.shape
        f = filtering
        self.f, self.work, self.C, self.D, self.W = f, work, C, D, W
        self.tile_rows, self.tile_columns = -(-H // f.step), -(-W // f.step)
        self.rows = max(1, min(self.tile_rows, round(TILES_PER_STRIP / self.tile_columns)))
        self.width = f.step * (self.tile_columns - 1) + f.tile
        grow = f.outputs // f.step
        self.result_size = (grow * H, grow * W, D)
        self.whole_tiles = H % f.step == 0 and W % f.step == 0
        self.lines = work.take("lines", f.step * self.rows + f.tile - f.step, self.width, C).zero_()
        spectrum = work.take("kernels", f.products, C * D)
        self.kernels = torch.mm(f.weights, kernels.reshape(k, C * D), out=spectrum).view(f.products, C, D)

    def load(self, x: Tensor, first: int, count: int, affine: tuple[Tensor, Tensor] | None) -> None:
        """Fill `lines` with the input of tile rows `first` to ``first + count``, zeros outside the image.

        Line 0 is the row above the strip. Columns outside the image are zero from the start and stay so.
        """
        f, H = self.f, x.shape[0]
        top = first * f.step - 1
        halo, used = f.tile - f.step, f.step * count + f.tile - f.step
        if first == 0:
            self.lines[0].zero_()
            done = 1
        else:  # the last lines of the strip before, normalised already
            last = self.lines[f.step * self.rows :]
            self.lines[:halo].copy_(last if f.step * self.rows >= halo else last.clone())
            done = halo
        end = max(done, min(used, H - top))
        into, rows = self.lines[done:end, 1 : self.W + 1], x[top + done : top + end]
        if affine is None:
            into.copy_(rows)
        else:
            scale, shift = affine
            F.silu(torch.addcmul(shift, rows, scale, out=into), inplace=True)
        self.lines[end:used].zero_()

    def multiply(self, count: int) -> Tensor:
        """Return the output tiles of the loaded strip: (m, m, count, tile columns, D)."""
        f, C, D = self.f, self.C, self.D
        n = count * self.tile_columns
        row, column = self.width * C, C
        overlapping = self.lines.as_strided(
            (f.tile, f.tile, count, self.tile_columns, C), (row, column, f.step * row, f.step * column, 1)
        )
        tiles = self.work.take("tiles", f.tile, f.tile, count, self.tile_columns, C)
        tiles.copy_(overlapping)
        spectrum = self.work.take("spectrum", f.products, n * C)
        torch.mm(f.forward, tiles.view(f.tile * f.tile, n * C), out=spectrum)
        products = self.work.take("products", f.products, n, D)
        torch.bmm(spectrum.view(f.products, n, C), self.kernels, out=products)
        result = self.work.take("result", f.outputs * f.outputs, n * D)
        torch.mm(f.inverse, products.view(f.products, n * D), out=result)
        return result.view(f.outputs, f.outputs, count, self.tile_columns, D)

    def store(self, tiles: Tensor, bias: Tensor, residual: Tensor | None, out: Tensor) -> None:
        """Write a strip's output rows: tiles side by side, plus the bias, plus the residual."""
        m, _, count, columns, D = tiles.shape
        tiles = tiles.permute(2, 0, 3, 1, 4)  # (tile row, row, tile column, column, D)
        if self.whole_tiles and residual is None:
            torch.add(tiles, bias, out=out.view(count, m, columns, m, D))
            return
        rows = self.work.take("rows", count, m, columns, m, D)
        torch.add(tiles, bias, out=rows)
        inside = rows.view(count * m, columns * m, D)[: out.shape[0], : out.shape[1]]
        if residual is None:
            out.copy_(inside)
        else:
            torch.add(inside, residual, out=out)
