from __future__ import annotations

import pytest
import torch

from lotus_core.errors import GeometryError, ShapeError
from lotus_core.geometry.da3 import views_from_da3

HEIGHT, WIDTH = 60, 80


@pytest.fixture
def packet() -> dict[str, object]:
    """Two views as ComfyUI's node gives them: run at 70 x 98 (multiples of 14), depth brought to 60 x 80."""
    extrinsics = torch.eye(4)[:3].repeat(1, 2, 1, 1)
    extrinsics[0, 1, 0, 3] = -0.5  # camera_from_world: the second camera stands at x = +0.5
    intrinsics = torch.tensor([[100.0, 0, 49.0], [0, 90.0, 35.0], [0, 0, 1]]).repeat(1, 2, 1, 1)
    return {
        "mode": "multiview",
        "depth": torch.full((2, HEIGHT, WIDTH), 2.0),
        "image": torch.rand(2, HEIGHT, WIDTH, 3),
        "extrinsics": extrinsics,
        "intrinsics": intrinsics,
    }


def test_poses_are_turned_around(packet):
    cameras, _ = views_from_da3(packet)
    torch.testing.assert_close(cameras[1].world_from_camera[:3, 3], torch.tensor([0.5, 0.0, 0.0]))
    assert (cameras[0].width, cameras[0].height) == (WIDTH, HEIGHT)


def test_intrinsics_are_brought_to_the_size_of_the_depth(packet):
    cameras, _ = views_from_da3(packet)
    expected = torch.tensor([[100.0 * 80 / 98, 0, 40.0], [0, 90.0 * 60 / 70, 30.0], [0, 0, 1]])
    torch.testing.assert_close(cameras[0].intrinsics, expected)


def test_a_principal_point_off_the_middle_keeps_its_offset(packet):
    packet["intrinsics"][..., 0, 2] += 1.5  # as the ray-based poses estimate it
    cameras, _ = views_from_da3(packet)
    assert cameras[0].intrinsics[0, 2].item() == pytest.approx(50.5 * 80 / 98)


def test_intrinsics_already_in_the_depths_pixels_stay(packet):
    packet["intrinsics"] = torch.tensor([[70.0, 0, 40.0], [0, 70.0, 30.0], [0, 0, 1]]).repeat(1, 2, 1, 1)
    cameras, _ = views_from_da3(packet)
    assert torch.equal(cameras[0].intrinsics, packet["intrinsics"][0, 0])


def test_homogeneous_extrinsics_are_read_too(packet):
    packet["extrinsics"] = torch.cat(
        [packet["extrinsics"], torch.tensor([0.0, 0, 0, 1]).expand(1, 2, 1, 4)], dim=2
    )
    cameras, _ = views_from_da3(packet)
    torch.testing.assert_close(cameras[1].world_from_camera[:3, 3], torch.tensor([0.5, 0.0, 0.0]))


def test_depths_become_anchors_of_every_view(packet):
    _, anchors = views_from_da3(packet)
    assert (anchors.depth == 2).all()
    assert len(anchors.of_view(0)[1]) == len(anchors.of_view(1)[1]) == (HEIGHT // 4) * (WIDTH // 4)


def test_sky_and_the_least_sure_quarter_give_no_anchor(packet):
    sky = torch.zeros(2, HEIGHT, WIDTH)
    sky[:, : HEIGHT // 2] = 1.0
    confidence = (
        torch.arange(HEIGHT * WIDTH, dtype=torch.float32).reshape(1, HEIGHT, WIDTH).flip(2).repeat(2, 1, 1)
    )
    _, anchors = views_from_da3({**packet, "sky": sky, "confidence": confidence})
    assert (anchors.pixels[:, 1] > HEIGHT / 2).all()
    _, anchors = views_from_da3({**packet, "confidence": confidence})
    assert (anchors.pixels[:, 1] > HEIGHT / 4).all()
    assert len(anchors.depth) == pytest.approx(2 * 0.75 * (HEIGHT // 4) * (WIDTH // 4), rel=0.1)


def test_a_single_view_packet_is_refused_with_the_way_out(packet):
    mono = {"mode": "mono", "depth": packet["depth"], "image": packet["image"]}
    with pytest.raises(
        GeometryError, match=r'found: mode .mono. without extrinsics\): run .* in "multiview" mode'
    ):
        views_from_da3(mono)


def test_the_nodes_identity_fallback_is_recognised(packet):
    packet["extrinsics"] = torch.eye(4).repeat(1, 2, 1, 1)
    packet["intrinsics"] = torch.eye(3).repeat(1, 2, 1, 1)
    with pytest.raises(GeometryError, match="the same pose for every view"):
        views_from_da3(packet)


def test_other_shapes_are_refused(packet):
    packet["intrinsics"] = packet["intrinsics"][0]
    with pytest.raises(ShapeError, match="intrinsics"):
        views_from_da3(packet)
