from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lotus_core.geometry.multiview import align_views
from lotus_core.geometry.multiview.inputs import check_inputs
from tests.core.geometry.multiview.rig import arc, predict, see, truth


def depth_ratios(alignment, inputs, seen) -> torch.Tensor:
    """ln of each view's median resolved depth over the true one, where its map is not cut off."""
    ratios = []
    for index, view in enumerate(seen):
        values = inputs.values[index]
        depth = alignment.resolve_depth(index, values)
        ratios.append((depth / view.depth)[alignment.unclipped(index, values)].log().median())
    return torch.stack(ratios)


@pytest.fixture(scope="module")
def alignment(inputs):
    return align_views(inputs)


def test_scale_and_shift_of_every_view_are_those_of_the_true_depths(alignment, four_views):
    for index, view in enumerate(four_views):
        scale, shift = truth(view, alignment.kind)
        assert float(alignment.scale[index]) == pytest.approx(scale, rel=4e-3)
        assert float(alignment.shift[index]) == pytest.approx(shift, rel=5e-3)


def test_all_views_have_one_scale(alignment, inputs, four_views):
    ratios = depth_ratios(alignment, inputs, four_views)
    assert float(ratios.std()) < 1e-3
    assert float(ratios.abs().max()) < 3e-3


def test_values_below_the_robust_minimum_are_held_there(alignment, inputs):
    low = float(alignment.low[0])
    depth = alignment.resolve_depth(0, torch.tensor([[low, low - 5.0]]))
    assert depth[0, 0] == depth[0, 1]
    assert depth.dtype == torch.float32


def test_the_ends_of_a_map_are_not_believed(alignment):
    low, high = float(alignment.low[1]), float(alignment.high[1])
    values = torch.tensor([low, (low + high) / 2, high])
    assert alignment.unclipped(1, values).tolist() == [False, True, False]


def test_neighbours_are_told(alignment):
    assert [len(row) for row in alignment.near] == [3, 3, 3, 3]


def test_without_pictures_the_maps_alone_align(inputs, four_views):
    found = align_views(replace(inputs, images=None))
    ratios = depth_ratios(found, inputs, four_views)
    assert float(ratios.std()) < 1e-3
    assert float(ratios.abs().max()) < 0.02
    assert found.agreement.patches.tolist() == [0, 0, 0, 0]


def test_two_views_are_enough():
    seen = [see(camera) for camera in arc(2, spread_deg=20.0)]
    inputs = check_inputs(
        [predict(v) for v in seen], [v.camera for v in seen], [v.picture for v in seen], None
    )
    found = align_views(inputs)
    assert float(depth_ratios(found, inputs, seen).abs().max()) < 0.02
