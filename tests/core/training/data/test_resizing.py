"""Bringing pictures, maps and masks to one size."""

from __future__ import annotations

import torch

from lotus_core.training.data.resizing import lower_middle, resize_picture, resize_plane


def test_a_picture_is_averaged_where_it_shrinks():
    picture = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(3, 4, 4)
    assert torch.allclose(resize_picture(picture, (2, 2))[:, :, :], torch.full((3, 2, 2), 0.5), atol=0.02)


def test_depth_is_never_mixed():
    depth = torch.where(torch.arange(10) < 5, 1.0, 9.0)[None].repeat(10, 1)
    assert set(resize_plane(depth, (7, 7)).unique().tolist()) == {1.0, 9.0}


def test_infinity_and_masks_survive():
    depth = torch.full((4, 4), float("inf"))
    mask = torch.tensor([[True, False], [False, True]])
    assert bool(resize_plane(depth, (2, 6)).isinf().all())
    large = resize_plane(mask, (4, 4))
    assert large.dtype == torch.bool
    assert torch.equal(large, mask.repeat_interleave(2, 0).repeat_interleave(2, 1))


def test_channels_are_kept_apart():
    normals = torch.arange(3.0)[:, None, None].expand(3, 4, 4)
    assert torch.equal(resize_plane(normals, (2, 2)), torch.arange(3.0)[:, None, None].expand(3, 2, 2))


def test_the_same_size_is_left_alone():
    plane = torch.rand(3, 5)
    assert resize_plane(plane, (3, 5)) is plane
    assert resize_picture(plane.expand(3, 3, 5), (3, 5)).shape == (3, 3, 5)


def test_the_lower_middle_of_kittis_size():
    plane = torch.arange(375 * 1242).reshape(375, 1242)
    cropped = lower_middle(plane, (352, 1216))
    assert int(cropped[0, 0]) == 23 * 1242 + 13
    assert int(cropped[-1, -1]) == 374 * 1242 + 1228
