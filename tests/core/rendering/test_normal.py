"""Normal pictures: the four conventions, mirrored inputs, renormalisation."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lotus_core.conventions import NormalConvention
from lotus_core.errors import OptionError, ShapeError
from lotus_core.rendering.normal import (
    mirror_normals,
    normal_rgb,
    normals_from_rgb,
    renormalize,
    resize_normals,
)

# OpenCV vectors of what they are called: the way the surface faces.
LEFT, RIGHT = (-1.0, 0.0, 0.0), (1.0, 0.0, 0.0)
UP, DOWN = (0.0, -1.0, 0.0), (0.0, 1.0, 0.0)
TOWARD = (0.0, 0.0, -1.0)

# (convention, surface that has R = 1, surface that has G = 1, blue of a surface that faces the camera)
TABLE = [
    ("lotus", LEFT, UP, 1.0),
    ("opengl", RIGHT, UP, 1.0),
    ("directx", RIGHT, DOWN, 1.0),
    ("opencv", RIGHT, DOWN, 0.0),
]


def one(vector) -> torch.Tensor:
    return torch.tensor(vector, dtype=torch.float32).reshape(1, 1, 1, 3)


def random_normals(*shape: int, seed: int = 0) -> torch.Tensor:
    vectors = torch.randn(*shape, 3, generator=torch.Generator().manual_seed(seed))
    return vectors / vectors.norm(dim=-1, keepdim=True)


@pytest.mark.parametrize(("convention", "red", "green", "blue"), TABLE)
def test_each_convention_paints_its_directions(convention, red, green, blue):
    assert normal_rgb(one(red), convention).flatten().tolist() == [1.0, 0.5, 0.5]
    assert normal_rgb(one(green), convention).flatten().tolist() == [0.5, 1.0, 0.5]
    assert normal_rgb(one(TOWARD), convention).flatten().tolist() == [0.5, 0.5, blue]


def test_conventions_follow_from_lotus_rgb_by_channel_complements():
    vectors = random_normals(2, 5, 7)
    lotus = normal_rgb(vectors)
    r, g, b = lotus.unbind(-1)
    for convention, expected in (
        (NormalConvention.OPENGL, (1 - r, g, b)),
        (NormalConvention.DIRECTX, (1 - r, 1 - g, b)),
        (NormalConvention.OPENCV, (1 - r, 1 - g, 1 - b)),
    ):
        assert torch.allclose(normal_rgb(vectors, convention), torch.stack(expected, -1), atol=1e-6)


def test_shape_type_and_range():
    found = normal_rgb(random_normals(2, 5, 7).half())
    assert found.shape == (2, 5, 7, 3)
    assert found.dtype == torch.float32
    assert 0.0 <= found.min() <= found.max() <= 1.0


@pytest.mark.parametrize("convention", list(NormalConvention))
def test_picture_and_vectors_are_a_round_trip(convention):
    vectors = random_normals(1, 6, 9, seed=5)
    assert torch.allclose(normals_from_rgb(normal_rgb(vectors, convention), convention), vectors, atol=1e-5)


def test_worked_colour_becomes_its_vector():
    # Lotus rgb (0.8, 0.5, 0.9) is left 0.6 and toward 0.8: OpenCV (-0.6, 0, -0.8)
    found = normals_from_rgb(one((0.8, 0.5, 0.9)), "lotus")
    assert found.flatten().tolist() == pytest.approx([-0.6, 0.0, -0.8], abs=1e-6)


def test_vectors_are_renormalised_before_they_are_painted():
    assert normal_rgb(one((0.0, 0.0, -0.2))).flatten().tolist() == [0.5, 0.5, 1.0]
    assert torch.allclose(normal_rgb(one((-3.0, 0.0, -4.0))), one((0.8, 0.5, 0.9)))


@pytest.mark.parametrize("vector", [(0.0, 0.0, 0.0), (float("nan"), 0.0, 1.0), (float("inf"), 0.0, 0.0)])
def test_vector_without_a_direction_is_mid_grey(vector):
    assert normal_rgb(one(vector)).flatten().tolist() == [0.5, 0.5, 0.5]


def test_masked_pixels_are_mid_grey():
    vectors = torch.tensor([[[UP, UP]]])
    found = normal_rgb(vectors, mask=torch.tensor([[[True, False]]]))
    assert found[0, 0].tolist() == [[0.5, 1.0, 0.5], [0.5, 0.5, 0.5]]


def test_renormalize_gives_length_one_and_keeps_the_direction():
    assert renormalize(one((0.0, 3.0, -4.0))).flatten().tolist() == pytest.approx([0.0, 0.6, -0.8])


@settings(max_examples=30, deadline=None)
@given(length=st.floats(1e-3, 1e3), seed=st.integers(0, 999))
def test_renormalize_ignores_length(length, seed):
    vectors = random_normals(1, 2, 3, seed=seed)
    assert torch.allclose(renormalize(vectors * length), vectors, atol=1e-5)


def test_mirror_reverses_columns_and_negates_x():
    row = torch.tensor([[[RIGHT, TOWARD, UP]]])
    assert mirror_normals(row)[0, 0].tolist() == [list(UP), list(TOWARD), list(LEFT)]


def test_mirrored_twice_is_the_map_itself():
    vectors = random_normals(2, 4, 5)
    assert torch.allclose(mirror_normals(mirror_normals(vectors)), vectors, atol=1e-6)


def test_sphere_is_its_own_mirror_image():
    # the visible half of a sphere: n = (x, y, -z); left-right symmetric, so mirroring must change nothing
    x = (torch.arange(9) - 4.0)[None, :].expand(9, 9) / 6
    y = x.T
    sphere = torch.stack([x, y, -(1 - x**2 - y**2).clamp_min(0).sqrt()], -1)[None]
    assert torch.allclose(mirror_normals(sphere), renormalize(sphere), atol=1e-6)


def test_resize_gives_unit_vectors_of_the_asked_size():
    found = resize_normals(random_normals(2, 8, 6), 13, 21)
    assert found.shape == (2, 13, 21, 3)
    assert torch.allclose(found.norm(dim=-1), torch.ones(2, 13, 21), atol=1e-5)


def test_resize_between_two_directions_gives_the_bisector():
    pair = torch.tensor([[[TOWARD, LEFT]]])
    middle = resize_normals(pair, 1, 1).flatten().tolist()  # the mean of both, renormalised
    assert middle == pytest.approx([-math.sqrt(0.5), 0.0, -math.sqrt(0.5)], abs=1e-5)


def test_resize_of_a_plane_is_the_plane():
    plane = one((0.0, -0.6, -0.8)).expand(1, 7, 5, 3)
    assert torch.allclose(resize_normals(plane, 16, 3), one((0.0, -0.6, -0.8)).expand(1, 16, 3, 3), atol=1e-6)


def test_resize_of_opposite_neighbours_has_no_direction():
    assert resize_normals(torch.tensor([[[LEFT, RIGHT]]]), 1, 1).flatten().tolist() == [0.0, 0.0, 0.0]


def test_empty_size_is_refused():
    with pytest.raises(OptionError, match=r"width must be at least 1 pixel .found: 0."):
        resize_normals(random_normals(1, 2, 2), 4, 0)


def test_unknown_convention_is_refused_with_the_known_ones():
    with pytest.raises(
        OptionError, match=r"convention must be one of lotus, opengl, directx, opencv .found: 'unity'"
    ):
        normal_rgb(one(UP), "unity")


def test_channels_first_is_refused_with_advice():
    with pytest.raises(
        ShapeError, match=r"vectors has shape \(1, 3, 4, 4\), expected \(B, H, W, 3\): pass channels last"
    ):
        normal_rgb(torch.zeros(1, 3, 4, 4))


def test_mask_of_another_size_is_refused():
    with pytest.raises(ShapeError, match=r"mask has shape \(1, 2, 2\), expected \(1, 4, 4\)"):
        normal_rgb(random_normals(1, 4, 4), mask=torch.ones(1, 2, 2))
