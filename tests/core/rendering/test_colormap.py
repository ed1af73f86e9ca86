"""Colour maps against their published values."""

from __future__ import annotations

import pytest
import torch

from lotus_core.errors import OptionError
from lotus_core.rendering.colormap import COLORMAPS, apply_colormap

# (index of 255, R, G, B) of Google's published table of Turbo, midway between the control points used here.
TURBO_TABLE = [
    (0, 0.18995, 0.07176, 0.23217),
    (7, 0.22111, 0.15223, 0.42558),
    (37, 0.27680, 0.47151, 0.94214),
    (67, 0.13886, 0.76279, 0.89550),
    (97, 0.20877, 0.95304, 0.58199),
    (128, 0.64362, 0.98999, 0.23356),
    (157, 0.91317, 0.83576, 0.22328),
    (187, 0.99297, 0.55214, 0.15417),
    (217, 0.86760, 0.23730, 0.03082),
    (247, 0.58336, 0.04931, 0.00486),
    (255, 0.47960, 0.01583, 0.01055),
]


def colour(value: float, name, **kwargs) -> list[float]:
    return apply_colormap(torch.tensor(value), name, **kwargs).tolist()


def test_names():
    assert COLORMAPS == ("grey", "spectral", "turbo")


@pytest.mark.parametrize("value", [0.0, 0.25, 0.5, 1.0])
def test_grey_repeats_the_value(value):
    assert colour(value, "grey") == pytest.approx([value] * 3)


def test_spectral_ends_and_middle_are_those_of_colorbrewer():
    assert colour(0.0, "spectral") == pytest.approx([94 / 255, 79 / 255, 162 / 255])
    assert colour(0.5, "spectral") == pytest.approx([1.0, 1.0, 191 / 255])
    assert colour(1.0, "spectral") == pytest.approx([158 / 255, 1 / 255, 66 / 255])


def test_spectral_between_two_control_points_is_their_mean():
    # halfway between (94, 79, 162) and (50, 136, 189)
    assert colour(0.05, "spectral") == pytest.approx([72 / 255, 107.5 / 255, 175.5 / 255], abs=1e-5)


@pytest.mark.parametrize(("index", "r", "g", "b"), TURBO_TABLE)
def test_turbo_follows_its_published_table(index, r, g, b):
    assert colour(index / 255, "turbo") == pytest.approx([r, g, b], abs=0.023)


@pytest.mark.parametrize("name", COLORMAPS)
def test_reverse_mirrors_the_map(name):
    values = torch.linspace(0, 1, 37)
    assert torch.allclose(
        apply_colormap(values, name, reverse=True), apply_colormap(1 - values, name), atol=1e-6
    )


@pytest.mark.parametrize("name", COLORMAPS)
def test_output_has_a_last_axis_of_three_in_unit_range(name):
    found = apply_colormap(torch.rand(2, 5, 7, generator=torch.Generator().manual_seed(0)), name)
    assert found.shape == (2, 5, 7, 3)
    assert found.dtype == torch.float32
    assert 0.0 <= found.min() <= found.max() <= 1.0


@pytest.mark.parametrize("name", COLORMAPS)
def test_values_outside_are_clamped(name):
    assert colour(-3.0, name) == colour(0.0, name)
    assert colour(7.0, name) == colour(1.0, name)


@pytest.mark.parametrize("name", COLORMAPS)
def test_nan_is_black(name):
    assert colour(float("nan"), name) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("name", ["spectral", "turbo"])
def test_colours_of_neighbouring_values_are_close(name):
    steps = apply_colormap(torch.linspace(0, 1, 1001), name).diff(dim=0).abs()
    assert steps.max() < 0.01  # no jump anywhere


def test_unknown_map_is_refused_with_the_known_ones():
    with pytest.raises(OptionError, match=r"colormap must be one of grey, spectral, turbo .found: 'jet'"):
        apply_colormap(torch.zeros(1), "jet")  # type: ignore[arg-type]
