from __future__ import annotations

import pytest
import torch
from torch import nn

from lotus_core.inference.folding.leaves import (
    at_hand,
    convolution,
    laid_out_like,
    layout_of,
    linear,
    rebiased,
    wide_bias,
    wide_weight,
    widened,
)


def test_a_linear_leaf_computes_with_the_given_weights():
    leaf = linear(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), torch.tensor([0.5, 0.0, -0.5]))
    assert type(leaf) is nn.Linear
    assert leaf(torch.tensor([[1.0, 1.0]])).tolist() == [[3.5, 7.0, 10.5]]


def test_a_linear_leaf_may_have_no_bias():
    leaf = linear(torch.eye(2), None)
    assert leaf.bias is None
    assert leaf(torch.tensor([[2.0, 3.0]])).tolist() == [[2.0, 3.0]]


def test_a_convolution_leaf_computes_with_the_given_weights():
    leaf = convolution(torch.ones(1, 1, 3, 3), torch.tensor([10.0]), padding=1)
    assert type(leaf) is nn.Conv2d
    assert leaf(torch.ones(1, 1, 2, 2)).flatten().tolist() == [14.0] * 4


def test_a_convolution_leaf_keeps_its_stride():
    assert convolution(torch.ones(1, 1, 3, 3), None, stride=2)(torch.ones(1, 1, 5, 7)).shape == (1, 1, 2, 3)


def test_a_new_bias_leaves_the_weight_where_it_is():
    conv = nn.Conv2d(2, 3, 3, padding=1, stride=2)
    other = rebiased(conv, torch.tensor([1.0, 2.0, 3.0]))
    x = torch.randn(1, 2, 6, 6)
    assert other.weight.data_ptr() == conv.weight.data_ptr()
    difference = other(x) - conv(x) + conv.bias[:, None, None]
    torch.testing.assert_close(difference, torch.tensor([1.0, 2.0, 3.0])[:, None, None].expand(1, 3, 3, 3))


def test_casting_a_rebiased_convolution_casts_the_one_weight_that_both_have():
    """Two copies of a network's weights, one in each type, would not fit beside each other."""
    conv = nn.Conv2d(1, 1, 3)
    other = rebiased(conv, torch.zeros(1)).to(torch.float16)
    assert other.weight is conv.weight
    assert conv.weight.dtype is torch.float16
    assert conv.bias.dtype is torch.float32


@pytest.mark.parametrize(
    ("stored", "wide"),
    [(torch.float16, torch.float32), (torch.bfloat16, torch.float32), (torch.float64, torch.float64)],
)
def test_folds_are_computed_in_at_least_float32(stored, wide):
    leaf = nn.Linear(3, 2).to(stored)
    assert wide_weight(leaf).dtype is wide
    assert wide_bias(leaf).dtype is wide
    assert widened(torch.ones(1, dtype=stored)).dtype is wide


def test_a_missing_bias_counts_as_zeros():
    assert wide_bias(nn.Linear(3, 2, bias=False)).tolist() == [0.0, 0.0]


def test_weights_of_the_same_dtype_and_device_are_at_hand():
    assert at_hand(nn.Conv2d(1, 1, 3), torch.zeros(1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_in_another_dtype_are_not_at_hand(dtype):
    assert not at_hand(nn.Conv2d(1, 1, 3).to(dtype), torch.zeros(1))


def test_weights_on_another_device_are_not_at_hand():
    assert not at_hand(nn.Conv2d(1, 1, 3, device="meta"), torch.zeros(1))


@pytest.mark.parametrize("hook", ["weight_function", "bias_function"])
def test_weights_that_a_host_patches_on_every_call_are_not_at_hand(hook):
    conv = nn.Conv2d(1, 1, 3)
    setattr(conv, hook, [])
    assert at_hand(conv, torch.zeros(1))
    setattr(conv, hook, [lambda weight: 2 * weight])
    assert not at_hand(conv, torch.zeros(1))


def test_a_leaf_without_weights_is_not_at_hand():
    assert not at_hand(nn.GroupNorm(1, 2, affine=False), torch.zeros(1))


def test_a_map_is_brought_into_the_layout_of_another():
    rows = torch.randn(2, 3, 4, 5)
    last = rows.contiguous(memory_format=torch.channels_last)
    assert layout_of(rows) is torch.contiguous_format
    assert layout_of(last) is torch.channels_last
    assert laid_out_like(rows, last).stride() == last.stride()
    assert laid_out_like(last, rows).stride() == rows.stride()
    assert torch.equal(laid_out_like(last, rows), rows)
    assert laid_out_like(last, last) is last
