"""Depth and normals as the pictures that are learned."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lotus_core.errors import ShapeError
from lotus_core.training.annotation import annotation, depth_picture, flipped, known
from lotus_core.training.pictures import annotated, mirrored_half
from lotus_core.training.sample import Sample
from tests.core.training.small import example

EVERYWHERE = torch.ones(1, 3, dtype=torch.bool)
NOWHERE = torch.zeros(1, 3, dtype=torch.bool)


def test_disparity_over_the_whole_range_is_one_near_and_minus_one_far():
    # disparities 1, 1/2, 1/4: a half lies a third of the way from 1/4 to 1
    picture = depth_picture(torch.tensor([[1.0, 2.0, 4.0]]), EVERYWHERE, NOWHERE, "disparity-range")
    assert picture[0].tolist() == pytest.approx([1.0, -1 / 3, -1.0], abs=1e-4)


def test_linear_depth_is_minus_one_near_and_one_far():
    picture = depth_picture(torch.tensor([[1.0, 2.0, 5.0]]), EVERYWHERE, NOWHERE, "linear-range")
    assert picture[0].tolist() == pytest.approx([-1.0, -0.5, 1.0], abs=1e-4)


@pytest.mark.parametrize("depth_map", ["linear", "disparity"])
def test_the_outer_two_per_cent_are_clipped(depth_map):
    depth = torch.linspace(1, 2, 1001)[None]
    everywhere, nowhere = torch.ones_like(depth, dtype=torch.bool), torch.zeros_like(depth, dtype=torch.bool)
    picture = depth_picture(depth, everywhere, nowhere, depth_map)
    values = 1 / depth if depth_map == "disparity" else depth
    low, high = torch.quantile(values, 0.02), torch.quantile(values, 0.98)
    expected = ((values - low) / (high - low + 1e-5) * 2 - 1).clamp(-1, 1)
    assert torch.allclose(picture, expected, atol=1e-4)
    assert (picture.abs() == 1).float().mean() > 0.039


@pytest.mark.parametrize(("depth_map", "far"), [("disparity", -1.0), ("linear", 1.0)])
def test_the_sky_lies_at_the_far_end_and_sets_no_range(depth_map, far):
    depth = torch.tensor([[1.0, 2.0, float("inf")]])
    sky = torch.tensor([[False, False, True]])
    picture = depth_picture(depth, ~sky, sky, depth_map)
    assert picture[0, 2] == far
    assert picture.isfinite().all()
    assert picture[0, :2].tolist() != [far, far]


def test_a_picture_without_any_surface_is_all_far():
    assert torch.equal(depth_picture(torch.zeros(1, 3), NOWHERE, NOWHERE, "disparity"), -torch.ones(1, 3))


@settings(max_examples=25, deadline=None)
@given(scale=st.floats(0.1, 50), shift=st.floats(0, 5), seed=st.integers(0, 100))
def test_scale_and_shift_of_disparity_do_not_change_the_map(scale, shift, seed):
    disparity = torch.rand((8, 9), generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.2
    everywhere, nowhere = torch.ones(8, 9, dtype=torch.bool), torch.zeros(8, 9, dtype=torch.bool)
    one = depth_picture(1 / disparity, everywhere, nowhere, "disparity")
    other = depth_picture(1 / (disparity * scale + shift), everywhere, nowhere, "disparity")
    assert torch.allclose(one, other, atol=1e-3)


def test_depth_counts_in_the_sky_and_normals_do_not():
    sample = example(0)
    assert torch.equal(known(sample, "depth"), sample.valid | sample.sky)
    assert torch.equal(known(sample, "normal"), sample.valid)
    assert sample.sky.any()


def test_normals_keep_their_vectors_and_are_grey_where_nothing_is():
    sample = example(0)
    picture = annotation(sample, "normal")
    assert picture[:, 12, 12].tolist() == pytest.approx([0.0, 0.8, 0.6])
    assert torch.equal(picture[:, 0, 0], torch.zeros(3))


def test_depth_fills_three_equal_channels():
    picture = annotation(example(0), "depth", "disparity")
    assert picture.shape == (3, 32, 32)
    assert torch.equal(picture[0], picture[2])


def test_the_mirror_swaps_sides_and_the_sign_of_x():
    sample = example(3)
    tilted = replace(sample, normal=torch.tensor([0.6, 0.0, 0.8])[:, None, None].expand(3, 32, 32))
    mirrored = flipped(tilted)
    assert mirrored.normal[:, 5, 5].tolist() == pytest.approx([-0.6, 0.0, 0.8])
    assert torch.equal(mirrored.image[:, :, 0], sample.image[:, :, -1])
    assert torch.equal(mirrored.valid[:, -8:], sample.valid[:, :8].flip(-1))
    twice = flipped(mirrored)
    assert torch.equal(twice.normal, tilted.normal)
    assert torch.equal(twice.image, sample.image)


def test_about_half_of_the_pictures_are_mirrored_and_the_same_ones_in_every_part():
    samples = [example(seed, 8, 8) for seed in range(200)]
    whole = mirrored_half(samples, 5, 17, 0)
    turned = [not torch.equal(a.image, b.image) for a, b in zip(whole, samples, strict=True)]
    assert 70 < sum(turned) < 130
    second = mirrored_half(samples[100:], 5, 17, 100)
    assert all(torch.equal(a.image, b.image) for a, b in zip(whole[100:], second, strict=True))


def test_a_batch_stacks_pictures_annotations_and_masks():
    batch = annotated([example(0), example(1)], "normal", "disparity")
    assert batch.images.shape == batch.annotations.shape == (2, 3, 32, 32)
    assert batch.known.shape == (2, 1, 32, 32)
    assert batch.names == ("example 0", "example 1")


def test_parts_of_different_sizes_are_refused_by_name():
    sample = example(0)
    with pytest.raises(ShapeError, match=r"depth of plate has shape \(4, 4\), expected \(32, 32\)"):
        Sample(sample.image, torch.ones(4, 4), sample.normal, sample.valid, sample.sky, "plate")
