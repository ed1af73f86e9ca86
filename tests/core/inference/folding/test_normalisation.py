from __future__ import annotations

import pytest
import torch
from torch import nn

from lotus_core.inference.folding import normalisation
from lotus_core.inference.folding.normalisation import group_affine
from lotus_core.inference.folding.workspace import Workspace


def norm_with_weights(groups: int, channels: int, eps: float = 1e-6) -> nn.GroupNorm:
    generator = torch.Generator().manual_seed(0)
    norm = nn.GroupNorm(groups, channels, eps=eps).requires_grad_(False)
    norm.weight.copy_(torch.randn(channels, generator=generator))
    norm.bias.copy_(torch.randn(channels, generator=generator))
    return norm


@pytest.mark.parametrize("size", [(1, 2), (9, 13), (40, 33)])
@pytest.mark.parametrize("groups", [1, 2, 8])
def test_scale_and_shift_equal_the_normalisation(size, groups, monkeypatch):
    monkeypatch.setattr(normalisation, "_BLOCK", 1000)  # several blocks, the last one shorter
    norm = norm_with_weights(groups, 8)
    x = torch.randn(3, 8, *size, generator=torch.Generator().manual_seed(1)) * 3 + 2
    x = x.contiguous(memory_format=torch.channels_last)
    affine = group_affine(x, norm, Workspace(True))
    y = x * affine.scale[:, :, None, None] + affine.shift[:, :, None, None]
    torch.testing.assert_close(y, norm(x.double().contiguous().float()), atol=2e-5, rtol=1e-5)


def test_a_hand_worked_group():
    # 1, 2, 3, 4: mean 2.5, variance 1.25; weight 2, bias 1.
    norm = nn.GroupNorm(1, 1, eps=0.0).requires_grad_(False)
    norm.weight.fill_(2.0)
    norm.bias.fill_(1.0)
    x = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 1, 2, 2)
    affine = group_affine(x, norm, Workspace(True))
    assert affine.scale.item() == pytest.approx(2 / 1.25**0.5)
    assert affine.shift.item() == pytest.approx(1 - 2.5 * 2 / 1.25**0.5)


def test_a_constant_image_becomes_the_bias():
    norm = norm_with_weights(2, 4)
    x = torch.full((1, 4, 8, 8), 7.0).contiguous(memory_format=torch.channels_last)
    affine = group_affine(x, norm, Workspace(True))
    y = x * affine.scale[:, :, None, None] + affine.shift[:, :, None, None]
    torch.testing.assert_close(y[0, :, 0, 0], norm.bias, atol=1e-2, rtol=0)  # scale is 1 / sqrt(eps) = 1000


def test_a_large_offset_does_not_drown_the_variance():
    generator = torch.Generator().manual_seed(2)
    x = (torch.randn(1, 4, 256, 256, generator=generator) + 50.0).contiguous(
        memory_format=torch.channels_last
    )
    norm = norm_with_weights(1, 4)
    affine = group_affine(x, norm, Workspace(True))
    wanted = norm.weight.double() / (x.double().var(correction=0) + norm.eps).sqrt()
    torch.testing.assert_close(affine.scale[0].double(), wanted, rtol=1e-4, atol=0)
