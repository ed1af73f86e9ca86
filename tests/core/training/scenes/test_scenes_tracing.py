from __future__ import annotations

import torch

from lotus_core.training.scenes import Light
from lotus_core.training.scenes.tracing import MISSED, Pairs, lit, trace
from tests.core.training.scenes.worlds import builder, empty_room, world


def all_pairs(rays, solids):
    solid, ray = torch.meshgrid(torch.arange(solids), torch.arange(rays), indexing="ij")
    return Pairs(ray.flatten(), solid.flatten())


def shoot(scene, origin, directions):
    directions = torch.tensor(directions)
    return trace(scene, torch.tensor(origin), directions, all_pairs(directions.shape[0], len(scene.solids)))


def two_boxes():
    made = builder()
    made.add("box", (0.0, 4.0, 1.0), (0.5, 0.5, 0.5), made.material())
    made.add("box", (0.0, 8.0, 1.0), (0.5, 0.5, 0.5), made.material())
    return world(made)


def test_pairs_of_a_range_of_solids():
    pairs = Pairs(torch.tensor([5, 6, 7, 8]), torch.tensor([0, 1, 1, 3]))
    part = pairs.of(slice(1, 3))
    assert part.ray.tolist() == [6, 7]
    assert part.solid.tolist() == [1, 1]
    assert pairs.of(slice(4, 9)).ray.numel() == 0


def test_the_nearest_of_two_boxes_is_hit_on_its_front():
    hits = shoot(two_boxes(), (0.0, 0.0, 1.0), [[0.0, 1.0, 0.0]])
    assert float(hits.distance) == 3.5
    assert hits.surface.tolist() == [0]
    assert hits.point[0].tolist() == [0.0, 3.5, 1.0]
    assert hits.normal[0].tolist() == [0.0, -1.0, 0.0]


def test_distances_are_in_units_of_the_direction():
    assert float(shoot(two_boxes(), (0.0, 0.0, 1.0), [[0.0, 2.0, 0.0]]).distance) == 1.75


def test_a_ray_that_meets_nothing():
    hits = shoot(two_boxes(), (0.0, 0.0, 1.0), [[0.0, -1.0, 0.0]])
    assert hits.surface.tolist() == [MISSED]
    assert bool(hits.distance.isinf())
    assert hits.normal[0].tolist() == hits.point[0].tolist() == [0.0, 0.0, 0.0]


def test_a_solid_around_the_camera_is_not_seen():
    assert shoot(two_boxes(), (0.0, 4.0, 1.0), [[0.0, 1.0, 0.0]]).surface.tolist() == [1]


def test_the_ground_is_hit_from_above_alone():
    made = builder()
    scene = world(made, ground=made.material())
    hits = shoot(scene, (0.0, 0.0, 2.0), [[0.0, 1.0, -1.0], [0.0, 1.0, 0.5], [0.0, 1.0, 0.0]])
    assert hits.surface.tolist() == [7, MISSED, MISSED]  # one hidden speck, six faces, the ground
    assert hits.point[0].tolist() == [0.0, 2.0, 0.0]
    assert hits.normal[0].tolist() == [0.0, 0.0, 1.0]


def test_walls_of_a_room_are_seen_from_inside():
    made = builder()
    scene = world(made, room=empty_room(made))
    directions = [[1.0, 0, 0], [-1.0, 0, 0], [0, 1.0, 0], [0, -1.0, 0], [0, 0, -1.0], [0, 0, 1.0]]
    hits = shoot(scene, (0.5, 1.0, 1.0), directions)
    assert hits.distance.tolist() == [1.5, 2.5, 5.0, 1.0, 1.0, 2.0]
    assert (hits.surface - len(scene.solids)).tolist() == [1, 0, 3, 2, 4, 5]
    assert torch.allclose(hits.normal, -torch.tensor(directions))


def test_windows_let_the_sky_in():
    made = builder()
    # Face 3 is the far wall (+y); its axes are x and z.
    scene = world(made, room=empty_room(made, [[3, -1.0, 1.0, 1.0, 2.0]]))
    hits = shoot(scene, (0.0, 1.0, 1.5), [[0.0, 1.0, 0.0], [0.4, 1.0, 0.0], [0.0, 1.0, -0.2]])
    assert hits.surface[0] == MISSED
    assert bool((hits.surface[1:] != MISSED).all())


def test_a_solid_before_a_window_hides_it():
    made = builder()
    made.add("box", (0.0, 4.0, 1.5), (0.2, 0.2, 0.2), made.material())
    scene = world(made, room=empty_room(made, [[3, -1.0, 1.0, 1.0, 2.0]]))
    assert shoot(scene, (0.0, 1.0, 1.5), [[0.0, 1.0, 0.0]]).surface.tolist() == [0]


def test_each_surface_has_its_own_material():
    made = builder()
    first, second, ground = made.material(), made.material(), made.material()
    made.add("box", (0.0, 4.0, 1.0), (0.5, 0.5, 0.5), first)
    made.add("ball", (3.0, 4.0, 1.0), (0.5, 0.5, 0.5), second)
    scene = world(made, ground=ground)
    hits = shoot(scene, (0.0, 0.0, 1.0), [[0.0, 1.0, 0.0], [3.0, 4.0, 0.0], [0.0, 1.0, -1.0]])
    assert hits.material.tolist() == [first, second, ground]


def test_texture_coordinates_are_metres_along_a_face():
    hits = shoot(two_boxes(), (0.0, 0.0, 1.0), [[0.0, 1.0, 0.0], [0.1, 3.5, 0.05]])
    assert torch.allclose(hits.uv[1] - hits.uv[0], torch.tensor([0.1, 0.05]), atol=1e-5)


def light_above(is_sun):
    position = torch.tensor([0.0, 0.0, 1.0]) if is_sun else torch.tensor([0.0, 0.0, 5.0])
    return Light(position, torch.ones(3), is_sun=is_sun)


def floor_points(points):
    return torch.tensor(points), torch.full((len(points),), 99)


def test_a_box_shades_the_floor_below_it_from_the_sun():
    made = builder()
    made.add("box", (0.0, 0.0, 2.0), (0.5, 0.5, 0.1), made.material())
    points = floor_points([[0.0, 0.0, 0.0], [0.49, 0.0, 0.0], [0.51, 0.0, 0.0], [0.0, 3.0, 0.0]])
    assert lit(world(made), light_above(True), *points).tolist() == [False, False, True, True]


def test_the_shadow_of_a_lamp_widens_with_distance():
    made = builder()
    made.add("box", (0.0, 0.0, 2.5), (0.5, 0.5, 0.001), made.material())
    # Half way from the lamp at 5 to the floor: the shadow is twice as wide as the box.
    points = floor_points([[0.95, 0.0, 0.0], [1.05, 0.0, 0.0]])
    assert lit(world(made), light_above(False), *points).tolist() == [False, True]


def test_what_lies_behind_a_lamp_shades_nothing():
    made = builder()
    made.add("box", (0.0, 0.0, 8.0), (0.5, 0.5, 0.1), made.material())
    assert lit(world(made), light_above(False), *floor_points([[0.0, 0.0, 0.0]])).tolist() == [True]


def test_a_solid_does_not_shade_its_own_lit_side():
    made = builder()
    made.add("box", (0.0, 0.0, 1.0), (0.5, 0.5, 0.5), made.material())
    top = torch.tensor([[0.1, 0.2, 1.5]])
    assert lit(world(made), light_above(True), top, torch.tensor([0])).tolist() == [True]
    assert lit(world(made), light_above(False), top, torch.tensor([0])).tolist() == [True]


def test_the_sun_enters_a_room_through_its_windows_alone():
    made = builder()
    scene = world(made, room=empty_room(made, [[3, -1.0, 1.0, 1.0, 2.0]]))
    # The sun stands level behind the far wall: it reaches what lies straight in front of the window.
    sun = Light(torch.tensor([0.0, 1.0, 0.0]), torch.ones(3), is_sun=True)
    points = torch.tensor([[0.0, 2.0, 1.5], [1.5, 2.0, 1.5], [0.0, 2.0, 0.5]])
    assert lit(scene, sun, points, torch.full((3,), 99)).tolist() == [True, False, False]
