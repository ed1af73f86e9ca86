"""The protocol against its formulas written a second time, in NumPy, in the way of the field's code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lotus_core.evaluation.normal_metrics import AngularErrors, angular_error_deg
from lotus_core.evaluation.run import score_depth
from lotus_core.evaluation.samples import DepthSample, Rules

SEEDS = st.integers(0, 2**31)


def reference_depth(pred, gt, valid, disparity, low, high):
    """Metrics as an evaluation script computes them: lstsq on [prediction, 1], invert, clip, compare."""
    use = valid & (gt > 0) & (pred > 0) if disparity else valid
    target = np.where(gt > 0, 1 / np.maximum(gt, 1e-12), 0) if disparity else gt
    a = np.stack([pred[use], np.ones(int(use.sum()))], axis=-1)
    scale, shift = np.linalg.lstsq(a, target[use], rcond=None)[0]
    aligned = pred * scale + shift
    if disparity:
        aligned = 1 / np.clip(aligned, 1e-3, None)
    d, t = np.clip(aligned, low, high)[valid], gt[valid]
    e, log_e = d - t, np.log(d) - np.log(t)
    ratio = np.maximum(d / t, t / d)
    return {
        "abs_rel": np.mean(np.abs(e) / t),
        "sq_rel": np.mean(e**2 / t),
        "rmse": np.sqrt(np.mean(e**2)),
        "log_rmse": np.sqrt(np.mean(log_e**2)),
        "log10": np.mean(np.abs(np.log10(d) - np.log10(t))),
        "delta1": 100 * np.mean(ratio < 1.25),
        "delta2": 100 * np.mean(ratio < 1.25**2),
        "delta3": 100 * np.mean(ratio < 1.25**3),
        "silog": 100 * np.sqrt(np.mean(log_e**2) - np.mean(log_e) ** 2),
    }


def random_sample(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A prediction in [0, 1], a depth of 0.5 to 12 m and a mask, correlated as a fair model's are."""
    rng = np.random.default_rng(seed)
    depth = rng.uniform(0.5, 12.0, (9, 11))
    prediction = np.clip(1 / depth / 2 + rng.normal(0, 0.05, depth.shape), 0, 1)
    valid = rng.random(depth.shape) < 0.8
    valid[0, 0] = valid[0, 1] = True
    return prediction, depth, valid


@pytest.mark.parametrize("kind", ["depth", "disparity"])
@settings(max_examples=60, deadline=None)
@given(seed=SEEDS)
def test_every_depth_metric_agrees_with_the_formulas(kind, seed):
    prediction, depth, valid = random_sample(seed)
    rules = Rules("x", nearest_m=1e-3, farthest_m=10.0)
    sample = DepthSample("x", torch.zeros(9, 11, 3), torch.from_numpy(depth), torch.from_numpy(valid))
    found = score_depth(torch.from_numpy(prediction), kind, sample, rules)
    expected = reference_depth(prediction, depth, valid, kind == "disparity", 1e-3, 10.0)
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-6, abs=1e-9), name


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, scale=st.floats(0.01, 100.0), shift=st.floats(0.0, 10.0))
def test_depth_metrics_do_not_depend_on_the_predictions_scale_and_shift(seed, scale, shift):
    prediction, depth, valid = random_sample(seed)
    rules = Rules("x", nearest_m=1e-3, farthest_m=20.0)
    sample = DepthSample("x", torch.zeros(9, 11, 3), torch.from_numpy(depth), torch.from_numpy(valid))
    positive = np.maximum(prediction, 1e-3)  # a prediction of 0 would leave the fit
    once, again = (
        score_depth(torch.from_numpy(p), "disparity", sample, rules)
        for p in (positive, positive * scale + shift)
    )
    assert again.abs_rel == pytest.approx(once.abs_rel, rel=1e-5)
    assert again.rmse == pytest.approx(once.rmse, rel=1e-5)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS)
def test_every_normal_metric_agrees_with_the_formulas(seed):
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(200, 3))
    predicted = truth + rng.normal(size=(200, 3)) * rng.uniform(0.01, 1.0)
    cosine = (truth * predicted).sum(-1) / np.linalg.norm(truth, axis=-1) / np.linalg.norm(predicted, axis=-1)
    errors = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    collected = AngularErrors()
    collected.add(angular_error_deg(torch.from_numpy(predicted), torch.from_numpy(truth)))
    found = collected.metrics()
    assert found.mean == pytest.approx(errors.mean(), rel=1e-6)
    assert found.median == pytest.approx(np.median(errors), abs=1.1e-3)
    assert found.rmse == pytest.approx(np.sqrt((errors**2).mean()), rel=1e-6)
    names = {5: "within_5", 7.5: "within_7_5", 11.25: "within_11_25", 22.5: "within_22_5", 30: "within_30"}
    for degrees, name in names.items():
        assert getattr(found, name) == pytest.approx(100 * (errors < degrees).mean(), abs=1e-9), name


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS)
def test_normal_metrics_do_not_depend_on_the_frame(seed):
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, 50, 3, generator=generator, dtype=torch.float64)
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    first, second = AngularErrors(), AngularErrors()
    first.add(angular_error_deg(a, b))
    second.add(angular_error_deg(a @ rotation, b @ rotation))
    assert second.metrics().mean == pytest.approx(first.metrics().mean, rel=1e-9)
    assert second.metrics().rmse == pytest.approx(first.metrics().rmse, rel=1e-9)
