"""Through the nodes on simulated cards: batches and pictures without room, and the benchmark of a full-size card."""

from __future__ import annotations

import json

import pytest

from benchmarks.card_memory import SCRIPT, comfy_arguments, table_rows
from tests.nodes.host.checkouts import Checkout
from tests.nodes.host.process import run_inside
from tests.nodes.test_small_cards import INSIDE, MIB, arguments

pytestmark = pytest.mark.comfy


@pytest.fixture(scope="module")
def found(checkout: Checkout) -> dict:
    return run_inside(checkout, INSIDE / "short_of_memory.py", comfy_arguments=arguments(checkout))


def test_a_batch_without_room_is_halved_until_it_fits_with_the_same_result(found):
    batch = found["batch"]
    assert batch["lines"][0] == "Lotus: out of memory with 8 pictures at once: trying 4"
    assert batch["peak"] <= batch["limit"]
    assert batch["difference"] < 1e-5


def test_a_picture_without_room_is_told_a_resolution_that_fits(found):
    """The card and the weights are the same when it is tried."""
    picture = found["picture"]
    assert "one picture at 592x592 does not fit the memory of cuda:0" in picture["said"]
    assert 320 <= picture["proposed"] < 592, "much less than there is room for would be no help"
    assert picture["lowered"]
    assert picture["peak"] <= picture["limit"]


def test_the_half_precision_that_is_proposed_fits_a_larger_picture(found):
    assert found["picture"]["proposed"] < found["picture"]["halved"] < 592
    assert found["fp16"]["finite"]
    assert found["fp16"]["peak"] <= found["picture"]["limit"]


def test_what_comfyui_reserves_for_others_does_not_count_as_free(found):
    assert found["reserved"] == {"free": 24 * MIB, "obtainable": 24 * MIB}


def test_nothing_stays_on_the_card(found):
    assert found["left_on_card"] == 0


@pytest.fixture(scope="module")
def card(checkout: Checkout) -> dict:
    settings = {
        "card": "simulated",
        "cap": 24 * MIB,
        "side": 96,
        "precision": "fp16",
        "small": True,
        "runs": 2,
    }
    return run_inside(
        checkout, SCRIPT, json.dumps(settings), comfy_arguments=comfy_arguments(checkout, "simulated")
    )


def test_the_benchmark_of_a_card_measures_every_stage_under_its_cap(card):
    for run in card["runs"]:
        assert set(run) == {"encode", "denoise", "decode"}
        for stage in run.values():
            assert 0 < stage["peak"] <= 24 * MIB
            assert stage["finite"]
    assert card["after_unload"] == 0


def test_the_benchmarks_table_has_a_row_for_each_stage(card):
    rows = table_rows("0.05 GiB", card)
    assert [row[1] for row in rows] == ["encode", "denoise", "decode"]
    for row in rows:
        peak, activations, estimate = row[2:5]
        assert 0 < activations <= peak
        assert activations <= estimate * 1.05, "what is measured is what the estimate stands for"
