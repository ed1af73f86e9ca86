from __future__ import annotations

import numpy as np
import pytest
import torch

from lotus_core.errors import OptionError
from lotus_core.training.scenes import (
    render,
    sample_clip,
    sample_frame,
    sample_scene,
    sample_view,
    sample_views,
)
from lotus_core.training.scenes.layouts import LAYOUTS
from lotus_core.training.scenes.sampling import LAYOUT_SHARES
from lotus_core.training.scenes.viewpoints import dolly, look_at, make_camera
from tests.core.training.scenes.worlds import along_y

SMALL = {"height": 24, "width": 32}


def test_a_seed_always_gives_the_same_picture():
    first, second = sample_frame(7, **SMALL), sample_frame(7, **SMALL)
    assert torch.equal(first.rgb, second.rgb)
    assert torch.equal(first.depth, second.depth)


def test_another_seed_gives_another_picture():
    first, second = sample_frame(7, **SMALL), sample_frame(8, **SMALL)
    assert not torch.equal(first.depth, second.depth)


def test_the_size_does_not_change_the_scene_or_the_camera():
    small, large = sample_view(3, **SMALL), sample_view(3, height=48, width=64)
    assert torch.equal(small[0].solids.centre, large[0].solids.centre)
    assert torch.equal(small[1].world_from_camera, large[1].world_from_camera)
    assert small[1].fov_x_deg == pytest.approx(large[1].fov_x_deg, abs=1e-3)


def test_sampling_leaves_the_global_generators_alone():
    torch.manual_seed(5)
    np.random.seed(5)
    sample_frame(1, **SMALL)
    after = (torch.rand(1), np.random.rand())
    torch.manual_seed(5)
    np.random.seed(5)
    assert after == (torch.rand(1), np.random.rand())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_pictures_with_something_to_see(layout):
    for seed in range(5):
        frame = sample_frame(seed, layout=layout, **SMALL)
        assert float(frame.valid.float().mean()) > 0.25
        assert float(frame.depth[frame.valid].min()) > 0.02
        assert bool(frame.rgb.isfinite().all())
        assert float(frame.rgb.std()) > 0.01
        assert len(frame.surface.unique()) >= 3


@pytest.mark.parametrize("layout", LAYOUTS)
def test_normals_face_the_camera_in_every_layout(layout):
    from lotus_core.geometry.camera import pixel_rays

    for seed in range(5):
        frame = sample_frame(seed, layout=layout, colour=False, **SMALL)
        rays = pixel_rays(frame.camera.intrinsics[None], 24, 32)[0]
        facing = (frame.normals * rays).sum(-1)[frame.valid]
        assert float(facing.max()) <= 1e-6
        assert torch.allclose(frame.normals[frame.valid].norm(dim=-1), torch.ones(facing.shape), atol=1e-4)


def test_showrooms_are_closed():
    assert all(
        bool(sample_frame(seed, layout="showroom", colour=False, **SMALL).valid.all()) for seed in range(8)
    )


def test_layouts_are_drawn_with_their_shares():
    assert sum(LAYOUT_SHARES.values()) == pytest.approx(1.0)
    drawn = [sample_scene(seed)[0].layout for seed in range(150)]
    for layout, share in LAYOUT_SHARES.items():
        assert drawn.count(layout) / 150 == pytest.approx(share, abs=0.12)


def test_fields_of_view_spread_over_35_to_90_degrees():
    fovs = [sample_view(seed, layout="showroom", **SMALL)[1].fov_x_deg for seed in range(40)]
    assert min(fovs) >= 35.0 - 1e-3
    assert max(fovs) <= 90.0 + 1e-3
    assert max(fovs) - min(fovs) > 35


def test_a_range_of_fields_of_view_can_be_asked_for():
    fovs = [sample_view(seed, **SMALL, fov_x_deg=(50.0, 52.0))[1].fov_x_deg for seed in range(5)]
    assert all(49.9 < fov < 52.1 for fov in fovs)


def test_an_unknown_layout_is_refused():
    with pytest.raises(OptionError, match="layout must be one of room, tabletop"):
        sample_scene(0, layout="moon")


@pytest.mark.parametrize("seed", [-1, 1.5, True, "3"])
def test_a_bad_seed_is_refused(seed):
    with pytest.raises(OptionError, match="seed must be an integer of at least 0"):
        sample_scene(seed)


def test_a_level_camera_looks_along_its_axis():
    pose = look_at((1.0, 2.0, 3.0), (1.0, 5.0, 3.0))
    expected = torch.tensor([[1.0, 0, 0, 1], [0, 0, 1, 2], [0, -1, 0, 3], [0, 0, 0, 1]])
    assert torch.allclose(pose, expected, atol=1e-6)


@pytest.mark.parametrize("target", [(3.0, 1.0, -2.0), (-1.0, -1.0, 0.5), (0.0, 0.0, 5.0), (0.0, 0.0, -5.0)])
def test_cameras_are_rigid_and_look_at_their_target(target):
    pose = look_at((0.0, 0.0, 0.0), target, roll_deg=20.0)
    rotation = pose[:3, :3]
    assert torch.allclose(rotation @ rotation.T, torch.eye(3), atol=1e-5)
    assert float(torch.linalg.det(rotation)) == pytest.approx(1.0, abs=1e-5)
    goal = torch.tensor(target)
    assert torch.allclose(rotation[:, 2], goal / goal.norm(), atol=1e-5)


def test_roll_turns_the_picture_and_not_the_axis():
    straight, rolled = look_at((0, 0, 0), (0, 1, 0)), look_at((0, 0, 0), (0, 1, 0), roll_deg=90.0)
    assert torch.allclose(straight[:3, 2], rolled[:3, 2], atol=1e-6)
    assert torch.allclose(rolled[:3, 0], straight[:3, 1], atol=1e-6)  # right is where down was


def test_several_views_look_at_one_scene_from_an_arc():
    scene, cameras = sample_views(2, 5, layout="room", **SMALL)
    assert len(cameras) == 5
    assert len({round(camera.fov_x_deg, 3) for camera in cameras}) == 1
    places = torch.stack([camera.world_from_camera[:3, 3] for camera in cameras])
    assert float((places[0] - places[-1]).norm()) > 0.1
    for camera in cameras:
        assert bool(render(scene, camera, colour=False).valid.any())


def test_views_of_a_room_stay_inside_it():
    for seed in range(6):
        scene, cameras = sample_views(seed, 4, layout="room", arc_deg=120.0, **SMALL)
        for camera in cameras:
            place = camera.world_from_camera[:3, 3]
            assert bool(((place > scene.room.lower) & (place < scene.room.upper)).all())


def test_a_clip_moves_its_camera_and_its_solids():
    frames = sample_clip(4, 4, layout="clutter", frames_per_second=4.0, **SMALL)
    assert len(frames) == 4
    poses = [frame.camera.world_from_camera for frame in frames]
    assert not torch.equal(poses[0], poses[3])
    assert not torch.equal(frames[0].depth, frames[3].depth)
    assert len({frame.gain for frame in frames}) == 1


def test_a_still_clip_is_still():
    frames = sample_clip(4, 3, layout="showroom", moving_camera=False, moving_solids=False, **SMALL)
    assert torch.equal(frames[0].depth, frames[2].depth)


def test_moving_solids_alone_leave_the_camera():
    frames = sample_clip(5, 6, layout="clutter", moving_camera=False, frames_per_second=2.0, **SMALL)
    assert torch.equal(frames[0].camera.world_from_camera, frames[5].camera.world_from_camera)
    assert not torch.equal(frames[0].depth, frames[5].depth)


def test_time_moves_solids_by_their_velocity_and_turns_them_by_their_spin():
    scene, _ = sample_scene(0, layout="street")
    later = scene.at_time(2.0)
    assert torch.allclose(later.solids.centre, scene.solids.centre + 2 * scene.solids.velocity)
    product = later.solids.rotation @ later.solids.rotation.mT
    assert torch.allclose(product, torch.eye(3).expand_as(product), atol=1e-5)
    assert torch.equal(scene.at_time(0.0).solids.centre, scene.solids.centre)


def test_a_dolly_starts_at_its_camera_and_stays_rigid():
    cameras = dolly(along_y(), np.random.default_rng(0), 5, 10.0)
    assert torch.allclose(cameras[0].world_from_camera, along_y().world_from_camera, atol=1e-6)
    last = cameras[-1].world_from_camera[:3, :3]
    assert torch.allclose(last @ last.T, torch.eye(3), atol=1e-5)


def test_a_camera_has_the_size_and_field_of_view_asked_for():
    camera = make_camera(torch.eye(4), 66.0, 24, 32)
    assert (camera.width, camera.height) == (32, 24)
    assert camera.fov_x_deg == pytest.approx(66.0, abs=1e-3)
