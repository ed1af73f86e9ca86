from __future__ import annotations

import pytest
import torch

from lotus_core.geometry.evidence import gather_evidence
from lotus_core.geometry.multiview.inputs import check_inputs
from lotus_core.geometry.multiview.shift_prior import ShiftPrior, shift_prior
from lotus_core.geometry.multiview.views import gather_views
from tests.core.geometry.multiview.rig import arc, predict, see
from tests.core.geometry.multiview.solved import exact_affine


def prior_of(inputs):
    evidence = [
        gather_evidence(d[None], n[None], inputs.kind, v[None])
        for d, n, v in zip(inputs.values, inputs.normals, inputs.valid, strict=True)
    ]
    return shift_prior(evidence, inputs.cameras, gather_views(inputs))


def bowl(middle: float = 1.0, steepness: float = 3.0) -> ShiftPrior:
    """Two views whose costs are parabolas about ``middle`` and ``middle + 1``."""
    grid = torch.linspace(-6, 4, 81, dtype=torch.float64)
    start = torch.tensor([0.0, 1.0], dtype=torch.float64)
    return ShiftPrior(grid, start, (steepness * (grid - middle).square()).expand(2, -1))


def test_the_normals_of_exact_views_tell_their_shifts(inputs, four_views):
    """ln shift to a tenth: from a coarse grid, with the prior of common pictures."""
    exact = exact_affine(gather_views(inputs), four_views).log_shift
    assert (prior_of(inputs).best() - exact).abs().max() < 0.15


def test_shapes_and_types(inputs):
    prior = prior_of(inputs)
    assert prior.cost.shape == (4, len(prior.grid))
    assert prior.cost.dtype == prior.grid.dtype == prior.start.dtype == torch.float64
    assert torch.isfinite(prior.cost).all()


@pytest.mark.parametrize("kind", ["depth", "disparity"])
def test_the_shift_does_not_depend_on_the_maps_own_scale(kind):
    """Maps of 8-bit range: shifts are 255 times as large."""
    seen = [see(camera) for camera in arc(2)]
    cameras = [view.camera for view in seen]
    predictions = [predict(view, kind) for view in seen]
    plain = prior_of(check_inputs(predictions, cameras, None, None)).best()
    for prediction in predictions:
        prediction.depth.values.mul_(255)
    scaled = prior_of(check_inputs(predictions, cameras, None, None)).best()
    assert torch.allclose(scaled - plain, torch.log(torch.tensor(255.0)).double(), atol=1e-3)


def test_a_picture_without_evidence_has_the_common_pictures_prior():
    seen = [see(camera) for camera in arc(2)]
    predictions = [predict(view) for view in seen]
    predictions[0].normals.vectors.zero_()
    inputs = check_inputs(predictions, [view.camera for view in seen], None, None)
    best = prior_of(inputs).best()[0]
    # ln((1 + b) / b) = ln 4 at the prior's best, so b is a third of the map's range.
    span = gather_views(inputs).span[0]
    assert float(best.exp() / span) == pytest.approx(1 / 3, rel=0.15)


def test_between_grid_points_cost_slope_and_curvature_are_the_parabolas():
    cost, slope, bend = bowl().at(torch.tensor([1.53, 2.53], dtype=torch.float64))
    assert cost.tolist() == pytest.approx([3 * 0.53**2] * 2)
    assert slope.tolist() == pytest.approx([6 * 0.53] * 2)
    assert bend.tolist() == pytest.approx([6.0] * 2)


def test_beyond_the_ends_the_cost_goes_on_growing():
    near, _, _ = bowl().at(torch.tensor([4.0, 5.0], dtype=torch.float64))
    far, slope, _ = bowl().at(torch.tensor([9.0, 10.0], dtype=torch.float64))
    assert (far > near).all()
    assert (slope > 0).all()


def test_best_is_the_least_cost_of_each_view():
    assert bowl().best().tolist() == pytest.approx([1.0, 2.0], abs=0.13)


def test_curvature_is_never_negative():
    hill = bowl(steepness=-3.0)
    assert (hill.at(torch.tensor([1.0, 2.0], dtype=torch.float64))[2] == 0).all()
