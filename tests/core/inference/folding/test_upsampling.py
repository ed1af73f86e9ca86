from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lotus_core.inference.folding.upsampling import DifferenceUpsample, PhaseUpsample, PlainUpsample
from lotus_core.inference.folding.workspace import Workspace

SIZES = [(1, 1), (1, 96), (9, 13), (4, 6), (17, 16)]


def conv(dtype: torch.dtype = torch.float64) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(5, 7, 3, padding=1).to(dtype).requires_grad_(False)


def image(height: int, width: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(
        2, 5, height, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    ).to(dtype)


def expected(x: torch.Tensor, layer: nn.Conv2d, size: tuple[int, int]) -> torch.Tensor:
    return layer(F.interpolate(x, size=size, mode="nearest"))


@pytest.mark.parametrize("kind", [PlainUpsample, PhaseUpsample, DifferenceUpsample])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", SIZES)
def test_doubling_is_exact_borders_included(kind, size, layout):
    x, layer = image(*size).contiguous(memory_format=layout), conv()
    y = kind(layer)(x, Workspace(True))
    torch.testing.assert_close(y, expected(x, layer, (2 * size[0], 2 * size[1])), atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", [PlainUpsample, DifferenceUpsample])
@pytest.mark.parametrize("cut", [(0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("size", SIZES)
def test_an_odd_size_is_exact_borders_included(kind, size, cut):
    x, layer = image(*size), conv()
    target = (2 * size[0] - cut[0], 2 * size[1] - cut[1])
    y = kind(layer)(x, Workspace(True), target)
    torch.testing.assert_close(y, expected(x, layer, target), atol=1e-12, rtol=0)


@pytest.mark.parametrize("size", [(16, 16), (16, 20), (31, 33)])
def test_phases_are_filtered_on_larger_maps_in_fp32(size):
    x, layer = (
        image(*size, dtype=torch.float32).contiguous(memory_format=torch.channels_last),
        conv(torch.float32),
    )
    y = PhaseUpsample(layer)(x, Workspace(True))
    torch.testing.assert_close(y, expected(x, layer, (2 * size[0], 2 * size[1])), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2), (torch.float16, 4e-3)]
)
@pytest.mark.parametrize("kind", [PhaseUpsample, DifferenceUpsample])
def test_rounding_in_lower_precision(kind, dtype, tolerance):
    x, layer = image(9, 13, dtype), conv(dtype)
    y = kind(layer).to(dtype)(x, Workspace(True)).double()
    torch.testing.assert_close(y, expected(x.double(), layer.double(), (18, 26)), atol=tolerance, rtol=0)


def test_differences_need_no_more_weights():
    layer = conv()
    assert sum(p.numel() for p in DifferenceUpsample(layer).parameters()) == sum(
        p.numel() for p in layer.parameters()
    )


def test_phases_need_sixteen_ninths_of_the_weights():
    assert PhaseUpsample(conv()).phases.weight.numel() * 9 == conv().weight.numel() * 16


def test_a_constant_map_stays_constant_inside():
    layer = conv()
    y = DifferenceUpsample(layer)(torch.ones(1, 5, 4, 4, dtype=torch.float64), Workspace(True))
    wanted = layer.weight.sum((1, 2, 3)) + layer.bias
    torch.testing.assert_close(
        y[0, :, 1:-1, 1:-1], wanted[:, None, None].expand(-1, 6, 6), atol=1e-12, rtol=0
    )


def test_a_size_that_is_not_double_is_refused():
    with pytest.raises(ValueError, match="4x4 cannot be doubled to 9x8"):
        DifferenceUpsample(conv())(image(4, 4), Workspace(True), (9, 8))
    with pytest.raises(ValueError, match="four phases make 8x8 from 4x4"):
        PhaseUpsample(conv())(image(4, 4), Workspace(True), (7, 8))
