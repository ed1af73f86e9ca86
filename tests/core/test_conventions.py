import math

import pytest

from lotus_core.conventions import NormalConvention, task_embedding


def test_the_annotations_label_is_sin_and_cos_of_1_and_0():
    assert task_embedding("annotation") == pytest.approx((0.841471, 0.0, 0.540302, 1.0), abs=1e-6)


def test_the_reconstructions_label_is_sin_and_cos_of_0_and_1():
    assert task_embedding("reconstruction") == pytest.approx((0.0, 0.841471, 1.0, 0.540302), abs=1e-6)


def test_labels_are_sines_then_cosines_of_the_same_angles():
    for task in ("annotation", "reconstruction"):
        sin_a, sin_b, cos_a, cos_b = task_embedding(task)
        assert math.hypot(sin_a, cos_a) == pytest.approx(1)
        assert math.hypot(sin_b, cos_b) == pytest.approx(1)


def painted(convention, vector):
    return tuple(s * v * 0.5 + 0.5 for s, v in zip(convention.signs_from_opencv, vector, strict=True))


@pytest.mark.parametrize(
    ("convention", "right_wall", "floor", "head_on"),
    [
        # what a surface looks like that faces: the camera's right (+x), up (-y), and the camera itself (-z)
        (NormalConvention.LOTUS, (0.0, 0.5, 0.5), (0.5, 1.0, 0.5), (0.5, 0.5, 1.0)),
        (NormalConvention.OPENGL, (1.0, 0.5, 0.5), (0.5, 1.0, 0.5), (0.5, 0.5, 1.0)),
        (NormalConvention.DIRECTX, (1.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 1.0)),
        (NormalConvention.OPENCV, (1.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0)),
    ],
)
def test_each_convention_paints_the_known_directions(convention, right_wall, floor, head_on):
    assert painted(convention, (1, 0, 0)) == right_wall
    assert painted(convention, (0, -1, 0)) == floor
    assert painted(convention, (0, 0, -1)) == head_on
