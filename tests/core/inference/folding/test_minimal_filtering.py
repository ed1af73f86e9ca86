from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from lotus_core.inference.folding.minimal_filtering import (
    Filtering,
    phase_kernels,
    toom_cook,
    winograd,
    winograd_after_upsampling,
)


def correlation(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return torch.stack([(x[i : i + len(w)] * w).sum() for i in range(len(x) - len(w) + 1)])


@pytest.mark.parametrize(
    ("points", "outputs", "taps"),
    [((0.0, 1.0, -1.0), 2, 3), ((0.0, 1.0, -1.0), 3, 2), ((0.0, 0.5, -0.5, 2.0, -2.0), 4, 3), ((0.0,), 1, 2)],
)
def test_toom_cook_computes_a_correlation(points, outputs, taps):
    A, G, B = toom_cook(points, outputs, taps)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(outputs + taps - 1, generator=generator, dtype=torch.float64)
    w = torch.randn(taps, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(A @ ((G @ w) * (B @ x)), correlation(x, w), atol=1e-12, rtol=0)


def test_two_outputs_of_three_taps_take_four_products():
    A, G, B = toom_cook((0.0, 1.0, -1.0), 2, 3)
    assert (A.shape, G.shape, B.shape) == ((2, 4), (4, 3), (4, 4))
    # x = (1, 2, 3, 4), w = (1, 0, 2): y = (1 + 6, 2 + 8)
    x, w = torch.tensor([1.0, 2, 3, 4]).double(), torch.tensor([1.0, 0, 2]).double()
    torch.testing.assert_close(A @ ((G @ w) * (B @ x)), torch.tensor([7.0, 10.0]).double())


def test_too_few_points_are_refused():
    with pytest.raises(ValueError, match="5 finite points are needed for 4 outputs and 3 taps, not 3"):
        toom_cook((0.0, 1.0, -1.0), 4, 3)


def apply(f: Filtering, tile: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    products = (f.forward.double() @ tile.flatten()) * (f.weights.double() @ kernel.flatten())
    return (f.inverse.double() @ products).view(f.outputs, f.outputs)


def test_winograd_tile_is_a_valid_convolution():
    f = winograd()
    generator = torch.Generator().manual_seed(1)
    tile = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    kernel = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    expected = F.conv2d(tile[None, None], kernel[None, None])[0, 0]
    torch.testing.assert_close(apply(f, tile, kernel), expected, atol=1e-5, rtol=0)


def test_winograd_takes_a_quarter_of_the_multiplications():
    f = winograd()
    assert (f.products, f.step, f.tile, f.outputs) == (36, 4, 6, 4)
    assert f.products / f.outputs**2 == 9 / 4


def test_phase_kernels_of_ones_count_how_often_a_pixel_is_seen():
    phases = phase_kernels(torch.ones(1, 1, 3, 3))[:, :, 0, 0]
    assert phases[0, 0].tolist() == [[1, 2], [2, 4]]
    assert phases[0, 1].tolist() == [[2, 1], [4, 2]]
    assert phases[1, 0].tolist() == [[2, 4], [1, 2]]
    assert phases[1, 1].tolist() == [[4, 2], [2, 1]]


def test_upsampling_tile_is_a_convolution_of_the_enlarged_tile():
    f = winograd_after_upsampling()
    assert (f.products, f.step, f.tile, f.outputs) == (64, 3, 5, 6)
    generator = torch.Generator().manual_seed(2)
    tile = torch.randn(5, 5, generator=generator, dtype=torch.float64)
    kernel = torch.randn(1, 1, 3, 3, generator=generator, dtype=torch.float64)
    large = tile.repeat_interleave(2, 0).repeat_interleave(2, 1)
    expected = F.conv2d(large[None, None], kernel)[0, 0, 1:7, 1:7]
    phases = phase_kernels(kernel).squeeze()  # (row phase, column phase, row tap, column tap)
    torch.testing.assert_close(apply(f, tile, phases), expected, atol=1e-5, rtol=0)


def test_transforms_are_made_once():
    assert winograd() is winograd()
    assert winograd_after_upsampling() is winograd_after_upsampling()
