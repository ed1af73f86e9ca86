from __future__ import annotations

import pytest
import torch

from lotus_core.geometry.camera import Camera
from lotus_core.geometry.mesh import Mesh
from lotus_core.geometry.multiview import opencv_from_world, turn_mesh
from tests.core.geometry.multiview.rig import arc


def camera(right, down, forward) -> Camera:
    """A camera at the origin whose axes are given in the world."""
    pose = torch.eye(4)
    pose[:3, :3] = torch.tensor([right, down, forward], dtype=torch.float32).T
    return Camera(torch.eye(3), pose, 4, 4)


def test_a_world_that_is_opencvs_already_stays():
    assert torch.equal(opencv_from_world(arc(5)), torch.eye(3))


def test_a_world_with_z_up_seen_along_y_is_laid_down():
    seen = camera(right=(1, 0, 0), down=(0, 0, -1), forward=(0, 1, 0))
    point = torch.tensor([1.0, 2.0, 3.0])  # 2 ahead, 3 up
    assert (opencv_from_world([seen]) @ point).tolist() == [1.0, -3.0, 2.0]


def test_a_world_in_opengl_axes_is_turned_about_x():
    seen = camera(right=(1, 0, 0), down=(0, -1, 0), forward=(0, 0, -1))
    assert torch.equal(opencv_from_world([seen]), torch.diag(torch.tensor([1.0, -1.0, -1.0])))


def test_cameras_that_look_down_keep_their_pictures_upright():
    """Down in the picture is -y of the world, forward is -z: the other axis is not taken twice."""
    seen = camera(right=(1, 0, 0), down=(0, -1, 0), forward=(0, 0, -1))
    tilted = camera(right=(1, 0, 0), down=(0, -0.8, -0.6), forward=(0, 0.6, -0.8))
    assert torch.equal(opencv_from_world([tilted]), opencv_from_world([seen]))


@pytest.mark.parametrize("seed", range(8))
def test_the_turn_is_always_a_rotation_by_quarter_turns(seed):
    generator = torch.Generator().manual_seed(seed)
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator))
    rotation = rotation * rotation.det().sign()
    turn = opencv_from_world([camera(*rotation.T.tolist())])
    assert sorted(turn.abs().flatten().tolist()) == [0.0] * 6 + [1.0] * 3
    assert float(torch.linalg.det(turn)) == pytest.approx(1.0)


def test_the_mean_of_all_cameras_decides():
    level = camera(right=(1, 0, 0), down=(0, 1, 0), forward=(0, 0, 1))
    rolled = camera(right=(0, 1, 0), down=(-1, 0, 0), forward=(0, 0, 1))
    assert torch.equal(opencv_from_world([level, level, rolled]), torch.eye(3))


def test_a_turned_mesh_keeps_its_winding_and_turns_its_normals():
    mesh = Mesh(
        vertices=torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
        faces=torch.tensor([[0, 1, 2]]),
        normals=torch.tensor([[0.0, 0.0, 1.0]]).repeat(3, 1),
        colours=torch.rand(3, 3),
    )
    turn = torch.tensor([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])  # z becomes -y
    turned = turn_mesh(mesh, turn)
    a, b, c = turned.vertices
    assert torch.linalg.cross(b - a, c - a).tolist() == [0.0, -1.0, 0.0]
    assert turned.normals is not None
    assert turned.normals[0].tolist() == [0.0, -1.0, 0.0]
    assert turned.faces is mesh.faces
    assert turned.colours is mesh.colours


def test_a_mesh_without_normals_turns_too():
    mesh = Mesh(torch.eye(3), torch.tensor([[0, 1, 2]]))
    assert turn_mesh(mesh, torch.eye(3)).normals is None
