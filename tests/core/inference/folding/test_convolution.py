from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lotus_core.inference.folding import convolution
from lotus_core.inference.folding.convolution import can_filter, convolve, gathered_convolution
from lotus_core.inference.folding.workspace import Workspace


@pytest.fixture
def layers():
    torch.manual_seed(0)
    norm, conv = nn.GroupNorm(2, 6), nn.Conv2d(6, 4, 3, padding=1)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm.requires_grad_(False), conv.requires_grad_(False)


def expected(norm, conv, x, shift, residual):
    return conv(F.silu(norm(x))) + shift[:, :, None, None] + residual


@pytest.mark.parametrize("filtering", [True, False])
@pytest.mark.usefixtures("always_filter")
def test_both_ways_compute_the_same(layers, filtering):
    norm, conv = layers
    x, shift, residual = torch.randn(2, 6, 9, 13), torch.randn(1, 4), torch.randn(2, 4, 9, 13)
    y = convolve(conv, x, Workspace(filtering), norm=norm, shift=shift, residual=residual)
    torch.testing.assert_close(y, expected(norm, conv, x, shift, residual), atol=1e-5, rtol=0)


@pytest.mark.usefixtures("always_filter")
def test_filtering_is_really_taken(layers, monkeypatch):
    norm, conv = layers
    calls = []
    real = convolution.tiled_convolution
    monkeypatch.setattr(convolution, "tiled_convolution", lambda *a, **k: calls.append(1) or real(*a, **k))
    convolve(conv, torch.randn(1, 6, 8, 8), Workspace(True), norm=norm)
    assert calls == [1]


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("filtering", [True, False])
@pytest.mark.usefixtures("always_filter")
def test_inputs_are_left_alone_unless_in_place(layers, filtering, in_place):
    norm, conv = layers
    x = torch.randn(1, 6, 8, 8).contiguous(memory_format=torch.channels_last)
    residual = torch.randn(1, 4, 8, 8).contiguous(memory_format=torch.channels_last)
    x0, residual0 = x.clone(), residual.clone()
    y = convolve(conv, x, Workspace(filtering), norm=norm, residual=residual, in_place=in_place)
    assert torch.equal(x, x0)
    if in_place and filtering:
        assert y.data_ptr() == residual.data_ptr()
    else:
        assert torch.equal(residual, residual0)


@pytest.mark.usefixtures("always_filter")
def test_a_result_in_scratch_memory_is_reused_by_the_next(layers):
    norm, conv = layers
    work = Workspace(True)
    first = convolve(conv, torch.randn(1, 6, 8, 8), work, norm=norm, scratch=True)
    second = convolve(conv, torch.randn(1, 6, 8, 8), work, norm=norm, scratch=True)
    assert first.data_ptr() == second.data_ptr()


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 3), (8, 8)])
def test_a_gathered_convolution_is_a_convolution(size):
    conv = nn.Conv2d(6, 4, 3, padding=1).requires_grad_(False).to(memory_format=torch.channels_last)
    x = torch.randn(2, 6, *size)
    torch.testing.assert_close(gathered_convolution(conv, x), conv(x), atol=1e-5, rtol=0)


def test_small_maps_with_many_channels_are_gathered(monkeypatch):
    conv = nn.Conv2d(64, 64, 3, padding=1).requires_grad_(False).to(memory_format=torch.channels_last)
    calls = []
    real = convolution.gathered_convolution
    monkeypatch.setattr(convolution, "gathered_convolution", lambda *a: calls.append(1) or real(*a))
    x = torch.randn(1, 64, 6, 5)
    torch.testing.assert_close(convolve(conv, x, Workspace(True)), conv(x), atol=1e-5, rtol=0)
    assert calls == [1]
    convolve(conv, x, Workspace(False))
    convolve(conv, torch.randn(1, 64, 27, 27), Workspace(True))
    assert calls == [1]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_only_fp32_is_filtered(dtype):
    assert can_filter(torch.zeros(1), Workspace(True))
    assert not can_filter(torch.zeros(1, dtype=dtype), Workspace(True))
    assert not can_filter(torch.zeros(1), Workspace(False))
    assert not can_filter(torch.zeros(1, device="meta"), Workspace(True))


@pytest.mark.usefixtures("always_filter")
def test_a_leaf_whose_weights_a_host_keeps_elsewhere_is_called_not_read(layers):
    norm, conv = layers

    class HostConv(nn.Conv2d):
        """Keeps its weights in half precision and casts them when called, as a host's leaf does."""

        def forward(self, x):
            return self._conv_forward(x, self.weight.to(x), self.bias.to(x))

    conv.half()
    conv.__class__ = HostConv
    x = torch.randn(1, 6, 8, 8)
    y = convolve(conv, x, Workspace(True), norm=norm)
    wanted = F.conv2d(F.silu(norm(x)), conv.weight.float(), conv.bias.float(), padding=1)
    torch.testing.assert_close(y, wanted, atol=1e-5, rtol=0)
