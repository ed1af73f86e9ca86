from __future__ import annotations

import pytest
import torch

from lotus_core.checks import has_float64, require_shape
from lotus_core.errors import ShapeError


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((2, 4, 6), "(B, H, W)"),
        ((1, 1, 1), "(B, H, W)"),
        ((2, 4, 6, 3), "(B, H, W, 3)"),
        ((5, 5), "(N, N)"),
        ((3, 3), "(..., 3, 3)"),
        ((7, 2, 3, 3), "(..., 3, 3)"),
        ((4,), "(B,)"),
    ],
)
def test_a_documented_shape_is_accepted(shape, expected):
    require_shape("map", torch.zeros(shape), expected, remedy="nothing")


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((4, 6), "(B, H, W)"),
        ((1, 2, 4, 6), "(B, H, W)"),
        ((2, 4, 6, 4), "(B, H, W, 3)"),
        ((5, 6), "(N, N)"),
        ((3, 4), "(..., 3, 3)"),
        ((3,), "(..., 3, 3)"),
        ((0, 4, 6), "(B, H, W)"),
    ],
)
def test_another_shape_is_refused(shape, expected):
    with pytest.raises(ShapeError):
        require_shape("map", torch.zeros(shape), expected, remedy="nothing")


def test_the_error_names_the_tensor_both_shapes_and_the_remedy():
    with pytest.raises(ShapeError) as caught:
        require_shape("depth", torch.zeros(1, 3, 64, 64), "(B, H, W)", remedy="take one channel first")
    message = str(caught.value)
    assert message == "depth has shape (1, 3, 64, 64), expected (B, H, W): take one channel first."
    assert caught.value.actual_shape == (1, 3, 64, 64)
    assert caught.value.expected_shape == "(B, H, W)"


@pytest.mark.parametrize(
    ("device", "expected"),
    [("cpu", True), ("cuda:1", True), ("mps", False), ("xpu:0", False), ("meta", False)],
)
def test_float64_is_expected_only_where_every_device_has_it(device, expected):
    assert has_float64(torch.device(device)) is expected
