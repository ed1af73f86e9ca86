"""Angular errors, worked on paper, and what must not change them."""

from __future__ import annotations

import math

import pytest
import torch

from lotus_core.errors import InputError, ShapeError
from lotus_core.evaluation.normal_metrics import AngularErrors, angular_error_deg

HEAD_ON = [0.0, 0.0, -1.0]


def collected(*degrees: float) -> AngularErrors:
    errors = AngularErrors()
    errors.add(torch.tensor(degrees))
    return errors


def test_known_angles_of_a_2x2_map():
    truth = torch.tensor([[HEAD_ON, HEAD_ON], [HEAD_ON, HEAD_ON]])
    predicted = torch.tensor([[HEAD_ON, [1.0, 0.0, -1.0]], [[0.0, 2.0, 0.0], [0.0, 0.0, 3.0]]])
    expected = torch.tensor([[0.0, 45.0], [90.0, 180.0]], dtype=torch.float64)
    assert torch.allclose(angular_error_deg(predicted, truth), expected)


@pytest.mark.parametrize("degrees", [1e-4, 1e-2, 0.5, 179.99])
def test_small_and_large_angles_keep_their_digits(degrees):
    angle = math.radians(degrees)
    turned = torch.tensor([math.sin(angle), 0.0, -math.cos(angle)], dtype=torch.float64)
    found = float(angular_error_deg(turned, torch.tensor(HEAD_ON, dtype=torch.float64)))
    assert found == pytest.approx(degrees, rel=1e-6)


def test_a_vector_without_a_direction_is_off_by_ninety_degrees():
    assert float(angular_error_deg(torch.zeros(3), torch.tensor(HEAD_ON))) == 90.0


def test_a_joint_rotation_changes_nothing():
    generator = torch.Generator().manual_seed(3)
    a, b = torch.randn(2, 4, 5, 3, generator=generator, dtype=torch.float64)
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    assert torch.allclose(angular_error_deg(a @ rotation, b @ rotation), angular_error_deg(a, b))


def test_lengths_do_not_count():
    generator = torch.Generator().manual_seed(4)
    a, b = torch.randn(2, 10, 3, generator=generator, dtype=torch.float64)
    assert torch.allclose(angular_error_deg(5.0 * a, 0.1 * b), angular_error_deg(a, b))


def test_other_shapes_are_refused():
    with pytest.raises(ShapeError, match="predicted has shape"):
        angular_error_deg(torch.zeros(2, 2), torch.zeros(2, 2))
    with pytest.raises(ShapeError, match="truth has shape"):
        angular_error_deg(torch.zeros(4, 3), torch.zeros(2, 3))


def test_metrics_of_four_errors_on_paper():
    m = collected(0.0, 6.0, 10.0, 40.0).metrics()
    assert m.mean == pytest.approx(14.0)
    assert m.median == pytest.approx(8.0, abs=1e-3)  # the mean of the two middle ones
    assert m.rmse == pytest.approx(math.sqrt((36 + 100 + 1600) / 4))
    assert (m.within_5, m.within_7_5, m.within_11_25, m.within_22_5, m.within_30) == (25, 50, 75, 75, 75)


def test_thresholds_are_strict():
    m = collected(5.0, 7.5, 11.25, 22.5, 30.0).metrics()
    assert (m.within_5, m.within_7_5, m.within_11_25, m.within_22_5, m.within_30) == (0, 20, 40, 60, 80)


def test_the_median_of_an_odd_number_is_the_middle_one():
    assert collected(1.0, 2.345, 170.0).metrics().median == pytest.approx(2.345, abs=1e-3)


def test_the_median_agrees_with_a_sort():
    errors = 180.0 * torch.rand(10_001, generator=torch.Generator().manual_seed(5)) ** 2
    assert collected(*errors.tolist()).metrics().median == pytest.approx(float(errors.median()), abs=1e-3)


def test_pictures_are_pooled_by_pixel():
    parts = AngularErrors()
    parts.add(torch.tensor([[1.0, 2.0]]))
    parts.add(torch.tensor([]))
    parts.add(torch.tensor([9.0]))
    assert parts.metrics() == collected(1.0, 2.0, 9.0).metrics()
    assert parts.count == 3


def test_no_error_at_all_is_refused():
    with pytest.raises(InputError, match="no pixel has a true normal"):
        AngularErrors().metrics()


@pytest.mark.parametrize("bad", [-1.0, 181.0, float("nan")])
def test_impossible_angles_are_refused(bad):
    with pytest.raises(InputError, match="between 0 and 180 degrees"):
        collected(3.0, bad)
