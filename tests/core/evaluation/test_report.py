"""Tables and documents of results."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from lotus_core.evaluation.aggregate import mean_metrics, metric_names, spread_of_metrics
from lotus_core.evaluation.depth_metrics import DepthMetrics
from lotus_core.evaluation.normal_metrics import NormalMetrics
from lotus_core.evaluation.published import published_rows
from lotus_core.evaluation.report import Table, document, json_text, markdown
from lotus_core.evaluation.round_trip import RoundTrip
from lotus_core.evaluation.run import Skipped, summarise
from lotus_core.evaluation.samples import Rules
from tests.core.inference.models import info

ONE = DepthMetrics(0.1, 0.2, 1.0, 0.3, 0.04, 90.0, 95.0, 99.0, 12.0)
TWO = DepthMetrics(0.3, 0.4, 3.0, 0.5, 0.06, 70.0, 85.0, 95.0, 16.0)
ANGLES = NormalMetrics(16.0, 8.0, 22.0, 30.0, 45.0, 60.0, 80.0, 85.0)


def depth_table(**changes) -> Table:
    score = summarise(info("g", "depth", name="mine"), 654, (), (0, 1), [ONE, TWO])
    values = {
        "purpose": "depth",
        "rules": Rules("NYUv2", 654),
        "scores": [score],
        "options": {"resolution": 0},
        "published": published_rows("nyuv2", "depth"),
    }
    return Table(**{**values, **changes})


def rows(text: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]


def test_mean_and_spread_of_two_runs():
    assert mean_metrics([ONE, TWO]).abs_rel == pytest.approx(0.2)
    spread = spread_of_metrics([ONE, TWO])
    assert spread is not None
    assert spread.abs_rel == pytest.approx(math.sqrt(0.02))  # deviations of 0.1 twice, over n - 1 = 1
    assert spread.delta1 == pytest.approx(math.sqrt(200))
    assert spread_of_metrics([ONE]) is None


def test_every_metric_is_named_in_order():
    assert metric_names(DepthMetrics)[:2] == ("abs_rel", "sq_rel")
    assert metric_names(NormalMetrics) == (
        "mean", "median", "rmse", "within_5", "within_7_5", "within_11_25", "within_22_5", "within_30",
    )  # fmt: skip


def test_a_table_has_our_row_first_and_published_rows_below():
    head, _, mine, *published = rows(markdown(depth_table()))
    assert head[:4] == ["", "images", "AbsRel", "SqRel"]
    assert mine[:3] == ["mine (G, depth)", "654", "0.2000 ± 0.1414"]
    assert published[0][:3] == ["Lotus-G (arXiv:2409.18124v5, table 1)", "", "0.0540"]
    assert published[0][head.index("RMSE")] == "–"
    assert {len(row) for row in (head, mine, *published)} == {len(head)}


def test_the_seeds_behind_a_spread_are_named():
    assert "- mine: mean ± standard deviation over seeds 0, 1." in markdown(depth_table())


def test_one_seed_has_no_spread():
    score = summarise(info("d", "depth", name="mine"), 654, (), (0,), [ONE])
    text = markdown(depth_table(scores=[score]))
    assert rows(text)[2][2] == "0.1000"
    assert "±" not in text


def test_a_part_of_a_data_set_warns_against_comparing():
    score = replace(depth_table().scores[0], images=12)
    assert "12 pictures, published figures are of 654: do not compare them" in markdown(
        depth_table(scores=[score])
    )


def test_pictures_left_out_are_counted_and_one_is_named():
    score = replace(
        depth_table().scores[0], skipped=(Skipped("a.png", "a.png is truncated."), Skipped("b", "no truth"))
    )
    assert "2 pictures left out, such as a.png: a.png is truncated." in markdown(depth_table(scores=[score]))


def test_the_guess_stands_below_with_the_ratio_to_it():
    guess = summarise(None, 500, (), (), [replace(ONE, abs_rel=0.4)])
    head, _, mine, last = rows(markdown(depth_table(baseline=guess, published=(), rules=Rules("scenes"))))
    assert head[-1] == "ratio to the guess"
    assert mine[-1] == "0.50"
    assert last[0] == "each pixel's mean"
    assert last[-1] == "1.00"


def test_a_table_of_normals_has_degrees_and_the_round_trip():
    score = summarise(info("d", "normal", name="mine"), 10, (), (0,), [ANGLES])
    table = Table(
        "normal", Rules("scenes"), [score], {}, round_trips={"mine": RoundTrip(5.5, 29.04, 0.001, 10)}
    )
    head, _, mine = rows(markdown(table))
    assert head[2:5] == ["mean °", "median °", "RMSE"]
    assert mine[2:5] == ["16.00", "8.00", "22.00"]
    assert "VAE of mine, there and back: normals 5.50°, rgb 29.0 dB" in markdown(table)


def test_the_document_holds_everything_and_is_strict_json():
    guess = summarise(None, 654, (), (), [ONE])
    table = depth_table(baseline=guess, round_trips={"mine": RoundTrip(0.0, math.inf, 0.0, 3)})
    loaded = json.loads(json_text([table]), parse_constant=lambda word: pytest.fail(word))
    [found] = loaded["tables"]
    [mine] = found["models"]
    assert mine["mean"]["abs_rel"] == pytest.approx(0.2)
    assert mine["standard_deviation"]["delta1"] == pytest.approx(math.sqrt(200))
    assert [metrics["abs_rel"] for metrics in mine["by_seed"]] == [0.1, 0.3]
    assert mine["model"]["name"] == "mine"
    assert mine["ratio_to_baseline"] == pytest.approx(2.0)
    assert found["protocol"]["farthest_m"] is None  # JSON has no infinity
    assert found["published"][0]["figures"]["abs_rel"] == 0.054
    assert found["baseline"]["name"] == "each pixel's mean"
    assert found["vae_round_trips"]["mine"]["rgb_psnr_db"] is None


def test_a_perfect_guess_makes_no_division_by_zero():
    guess = summarise(None, 1, (), (), [replace(ONE, abs_rel=0.0)])
    assert "inf" in markdown(depth_table(baseline=guess))
    assert document([depth_table(baseline=guess)])["tables"][0]["models"][0]["ratio_to_baseline"] is None
