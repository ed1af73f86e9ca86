"""Scoring models that give the picture back, so that every score is known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lotus_core.errors import DatasetError, ModelTaskError, OptionError
from lotus_core.evaluation.run import evaluate_depth, evaluate_normals, noise_seed, score_depth
from lotus_core.evaluation.samples import Rules
from lotus_core.inference.options import InferenceOptions
from tests.core.evaluation.models import Listed, blocks, depth_sample, normal_sample
from tests.core.inference.models import passing_model

OWN_SIZE = InferenceOptions(resolution=0)
GREY = blocks(1, 0.1, 0.9)
HEAD_ON = normal_sample("head-on", (0.5, 0.5, 1.0), (0.0, 0.0, -1.0))
OFF_BY_45 = normal_sample("off", (0.5, 0.5, 1.0), (1.0, 0.0, -1.0))


def test_a_depth_that_is_linear_in_the_prediction_has_no_error():
    samples = {"a": depth_sample("a", GREY, 3.0 * GREY + 1.0)}
    score = evaluate_depth(passing_model("d", "depth"), Listed(samples), OWN_SIZE)
    assert score.mean.abs_rel == pytest.approx(0.0, abs=1e-5)
    assert score.mean.delta1 == 100.0
    assert (score.images, score.seeds, score.spread) == (1, (0,), None)


def test_a_disparity_that_is_linear_in_the_prediction_has_no_error():
    samples = {"a": depth_sample("a", GREY, 1.0 / (0.5 * GREY + 0.1))}
    as_disparity = evaluate_depth(passing_model("d", "disparity"), Listed(samples), OWN_SIZE)
    as_depth = evaluate_depth(passing_model("d", "depth"), Listed(samples), OWN_SIZE)
    assert as_disparity.mean.abs_rel == pytest.approx(0.0, abs=1e-5)
    assert as_depth.mean.abs_rel > 0.05


def test_metrics_are_the_mean_over_pictures():
    even = torch.full_like(GREY, 0.5)
    two = torch.where(torch.arange(32) < 16, 2.0, 4.0)[None].repeat(32, 1)
    samples = {
        "exact": depth_sample("exact", GREY, 3.0 * GREY + 1.0),
        "even": depth_sample("even", even, two),  # aligned to 3 m: errors of 1/2 and 1/4
    }
    score = evaluate_depth(passing_model("d", "depth"), Listed(samples), OWN_SIZE)
    assert score.mean.abs_rel == pytest.approx((0.0 + 0.375) / 2, abs=1e-5)
    assert score.images == 2


def test_what_cannot_be_read_or_has_no_truth_is_left_out_and_named():
    good = depth_sample("good", GREY, 3.0 * GREY + 1.0)
    empty = replace(good, name="empty", valid=torch.zeros_like(good.valid))
    listed = Listed({"broken": "broken.png is truncated", "good": good, "empty": empty})
    score = evaluate_depth(passing_model("d", "depth"), listed, OWN_SIZE)
    assert score.images == 1
    assert [(s.name, s.reason) for s in score.skipped] == [
        ("broken", "broken.png is truncated."),
        ("empty", "no pixel has a truth"),
    ]


def test_a_picture_that_no_model_can_take_is_left_out_and_named():
    tiny = torch.rand(8, 8)
    samples = {
        "tiny": depth_sample("tiny", tiny, tiny + 1.0),
        "good": depth_sample("good", GREY, 3.0 * GREY + 1.0),
    }
    score = evaluate_depth(passing_model("g", "depth"), Listed(samples), OWN_SIZE, (0, 1))
    [skipped] = score.skipped
    assert skipped.name == "tiny"
    assert "at least 16 pixels" in skipped.reason
    assert score.images == 1


def test_a_data_set_of_which_nothing_can_be_scored_is_refused():
    with pytest.raises(DatasetError, match=r"no picture of listed could be scored \(found: gone"):
        evaluate_depth(passing_model("d", "depth"), Listed({"a": "gone"}), OWN_SIZE)


def test_progress_hears_of_every_picture():
    samples = {name: depth_sample(name, GREY, GREY + 1.0) for name in "abc"}
    heard: list[tuple[int, int]] = []
    evaluate_depth(
        passing_model("d", "depth"), Listed(samples), OWN_SIZE, progress=lambda *counts: heard.append(counts)
    )
    assert heard == [(1, 3), (2, 3), (3, 3)]


def test_seeds_give_a_mean_and_a_spread_and_are_reproducible():
    samples = {"a": depth_sample("a", GREY, 3.0 * GREY + 1.0)}
    noisy = passing_model("g", "depth", gain=0.2)
    score = evaluate_depth(noisy, Listed(samples), OWN_SIZE, (3, 4, 5))
    errors = [metrics.abs_rel for metrics in score.by_seed]
    assert len(set(errors)) == 3
    assert score.mean.abs_rel == pytest.approx(sum(errors) / 3)
    spread = (sum((e - score.mean.abs_rel) ** 2 for e in errors) / 2) ** 0.5
    assert score.spread is not None
    assert score.spread.abs_rel == pytest.approx(spread)
    assert evaluate_depth(noisy, Listed(samples), OWN_SIZE, (4,)).by_seed[0] == score.by_seed[1]


def test_every_picture_has_a_noise_of_its_own():
    samples = {name: depth_sample(name, GREY, 3.0 * GREY + 1.0) for name in "ab"}
    noisy = passing_model("g", "depth", gain=0.2)
    both = evaluate_depth(noisy, Listed(samples), OWN_SIZE).mean.abs_rel
    first = evaluate_depth(noisy, Listed({"a": samples["a"]}), OWN_SIZE).mean.abs_rel
    assert both != pytest.approx(first)


def test_noises_of_seeds_and_pictures_are_all_different():
    found = [noise_seed(seed, index) for seed in (0, 1, 2**31, 2**32 - 1) for index in range(50)]
    assert len(set(found)) == 200
    assert all(0 <= seed < 2**32 for seed in found)


def test_an_ensemble_is_nearer_than_its_members():
    samples = {"a": depth_sample("a", GREY, 3.0 * GREY + 1.0)}
    noisy = passing_model("g", "depth", gain=0.1)
    one = evaluate_depth(noisy, Listed(samples), OWN_SIZE, range(4)).mean.abs_rel
    ten = evaluate_depth(noisy, Listed(samples), replace(OWN_SIZE, ensemble_size=10), range(4)).mean.abs_rel
    assert ten < one


def test_a_model_without_noise_is_run_once():
    samples = {"a": depth_sample("a", GREY, GREY + 1.0)}
    assert evaluate_depth(passing_model("d", "depth"), Listed(samples), OWN_SIZE, (1, 2, 3)).seeds == (1,)


@pytest.mark.parametrize("seeds", [(), (-1,), (2**32,)])
def test_seeds_outside_their_range_are_refused(seeds):
    with pytest.raises(OptionError, match=r"--seeds must be one or more integers from 0 to 2\*\*32 - 1"):
        evaluate_depth(passing_model("g", "depth"), Listed({}), OWN_SIZE, seeds)


def test_the_aligned_depth_is_clipped_to_the_range_of_the_data_set():
    values = torch.tensor([[0.0, 1.0, 2.0]])
    sample = depth_sample("a", values, torch.tensor([[1.0, 2.0, 60.0]]))
    free = score_depth(values, "depth", sample, Rules("x", nearest_m=1e-3))
    # the line through 1, 2, 60 m goes through -8.5, 21 and 50.5 m; clipped: 5, 10 and 10
    clipped = score_depth(values, "depth", sample, Rules("x", nearest_m=5.0, farthest_m=10.0))
    assert clipped.abs_rel == pytest.approx((4.0 / 1 + 8.0 / 2 + 50.0 / 60) / 3)
    assert free.abs_rel == pytest.approx(((1 - 1e-3) / 1 + 19.0 / 2 + 9.5 / 60) / 3)


def test_pixels_of_no_predicted_disparity_take_no_part_in_the_fit():
    depth = torch.tensor([[1.0, 2.0, 50.0]])
    values = torch.tensor([[1.0, 0.5, 0.0]])  # the first two are 1 / depth, the last is saturated
    score = score_depth(values, "disparity", depth_sample("a", values, depth), Rules("x", farthest_m=100.0))
    assert score.abs_rel == pytest.approx((0 + 0 + 50 / 50) / 3)  # clipped from 1000 to 100 m


def test_normals_are_pooled_over_pixels_of_all_pictures():
    score = evaluate_normals(passing_model("d", "normal"), Listed({"a": HEAD_ON, "b": OFF_BY_45}), OWN_SIZE)
    assert score.mean.mean == pytest.approx(22.5, abs=0.2)
    assert score.mean.within_11_25 == 50.0
    assert score.images == 2


def test_only_valid_normals_count():
    half = torch.zeros_like(OFF_BY_45.valid)
    half[:8] = True
    score = evaluate_normals(
        passing_model("d", "normal"), Listed({"a": HEAD_ON, "b": replace(OFF_BY_45, valid=half)}), OWN_SIZE
    )
    assert score.mean.within_5 == pytest.approx(100 * 32 / 40)


def test_normals_too_have_seeds_and_spread():
    score = evaluate_normals(passing_model("g", "normal", gain=0.1), Listed({"a": HEAD_ON}), OWN_SIZE, (0, 1))
    assert score.by_seed[0] != score.by_seed[1]
    assert score.spread is not None
    assert score.spread.mean > 0


def test_a_model_of_the_other_kind_is_refused():
    with pytest.raises(ModelTaskError):
        evaluate_depth(passing_model("d", "normal"), Listed({}), OWN_SIZE)
    with pytest.raises(ModelTaskError):
        evaluate_normals(passing_model("d", "depth"), Listed({}), OWN_SIZE)


def test_no_normal_scored_is_refused():
    with pytest.raises(DatasetError, match="no picture of listed could be scored"):
        evaluate_normals(passing_model("d", "normal"), Listed({}), OWN_SIZE)
