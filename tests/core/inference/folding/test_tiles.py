from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from lotus_core.inference.folding import tiles
from lotus_core.inference.folding.minimal_filtering import phase_kernels, winograd, winograd_after_upsampling
from lotus_core.inference.folding.tiles import Affine, tiled_convolution
from lotus_core.inference.folding.workspace import Workspace

SIZES = [(1, 1), (1, 96), (9, 13), (8, 8), (16, 12), (5, 40), (30, 3)]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def flattened(weight: torch.Tensor) -> torch.Tensor:
    return weight.permute(2, 3, 1, 0).flatten(0, 1)


@pytest.fixture(params=[1, 7, 128])
def tiles_per_strip(request, monkeypatch):
    """Strips of one tile row, of a few, and of the whole image."""
    monkeypatch.setattr(tiles, "TILES_PER_STRIP", request.param)


@pytest.mark.usefixtures("tiles_per_strip")
@pytest.mark.parametrize("size", SIZES)
def test_equals_a_convolution_on_every_size(size):
    x, weight, bias = channels_last(random(2, 6, *size)), random(5, 6, 3, 3, seed=1) / 7, random(5, seed=2)
    y = tiled_convolution(x, flattened(weight), bias, winograd(), Workspace(True))
    torch.testing.assert_close(y, F.conv2d(x, weight, bias, padding=1), atol=1e-5, rtol=0)
    assert y.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.usefixtures("tiles_per_strip")
@pytest.mark.parametrize("size", SIZES)
def test_normalises_before_and_adds_after(size):
    x, weight, bias = channels_last(random(2, 6, *size)), random(5, 6, 3, 3, seed=1) / 7, random(5, seed=2)
    scale, shift, residual = (
        random(2, 6, seed=3),
        random(2, 6, seed=4),
        channels_last(random(2, 5, *size, seed=5)),
    )
    y = tiled_convolution(
        x,
        flattened(weight),
        bias,
        winograd(),
        Workspace(True),
        before=Affine(scale, shift),
        residual=residual,
    )
    before = F.silu(x * scale[:, :, None, None] + shift[:, :, None, None])
    torch.testing.assert_close(y, F.conv2d(before, weight, bias, padding=1) + residual, atol=1e-5, rtol=0)


@pytest.mark.usefixtures("tiles_per_strip")
@pytest.mark.parametrize("size", SIZES)
def test_equals_a_convolution_after_upsampling_on_every_size(size):
    x, weight, bias = channels_last(random(2, 6, *size)), random(5, 6, 3, 3, seed=1) / 7, random(5, seed=2)
    kernels = phase_kernels(weight).permute(0, 1, 4, 5, 3, 2).reshape(16, 6, 5)
    y = tiled_convolution(x, kernels, bias, winograd_after_upsampling(), Workspace(True))
    expected = F.conv2d(F.interpolate(x, scale_factor=2.0, mode="nearest"), weight, bias, padding=1)
    torch.testing.assert_close(y, expected, atol=1e-5, rtol=0)


def test_the_image_border_is_zero_after_the_activation_not_before():
    # silu(0 * 1 + 3) is not 0: padding with the activation of zero would give 9 times the inside everywhere.
    x, weight = channels_last(torch.zeros(1, 1, 4, 4)), torch.ones(1, 1, 3, 3)
    before = Affine(torch.ones(1, 1), torch.full((1, 1), 3.0))
    y = tiled_convolution(x, flattened(weight), torch.zeros(1), winograd(), Workspace(True), before=before)
    inside = 3.0 / (1.0 + torch.exp(torch.tensor(-3.0)))
    seen = torch.tensor([[4.0, 6, 6, 4], [6, 9, 9, 6], [6, 9, 9, 6], [4, 6, 6, 4]])
    torch.testing.assert_close(y[0, 0], inside * seen, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(8, 8), (9, 13)])
def test_may_write_over_the_residual(size):
    x, weight, residual = (
        channels_last(random(1, 4, *size)),
        random(4, 4, 3, 3, seed=1),
        random(1, 4, *size, seed=2),
    )
    residual = channels_last(residual)
    expected = F.conv2d(x, weight, padding=1) + residual
    y = tiled_convolution(
        x, flattened(weight), torch.zeros(4), winograd(), Workspace(True), residual=residual, out=residual
    )
    assert y is residual
    torch.testing.assert_close(residual, expected, atol=2e-5, rtol=0)


def test_scratch_left_by_another_convolution_does_no_harm():
    work = Workspace(True)
    large, small = channels_last(random(1, 8, 40, 40)), channels_last(random(1, 4, 5, 7))
    weight = random(3, 4, 3, 3, seed=1)
    tiled_convolution(large, flattened(random(8, 8, 3, 3)), torch.zeros(8), winograd(), work)
    y = tiled_convolution(small, flattened(weight), torch.zeros(3), winograd(), work)
    torch.testing.assert_close(y, F.conv2d(small, weight, padding=1), atol=2e-5, rtol=0)


def test_rounding_stays_near_that_of_a_direct_convolution():
    x, weight = channels_last(random(1, 256, 16, 16)), random(64, 256, 3, 3, seed=1) / 48
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    y = tiled_convolution(x, flattened(weight), torch.zeros(64), winograd(), Workspace(True))
    assert (y - exact).pow(2).mean().sqrt() < 2e-6 * exact.pow(2).mean().sqrt()
