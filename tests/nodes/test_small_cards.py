"""Lotus under ComfyUI's memory manager on simulated cards: limits, equality, streaming, types, strips."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.nodes.host.checkouts import Checkout
from tests.nodes.host.process import run_inside
from tests.small_models import write_overflowing_depth

pytestmark = pytest.mark.comfy

INSIDE = Path(__file__).parent / "inside"
MIB = 2**20
RUNS = 10


def arguments(checkout: Checkout) -> tuple[str, ...]:
    """ComfyUI's own; pinning memory needs a driver, and old versions do not know the switch."""
    return ("--cpu", "--disable-pinned-memory") if checkout.version_tuple >= (0, 8) else ("--cpu",)


@pytest.fixture(scope="module")
def cards(checkout: Checkout) -> dict:
    return run_inside(
        checkout, INSIDE / "small_card.py", str(RUNS), "400", "900", comfy_arguments=arguments(checkout)
    )


@pytest.fixture(scope="module", params=[400, 900], ids=lambda size: f"{size}MB")
def card(request: pytest.FixtureRequest, cards: dict) -> dict:
    return next(found for found in cards["cards"] if found["limit"] == request.param * MIB)


def test_the_unet_is_larger_than_the_smaller_card(cards):
    assert 545e6 < cards["unet_bytes"] < 555e6
    assert cards["loaded_without_limit"] == cards["unet_bytes"]
    assert cards["device"] == "cuda:0"


def test_the_card_never_holds_more_than_it_has(card):
    """An allocation beyond the limit would have failed the run; the peaks say how close it came."""
    assert len(card["history"]) == RUNS
    for run in card["history"]:
        assert 0 < run["peak"] <= card["limit"]
        assert run["after"] <= card["limit"]


def test_weights_lie_on_the_card_as_far_as_they_fit(card, cards):
    run = card["history"][-1]
    if card["limit"] > cards["unet_bytes"]:
        assert run["unet_on_card"] == cards["unet_bytes"]
    else:
        assert 128 * MIB <= run["unet_on_card"] < card["limit"]
    assert run["vae_on_card"] > 0


def test_results_equal_the_unmanaged_modules(card):
    for run in card["history"]:
        assert max(run["error"]) < 1e-5
    assert max(card["error_after_another"]) < 1e-5
    assert max(card["error_after_unload"]) < 1e-5


def test_partial_loading_changes_no_digit(card):
    assert card["equal_to_all_on_card"]


def test_another_models_coming_pushes_ours_out(card):
    assert card["beside_another"] <= card["limit"] // 4


def test_nothing_is_left_after_freeing(card, cards):
    assert card["after_unload"] == 0
    assert cards["after_dropping"] == 0
    assert cards["known_to_comfyui"] == 0


def test_ten_runs_do_not_grow(card):
    second, last = card["history"][1], card["history"][-1]
    assert last["after"] == second["after"]
    assert last["peak"] <= second["peak"]
    assert last["resident"] <= second["resident"] * 1.05


@pytest.fixture(scope="module")
def details(checkout: Checkout, tmp_path_factory: pytest.TempPathFactory) -> dict:
    overflowing = write_overflowing_depth(tmp_path_factory.mktemp("models") / "hot-lotus-depth-d")
    return run_inside(
        checkout, INSIDE / "card_types.py", str(overflowing), comfy_arguments=arguments(checkout)
    )


def test_every_layer_with_weights_is_adopted(details):
    adoption = details["adoption"]
    assert adoption["adopted"] == adoption["leaves"] == adoption["with_weights"] > 200
    assert adoption["own_lists"], "ComfyUI keeps lists on its classes, which all layers would share"


def test_a_layer_that_cannot_be_adopted_is_an_error_that_names_it(details):
    refusal = details["adoption"]["refusal"]
    assert "ComfyUI cannot manage this network (found: 1 (Conv1d), 2 (PReLU))" in refusal


@pytest.mark.parametrize(
    ("switch", "expected"),
    [
        ("none", ["float32", "float32", "float32"]),
        ("fp16_unet", ["float16", "float32", "float32"]),
        ("bf16_unet", ["bfloat16", "float32", "float32"]),
        ("fp8_e4m3fn_unet", ["float8_e4m3fn", "float32", "float32"]),
        ("fp8_e5m2_unet", ["float8_e5m2", "float32", "float32"]),
        ("fp16_vae", ["float32", "float32", "float16"]),
        ("bf16_vae", ["float32", "float32", "bfloat16"]),
        ("fp32_vae", ["float32", "float32", "float32"]),
    ],
)
def test_precision_auto_obeys_comfyuis_switches(details, switch, expected):
    """On the CPU, which ComfyUI has compute in fp32 whatever the weights' type."""
    assert details["by_switch"][switch] == expected


@pytest.mark.parametrize(
    ("types", "kept", "limit"),
    [
        ("fp16", ["float16"], 4e-3),
        ("bf16", ["bfloat16"], 3e-2),
        ("fp8 in fp32", ["float32", "float8_e4m3fn"], 1e-5),
        ("fp8 in bf16", ["bfloat16", "float8_e4m3fn"], 3e-2),
    ],
)
def test_streamed_weights_of_every_type_give_the_unmanaged_result(details, types, kept, limit):
    """In half precision kernels of another order of sums differ by some of its last digits."""
    found = details["types"][types]
    assert found["kept"] == kept
    assert found["finite"]
    assert max(found["difference"]) < limit


def test_a_vae_that_overflows_fp16_is_computed_again_in_fp32(details):
    overflow = details["overflow"]
    assert overflow["factor_cancels"] < 1e-5, "in fp32 the factor must not show, or nothing is proven"
    assert not overflow["finite_in_fp16"]
    assert overflow["difference"] < 2e-3
    [said] = overflow["said"]
    assert 'overflowed in float16 and was computed again in fp32: set precision to "fp32"' in said


def test_a_vae_that_does_not_fit_goes_on_in_strips_without_seams(details):
    strips = details["strips"]
    assert strips["peak"] <= 64 * MIB
    assert strips["latents"] < 1e-4
    assert strips["maps"] < 2 / 255 / 10
    assert [line.split(":")[1] for line in strips["lines"]] == [
        " out of memory while encoding 320x288 pixels",
        " out of memory while decoding 320x288 pixels",
    ]


def test_nothing_is_left_on_the_card_at_the_end(details):
    assert details["left_on_card"] == 0


@pytest.fixture(scope="module")
def dynamic(checkout: Checkout) -> dict:
    if "class ModelPatcherDynamic" not in (checkout.root / "comfy" / "model_patcher.py").read_text("utf-8"):
        assert checkout.version_tuple < (0, 12), "this version should have dynamic VRAM"
        pytest.skip(f"ComfyUI {checkout.version} has no dynamic VRAM")
    return run_inside(
        checkout, INSIDE / "dynamic_card.py", "3", "400", "900", comfy_arguments=arguments(checkout)
    )


def test_dynamic_vram_gives_the_unmanaged_result_within_the_card(dynamic):
    for card in dynamic["cards"]:
        for run in card["history"]:
            assert max(run["error"]) < 1e-5
            assert run["peak"] <= card["limit"]
            assert run["loaded"] > 0


def test_dynamic_vram_streams_what_does_not_fit_and_keeps_what_does(dynamic):
    small, large = dynamic["cards"]
    assert small["history"][-1]["misses"] > small["history"][0]["misses"] > 0
    assert large["history"][-1]["misses"] == large["history"][0]["misses"]


def test_dynamic_vram_frees_everything(dynamic):
    assert [card["after_free"] for card in dynamic["cards"]] == [0, 0]
    assert dynamic["after_dropping"] == 0
