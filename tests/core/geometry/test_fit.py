from __future__ import annotations

import math

import pytest
import torch

from lotus_core.geometry.evidence import Evidence, gather_evidence
from lotus_core.geometry.fit import (
    PRIOR_DEPTH_RATIO,
    fit_camera,
    half_width_focal,
    prior_cost,
    squared_chord,
)
from tests.core.geometry.analytic import network_map, room

PRIOR = half_width_focal(60.0)


def evidence_of(fov, kind="depth"):
    depth, normals = room(fov)
    values, shift = network_map(depth, kind)
    valid = torch.ones(1, *values.shape, dtype=torch.bool)
    return gather_evidence(values[None], normals[None], kind, valid).double(), shift


def empty_evidence(count=40):
    zeros = torch.zeros(1, count, dtype=torch.float64)
    return Evidence(
        slope_x=zeros,
        slope_y=zeros,
        level=zeros + 0.5,
        normal=torch.tensor([0.0, 0.0, -1.0], dtype=torch.float64).expand(1, count, 3),
        value=zeros + 0.5,
        weight=zeros,
        usable=torch.zeros(1, count, dtype=torch.bool),
        roughness=zeros[:, 0],
        low=zeros[:, 0],
        span=zeros[:, 0] + 1.0,
    )


@pytest.mark.parametrize(("fov", "focal"), [(90.0, 1.0), (60.0, math.sqrt(3.0)), (53.1301, 2.0)])
def test_focal_lengths_in_half_widths(fov, focal):
    assert half_width_focal(fov) == pytest.approx(focal, rel=1e-5)


def test_the_prior_is_at_its_best_at_its_own_values():
    # (1 + b) / b = 4 at b = 1/3
    best = prior_cost(
        torch.tensor(math.log(PRIOR)), torch.tensor(1 / (PRIOR_DEPTH_RATIO - 1)), math.log(PRIOR)
    )
    assert float(best) == pytest.approx(0.0, abs=1e-6)


def test_the_prior_grows_by_one_half_at_one_standard_deviation():
    shift = torch.tensor(1 / (PRIOR_DEPTH_RATIO - 1))
    off = prior_cost(torch.tensor(math.log(PRIOR) + 0.3), shift, math.log(PRIOR))
    assert float(off) == pytest.approx(0.5, abs=1e-5)
    ratio = 4.0 * math.exp(0.9)
    off = prior_cost(torch.tensor(0.0), torch.tensor(1 / (ratio - 1)), None)
    assert float(off) == pytest.approx(0.5, abs=1e-5)


def test_the_chord_of_a_worked_angle():
    # slopes (0, 0) and tangent 1 model the normal (0, 0, -1); given (0.6, 0, -0.8): |(0.6, 0, 0.2)|^2 = 0.4
    evidence = empty_evidence(1)
    given = torch.tensor([[[0.6, 0.0, -0.8]]], dtype=torch.float64)
    bent = Evidence(**{**vars(evidence), "normal": given})
    tangent = torch.ones(1, 1, dtype=torch.float64)
    squared = squared_chord(bent, torch.zeros(1, 1, dtype=torch.float64), tangent)
    assert float(squared) == pytest.approx(0.4, abs=1e-9)


def test_small_angles_survive_single_precision():
    # 2 - 2 cos would be zero in float32 below 0.02 degrees.
    angle = 1e-4
    evidence = empty_evidence(1)
    given = torch.tensor([[[math.sin(angle), 0.0, -math.cos(angle)]]], dtype=torch.float32)
    bent = Evidence(
        **{
            **{k: v.float() if v.is_floating_point() else v for k, v in vars(evidence).items()},
            "normal": given,
        }
    )
    squared = squared_chord(bent, torch.zeros(1, 1), torch.ones(1, 1))
    assert float(squared.sqrt()) == pytest.approx(angle, rel=1e-3)


@pytest.mark.parametrize("kind", ["depth", "disparity"])
@pytest.mark.parametrize("fov", [40.0, 80.0])
def test_the_true_camera_is_the_minimum_of_clean_evidence(kind, fov):
    evidence, shift = evidence_of(fov, kind)
    fit = fit_camera(evidence, PRIOR, None)
    assert math.degrees(2 * math.atan(1 / float(fit.focal))) == pytest.approx(fov, abs=0.5)
    expected = (shift + float(evidence.low)) / float(evidence.span)
    assert float(fit.shift) == pytest.approx(expected, rel=0.05)
    assert math.degrees(float(fit.residual)) < 0.5


def test_single_precision_finds_the_same_camera():
    evidence, _ = evidence_of(70.0)
    single = Evidence(**{k: v.float() if v.is_floating_point() else v for k, v in vars(evidence).items()})
    double_fit, single_fit = fit_camera(evidence, PRIOR, None), fit_camera(single, PRIOR, None)
    assert float(single_fit.focal) == pytest.approx(float(double_fit.focal), rel=2e-3)
    assert float(single_fit.sd_log_focal) == pytest.approx(float(double_fit.sd_log_focal), rel=0.05)


def test_a_known_focal_length_is_not_moved():
    evidence, _ = evidence_of(70.0)
    assert float(fit_camera(evidence, PRIOR, 2.5).focal) == pytest.approx(2.5, rel=1e-9)


def test_no_evidence_gives_the_prior_and_an_infinite_deviation():
    fit = fit_camera(empty_evidence(), PRIOR, None)
    assert float(fit.focal) == pytest.approx(PRIOR, rel=0.02)
    assert float(fit.shift) == pytest.approx(1 / 3, rel=0.05)
    assert math.isinf(float(fit.sd_log_focal))
    assert math.isinf(float(fit.sd_log_kappa))


def test_choosing_between_fits_keeps_what_the_evidence_says_of_the_focal_length():
    evidence, _ = evidence_of(70.0)
    free, known = fit_camera(evidence, PRIOR, None), fit_camera(evidence, PRIOR, 2.5)
    chosen = free.where(torch.tensor([False]), known)
    assert float(chosen.focal) == pytest.approx(2.5)
    assert float(chosen.sd_log_focal) == float(free.sd_log_focal)
    assert float(free.where(torch.tensor([True]), known).focal) == float(free.focal)
