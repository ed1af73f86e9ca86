from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lotus_core.training.scenes import furniture
from lotus_core.training.scenes.builder import about_z, frame_along, random_rotation
from lotus_core.training.scenes.daylight import indoor_light, outdoor_light, warm_to_cool
from lotus_core.training.scenes.textures import PATTERNS
from tests.core.training.scenes.worlds import builder, world


def is_rotation(matrix):
    return np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-9) and np.linalg.det(matrix) == pytest.approx(
        1.0
    )


def test_a_quarter_turn_about_z_takes_x_to_y():
    assert np.allclose(about_z(math.pi / 2) @ [1.0, 0.0, 0.0], [0.0, 1.0, 0.0])


@pytest.mark.parametrize("axis", [(0, 0, 1), (0, 0, -1), (1, 0, 0), (0.6, 0, 0.8), (-0.36, 0.48, 0.8)])
def test_a_frame_along_an_axis_is_a_rotation_with_it_as_third_column(axis):
    matrix = frame_along(np.asarray(axis, float))
    assert is_rotation(matrix)
    assert np.allclose(matrix[:, 2], axis)


def test_random_rotations_are_rotations_without_a_favourite_direction():
    rng = np.random.default_rng(0)
    made = [random_rotation(rng) for _ in range(300)]
    assert all(is_rotation(matrix) for matrix in made)
    assert np.abs(np.mean([matrix[:, 2] for matrix in made], axis=0)).max() < 0.15


def test_colours_are_reflectances():
    made = builder()
    colours = np.array([made.colour() for _ in range(200)])
    assert colours.min() >= 0.0
    assert colours.max() <= 1.0
    assert colours.std(axis=0).min() > 0.1


def test_materials_have_what_was_asked_for():
    made = builder()
    index = made.material(("bricks",), colour=(0.1, 0.2, 0.3), period=2.0, emission=1.5)
    materials = world(made).materials
    assert PATTERNS[int(materials.pattern[index])] == "bricks"
    assert materials.colour_a[index].tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert float(materials.period[index]) == 2.0
    assert float(materials.emission[index]) == 1.5
    assert float(materials.angle[index]) % (math.pi / 2) == pytest.approx(0.0, abs=1e-5)


def test_materials_without_a_choice_are_plain_a_third_of_the_time():
    made = builder()
    for _ in range(300):
        made.material()
    plain = (world(made).materials.pattern == PATTERNS.index("plain")).float().mean()
    assert 0.3 < float(plain) < 0.5


def test_a_pole_joins_its_ends():
    made = builder()
    made.pole((1.0, 0.0, 0.0), (1.0, 3.0, 4.0), 0.1, made.material())
    solids = world(made).solids
    axis = solids.rotation[0, :, 2] * solids.half_size[0, 2]
    assert float(solids.half_size[0, 2]) == pytest.approx(2.5)
    assert torch.allclose(solids.centre[0] + axis, torch.tensor([1.0, 3.0, 4.0]), atol=1e-5)
    assert torch.allclose(solids.centre[0] - axis, torch.tensor([1.0, 0.0, 0.0]), atol=1e-5)


def test_an_empty_scene_can_be_built():
    assert len(world(builder()).solids) == 1


def test_half_sizes_are_never_zero():
    made = builder()
    made.add("box", (0.0, 0.0, 0.0), (0.0, 1.0, 1.0), made.material())
    assert float(world(made).solids.half_size.min()) > 0


def test_chances_come_true_as_often_as_they_say():
    made = builder()
    assert sum(made.chance(0.3) for _ in range(1000)) == pytest.approx(300, abs=60)
    assert not any(made.chance(0.0) for _ in range(50))


PIECES = {
    "table": lambda made: furniture.table(made, (1.0, 2.0, 0.0), 0.3, (0.6, 0.4), 0.75),
    "chair": lambda made: furniture.chair(made, (1.0, 2.0, 0.0), 0.3),
    "sofa": lambda made: furniture.sofa(made, (1.0, 2.0, 0.0), 0.3),
    "shelf": lambda made: furniture.shelf(made, (1.0, 2.0, 0.0), 0.3),
    "lamp": lambda made: furniture.floor_lamp(made, (1.0, 2.0, 0.0)),
    "plant": lambda made: furniture.plant(made, (1.0, 2.0, 0.0), 1.0),
    "tree": lambda made: furniture.tree(made, (1.0, 2.0, 0.0)),
    "person": lambda made: furniture.person(made, (1.0, 2.0, 0.0), 0.3, 1.2),
    "car": lambda made: furniture.car(made, (1.0, 2.0, 0.0), 0.3, 9.0),
}
REACH = {"tree": 9.0, "car": 3.5}


@pytest.mark.parametrize("name", PIECES)
@pytest.mark.parametrize("seed", range(4))
def test_furniture_stands_on_the_floor_near_its_place(name, seed):
    made = builder(seed)
    PIECES[name](made)
    corners = world(made).solids.corners()
    assert float(corners[..., 2].min()) > -0.35  # the tilted foot of a trunk or stem may dip
    offset = corners.flatten(0, 1)[:, :2] - torch.tensor([1.0, 2.0])
    assert float(offset.norm(dim=-1).max()) < REACH.get(name, 2.5)


@pytest.mark.parametrize(("name", "speed"), [("person", 1.2), ("car", 9.0)])
def test_everything_of_a_moving_thing_moves_alike(name, speed):
    made = builder()
    PIECES[name](made)
    velocity = world(made).solids.velocity
    expected = torch.tensor([speed * math.cos(0.3), speed * math.sin(0.3), 0.0])
    assert torch.allclose(velocity, expected.expand_as(velocity), atol=1e-5)


def test_a_table_has_its_height_and_four_legs():
    made = builder()
    PIECES["table"](made)
    scene = world(made)
    assert len(scene.solids) == 5
    assert float(scene.solids.corners()[..., 2].max()) == pytest.approx(0.75, abs=1e-4)


def test_loose_solids_stand_at_their_height():
    for seed in range(20):
        made = builder(seed)
        furniture.loose_solid(made, (0.0, 0.0, 0.8), 0.3)
        corners = world(made).solids.corners()
        assert float(corners[..., 2].min()) == pytest.approx(0.8, abs=1e-5)
        assert float((corners.amax(1) - corners.amin(1)).max()) < 0.6


def test_light_colours_go_from_warm_to_cool():
    warm, cool = warm_to_cool(0.0), warm_to_cool(1.0)
    assert warm[0] == cool[2] == 1.0
    assert warm[2] < cool[2]
    assert cool[0] < warm[0]


@pytest.mark.parametrize("seed", range(12))
def test_the_sun_is_above_the_horizon(seed):
    lights, sky = outdoor_light(builder(seed))
    for light in lights:
        assert light.is_sun
        assert float(light.position[2]) > 0
        assert float(light.position.norm()) == pytest.approx(1.0, abs=1e-5)
    assert float(sky.horizon.min()) > 0
    assert sky.haze_distance > 10


@pytest.mark.parametrize("seed", range(12))
def test_lamps_hang_inside_their_room(seed):
    lower, upper = (-2.0, 0.0, 0.0), (2.0, 6.0, 3.0)
    lights, sky = indoor_light(builder(seed), lower, upper, sunlit=seed % 2 == 0)
    assert 1 <= len(lights) <= 2
    for light in lights:
        if not light.is_sun:
            assert bool((light.position > torch.tensor(lower)).all())
            assert bool((light.position < torch.tensor(upper)).all())
    assert math.isinf(sky.haze_distance)
