from __future__ import annotations

import math

import pytest
import torch

from lotus_core.errors import OptionError
from lotus_core.geometry.normals import normals_from_points
from lotus_core.geometry.points import transform_points, unproject
from lotus_core.training.scenes import Light, render
from lotus_core.training.scenes.viewpoints import look_at, make_camera
from tests.core.training.scenes.worlds import along_y, builder, empty_room, world

MIDDLE = (16, 32)


def ball_before_camera():
    made = builder()
    made.add("ball", (0.0, 5.0, 1.0), (1.0, 1.0, 1.0), made.material())
    return world(made)


def test_fields_have_their_documented_shapes():
    frame = render(ball_before_camera(), along_y())
    assert frame.rgb.shape == (33, 65, 3)
    assert frame.depth.shape == frame.valid.shape == frame.sky.shape == frame.surface.shape == (33, 65)
    assert frame.normals.shape == (33, 65, 3)
    assert frame.rgb.dtype == frame.depth.dtype == frame.normals.dtype == torch.float32
    assert float(frame.rgb.min()) >= 0.0
    assert float(frame.rgb.max()) <= 1.0


def test_the_middle_of_a_ball_is_at_its_distance_less_its_radius_and_faces_the_camera():
    frame = render(ball_before_camera(), along_y(), colour=False)
    assert float(frame.depth[MIDDLE]) == pytest.approx(4.0, abs=1e-5)
    assert frame.normals[MIDDLE].tolist() == pytest.approx([0.0, 0.0, -1.0], abs=1e-5)


def test_every_point_of_a_ball_has_its_radius_and_its_normal():
    scene, camera = ball_before_camera(), along_y()
    frame = render(scene, camera, colour=False)
    points = unproject(frame.depth[None], camera.intrinsics[None])[0][frame.valid]
    outward = points - torch.tensor([0.0, 0.0, 5.0])  # the centre in the camera's frame
    assert torch.allclose(outward.norm(dim=-1), torch.ones(points.shape[0]), atol=1e-4)
    assert torch.allclose(outward, frame.normals[frame.valid], atol=1e-3)


def test_the_outline_of_a_ball_is_its_tangent_cone():
    # Seen from 5 radii away a ball spans asin(1 / 5) to each side.
    frame = render(ball_before_camera(), along_y(101, 201), colour=False)
    rays = (torch.arange(201) + 0.5 - 100.5) / 100.5  # f = 100.5 px at 90 degrees
    inside = rays.abs() < math.tan(math.asin(0.2))
    assert torch.equal(frame.valid[50], inside)


def test_depth_is_z_and_not_the_ray_s_length():
    made = builder()
    scene = world(made, room=empty_room(made))
    frame = render(scene, along_y(eye=(0.0, 0.5, 1.0)), colour=False)
    wall = frame.surface == len(scene.solids) + 3
    assert int(wall.sum()) > 100
    assert torch.allclose(frame.depth[wall], torch.tensor(5.5), atol=1e-4)


def test_walls_of_a_room_have_their_directions_in_the_camera_frame():
    made = builder()
    scene = world(made, room=empty_room(made))
    frame = render(scene, along_y(eye=(0.0, 0.5, 1.0)), colour=False)
    base = len(scene.solids)
    expected = {
        0: (1.0, 0.0, 0.0),  # the left wall faces right
        1: (-1.0, 0.0, 0.0),
        3: (0.0, 0.0, -1.0),  # the far wall faces the camera
        4: (0.0, -1.0, 0.0),  # the floor faces up, which is -y
        5: (0.0, 1.0, 0.0),
    }
    for face, normal in expected.items():
        seen = frame.normals[frame.surface == base + face]
        assert seen.shape[0] > 0
        assert torch.allclose(seen, torch.tensor(normal).expand_as(seen), atol=1e-5)


def test_the_floor_is_in_the_lower_half_and_left_is_left():
    made = builder()
    made.add("box", (-2.0, 5.0, 1.0), (0.3, 0.3, 0.3), made.material())
    frame = render(world(made, ground=made.material()), along_y(), colour=False)
    assert bool(frame.valid[20:].all())
    columns = (frame.surface == 0).nonzero()[:, 1]
    assert int(columns.max()) < 32


def test_a_frame_agrees_with_itself_by_finite_differences():
    made = builder()
    made.add("ball", (0.4, 4.0, 0.8), (0.8, 0.5, 0.7), made.material(), yaw=0.4)
    made.add("ramp", (-0.8, 4.0, 0.5), (0.6, 0.5, 0.5), made.material(), yaw=1.0)
    camera = along_y(120, 160)
    frame = render(world(made, room=empty_room(made)), camera, colour=False)
    measured = normals_from_points(unproject(frame.depth[None], camera.intrinsics[None]))[0]
    angle = torch.rad2deg((measured * frame.normals).sum(-1).clamp(-1, 1).acos())
    assert float(angle.median()) < 0.1
    assert float((angle < 5).float().mean()) > 0.97  # all but creases and outlines


def test_normals_are_unit_vectors_that_face_the_camera():
    made = builder()
    made.add("cylinder", (0.4, 4.0, 1.0), (0.5, 0.5, 0.7), made.material())
    camera = along_y(60, 80)
    frame = render(world(made, room=empty_room(made)), camera, colour=False)
    points = unproject(frame.depth[None], camera.intrinsics[None])[0]
    assert torch.allclose(frame.normals.norm(dim=-1), torch.ones(60, 80), atol=1e-5)
    assert float((frame.normals * points).sum(-1).max()) <= 0.0


def test_sky_is_infinite_invalid_and_has_no_normal():
    frame = render(ball_before_camera(), along_y())
    assert torch.equal(frame.sky, ~frame.valid)
    assert bool(frame.sky[0].all())
    assert bool(frame.depth[frame.sky].isinf().all())
    assert bool((frame.normals[frame.sky] == 0).all())
    assert bool((frame.surface[frame.sky] == -1).all())


def test_what_is_farther_than_the_scene_reaches_is_sky():
    made = builder()
    scene = world(made, ground=made.material())
    frame = render(scene, along_y(21, 401, eye=(0.0, 0.0, 4.0)), colour=False)
    # f = 200.5 pixels: one pixel below the horizon the ground is 4 * 200.5 = 802 metres away.
    assert scene.far < 802
    assert bool(frame.sky[11].all())
    assert torch.allclose(frame.depth[20], torch.tensor(80.2), rtol=1e-4)


def test_two_views_of_one_scene_see_the_same_points():
    made = builder()
    scene = world(made, room=empty_room(made))
    eyes = ((-0.5, 0.5, 1.2), (0.7, 0.8, 1.5))
    low, high = torch.tensor([-2.0, 0.0, 0.0]), torch.tensor([2.0, 6.0, 3.0])
    for eye in eyes:
        camera = make_camera(look_at(eye, (0.0, 4.0, 1.0), roll_deg=8.0), 70.0, 30, 40)
        frame = render(scene, camera, colour=False)
        points = unproject(frame.depth[None], camera.intrinsics[None])[0]
        in_world = transform_points(points, camera.world_from_camera)
        off_wall = torch.cat([(in_world - low).abs(), (in_world - high).abs()], dim=-1).amin(-1)
        assert float(off_wall.max()) < 1e-4


def test_rendering_without_colour_gives_the_same_geometry():
    scene = ball_before_camera()
    plain, coloured = render(scene, along_y(), colour=False), render(scene, along_y())
    assert torch.equal(plain.depth, coloured.depth)
    assert torch.equal(plain.normals, coloured.normals)
    assert float(plain.rgb.max()) == 0.0


def test_supersampling_smooths_the_picture_and_leaves_the_geometry():
    scene = ball_before_camera()
    rough, smooth = render(scene, along_y()), render(scene, along_y(), supersample=3)
    assert torch.equal(rough.depth, smooth.depth)
    steps = lambda frame: float(frame.rgb.mean(-1).diff(dim=1).abs().max())  # noqa: E731
    assert steps(smooth) < steps(rough)


@pytest.mark.parametrize("factor", [0, 5, -1])
def test_supersampling_out_of_range_is_refused(factor):
    with pytest.raises(OptionError, match="supersample must be 1, 2, 3 or 4"):
        render(ball_before_camera(), along_y(), supersample=factor)


def test_the_same_scene_renders_the_same_picture():
    made = render(ball_before_camera(), along_y())
    again = render(ball_before_camera(), along_y())
    assert torch.equal(made.rgb, again.rgb)


def test_a_given_gain_is_kept():
    scene = ball_before_camera()
    assert render(scene, along_y(), gain=0.37).gain == 0.37
    darker, lighter = render(scene, along_y(), gain=0.2), render(scene, along_y(), gain=0.6)
    assert float(lighter.rgb.mean()) > float(darker.rgb.mean())


def test_shadows_darken_the_ground():
    made = builder()
    floor = made.material(("plain",), colour=(0.5, 0.5, 0.5))
    made.add("box", (0.0, 5.0, 1.5), (0.8, 0.8, 0.1), floor)
    sun = Light(torch.tensor([0.0, 0.0, 1.0]), torch.full((3,), 2.0), is_sun=True)
    scene = world(made, ground=floor, lights=(sun,))
    camera = make_camera(look_at((0.0, -1.0, 1.2), (0.0, 5.0, 0.0)), 60.0, 49, 65)
    frame = render(scene, camera)
    points = transform_points(
        unproject(frame.depth[None], camera.intrinsics[None])[0], camera.world_from_camera
    )
    ground = frame.surface == len(scene.solids) + 6
    below = ground & (points[..., 0].abs() < 0.7) & ((points[..., 1] - 5.0).abs() < 0.7)
    beside = ground & (points[..., 0].abs() > 1.0) & ((points[..., 1] - 5.0).abs() < 0.7)
    assert int(below.sum()) > 3
    assert float(frame.rgb[below].mean()) < 0.8 * float(frame.rgb[beside].mean())


def test_any_size_is_rendered():
    for height, width in ((1, 1), (1, 9), (7, 1), (17, 31)):
        frame = render(ball_before_camera(), along_y(height, width))
        assert frame.rgb.shape == (height, width, 3)
        assert bool(frame.rgb.isfinite().all())
