import math

import torch

from lotus_core.inference.ensemble import merge_depths, merge_normals


def ramp(batch=1, height=24, width=30):
    return torch.linspace(0.2, 0.8, height * width).reshape(1, height, width).repeat(batch, 1, 1)


def test_shifted_copies_merge_to_their_mean_with_no_spread():
    base = ramp()
    merged, spread = merge_depths(torch.stack([base - 0.1, base, base + 0.1]))
    torch.testing.assert_close(merged, base, atol=1e-6, rtol=0)
    assert spread.max() < 1e-6


def test_scaled_copies_merge_to_the_mean_scale():
    base = ramp()
    centre = base.flatten(1).median(dim=1).values.view(1, 1, 1)
    merged, spread = merge_depths(torch.stack([(base - centre) * s + centre for s in (0.5, 1.0, 1.5)]))
    torch.testing.assert_close(merged, base, atol=1e-5, rtol=0)
    assert spread.max() < 1e-5


def test_one_wild_pixel_of_one_member_is_outvoted_and_shows_in_no_other():
    members = torch.stack([ramp(), ramp(), ramp()])
    members[1, 0, 2, 3] = 0.0
    merged, spread = merge_depths(members)
    torch.testing.assert_close(merged, ramp(), atol=5e-3, rtol=0)
    assert spread.max() < 5e-3


def test_disagreement_is_the_median_absolute_deviation():
    members = torch.stack([ramp(), ramp(), ramp()])
    members[0, 0, 2, 3] -= 0.1
    members[2, 0, 2, 3] += 0.1
    _, spread = merge_depths(members)
    assert abs(spread[0, 2, 3].item() - 0.1) < 0.02
    assert spread[0, 4, 4] < 0.02


def test_pictures_of_a_batch_are_aligned_apart():
    members = torch.stack([ramp(2), ramp(2)])
    members[1, 1] += 0.15
    merged, _ = merge_depths(members)
    torch.testing.assert_close(merged[0], ramp()[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(merged[1], ramp()[0] + 0.075, atol=1e-6, rtol=0)


def test_constant_maps_stay_constant():
    merged, spread = merge_depths(torch.full((3, 1, 4, 4), 0.4))
    torch.testing.assert_close(merged, torch.full((1, 4, 4), 0.4))
    assert spread.max() == 0


def test_merged_depth_stays_in_range():
    merged, _ = merge_depths(torch.rand((5, 2, 8, 8), generator=torch.Generator().manual_seed(1)))
    assert merged.min() >= 0
    assert merged.max() <= 1


def tilted(degrees):
    a = math.radians(degrees)
    return torch.tensor([math.sin(a), 0.0, -math.cos(a)]).expand(1, 4, 4, 3)


def test_equal_normals_have_no_uncertainty():
    merged, degrees = merge_normals(torch.stack([tilted(12.0)] * 3))
    torch.testing.assert_close(merged, tilted(12.0), atol=1e-6, rtol=0)
    assert degrees.max() < 1e-3


def test_two_normals_20_degrees_apart_lie_10_from_their_mean():
    merged, degrees = merge_normals(torch.stack([tilted(-10.0), tilted(10.0)]))
    torch.testing.assert_close(merged, tilted(0.0), atol=1e-6, rtol=0)
    torch.testing.assert_close(degrees, torch.full((1, 4, 4), 10.0), atol=1e-4, rtol=0)


def test_small_angles_keep_their_digits():
    _, degrees = merge_normals(torch.stack([tilted(-0.05), tilted(0.05)]))
    torch.testing.assert_close(degrees, torch.full((1, 4, 4), 0.05), atol=1e-3, rtol=0)
