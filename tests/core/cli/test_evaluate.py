"""`lotus eval`: tables, documents, exit codes and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lotus_core.evaluation.catalogue import DATASETS
from tests.core.evaluation.layouts import picture, save, write_diode, write_normals, write_nyu, write_scannet

SCENES = ("eval", "--dataset", "scenes", "--count", 2, "--size", "32x24")


@pytest.fixture
def folder(tmp_path):
    """Two pictures, even in blocks of 8, whose depth is three times their grey and one."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        level = rng.integers(30, 220, (4, 5)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
        save(tmp_path / f"mine/rgb/{name}.png", np.stack([level] * 3, -1))
        save(tmp_path / f"mine/depth/{name}.npy", 3.0 * level / 255.0 + 1.0)
    return tmp_path / "mine"


def test_a_folder_is_scored_and_printed_as_a_table(lotus, known_models, folder):
    ran = lotus("eval", "--dataset", folder, "--model", "depth-d")
    assert ran.code == 0
    assert "## mine: depth after scale and shift" in ran.out
    assert "| depth-d (D, depth) | 2 | 0.0000 |" in ran.out
    assert known_models == ["depth-d"]


def test_json_is_one_document(lotus, known_models, folder):
    document = lotus("eval", "--dataset", folder, "--model", "depth-d", "--json").document
    assert document["command"] == "eval"
    [table] = document["tables"]
    assert table["models"][0]["mean"]["delta1"] == 100.0


def test_results_are_written_to_a_folder(lotus, known_models, folder, tmp_path):
    ran = lotus("eval", "--dataset", folder, "--model", "depth-d", "-o", tmp_path / "out/new")
    assert (tmp_path / "out/new/evaluation.md").read_text(encoding="utf-8") == ran.out
    assert json.loads((tmp_path / "out/new/evaluation.json").read_text())["tables"][0]["dataset"] == "mine"


def test_scenes_score_both_kinds_of_models_with_the_guess_and_the_round_trip(lotus, known_models):
    ran = lotus(*SCENES, "--model", "disparity-d", "normal-d")
    assert ran.code == 0
    assert "## scenes: depth after scale and shift" in ran.out
    assert "## scenes: normals" in ran.out
    assert ran.out.count("| each pixel's mean | 2 |") == 2
    assert "VAE of normal-d, there and back" in ran.out


def test_seeds_of_a_generative_model_have_a_spread(lotus, known_models):
    ran = lotus(*SCENES, "--model", "normal-g", "--seeds", 0, 1, 2)
    assert "mean ± standard deviation over seeds 0, 1, 2." in ran.out


def test_an_ensemble_of_a_discriminative_model_is_refused(lotus, known_models):
    ran = lotus(*SCENES, "--model", "normal-d", "--ensemble", 4)
    assert ran.code == 2
    assert "--ensemble must be 1 for normal-d: a discriminative (d) model" in ran.err


def test_a_named_data_set_has_published_rows_and_a_warning_when_it_is_a_part(lotus, known_models, tmp_path):
    write_nyu(tmp_path / "nyu")
    ran = lotus(
        "eval", "--dataset", "nyuv2", "--data", tmp_path / "nyu", "--model", "depth-d", "--resolution", 64
    )
    assert ran.code == 0
    assert "| Lotus-D (arXiv:2409.18124v5, table 1) |  | 0.0510 |" in ran.out
    assert "2 pictures, published figures are of 654" in ran.out


def test_normals_of_a_named_data_set(lotus, known_models, tmp_path):
    write_normals(tmp_path / "dsine_eval/scannet", "scannet")
    ran = lotus("eval", "--dataset", "scannet", "--data", tmp_path, "--model", "normal-d")
    assert ran.code == 0
    assert "## ScanNet: normals" in ran.out
    assert "| DSINE (arXiv:2409.18124v5, table 2) |" in ran.out


def test_a_file_list_limits_the_pictures(lotus, known_models, tmp_path):
    write_scannet(tmp_path / "scannet")
    (tmp_path / "list.txt").write_text("scene0088_02/color/001100.jpg scene0088_02/depth/001100.png\n")
    words = ("eval", "--dataset", "scannet", "--data", tmp_path / "scannet", "--model", "depth-d", "--json")
    assert lotus(*words).document["tables"][0]["models"][0]["images"] == 2
    assert lotus(*words, "--list", tmp_path / "list.txt").document["tables"][0]["models"][0]["images"] == 1


def test_a_damaged_picture_is_left_out_named_and_exits_with_1(lotus, known_models, folder):
    (folder / "rgb/a.png").write_bytes(b"\x89PNG")
    ran = lotus("eval", "--dataset", folder, "--model", "depth-d")
    assert ran.code == 1
    assert "left out: rgb/a.png:" in ran.err
    assert "a.png is truncated or damaged" in ran.err
    assert "1 pictures left out" in ran.out


def test_a_data_set_that_is_not_there_is_bad_usage(lotus, known_models, tmp_path):
    ran = lotus("eval", "--dataset", tmp_path / "gone", "--model", "depth-d")
    assert ran.code == 2
    assert "is neither a data set with depth nor a folder: choose scenes, nyuv2" in ran.err


def test_a_data_set_without_the_models_truth_is_bad_usage(lotus, known_models, folder):
    ran = lotus("eval", "--dataset", folder, "--model", "normal-d")
    assert ran.code == 2
    assert "has a file of its name in normal/" in ran.err


@pytest.mark.parametrize("size", ["x", "12x", "big", "3x4x5"])
def test_a_size_that_is_no_size_is_bad_usage(lotus, known_models, size):
    ran = lotus("eval", "--dataset", "scenes", "--model", "normal-d", "--size", size)
    assert ran.code == 2
    assert "choose pixels such as 128 or 160x120" in ran.err


def test_a_single_number_is_a_square(lotus, known_models):
    words = ("eval", "--dataset", "scenes", "--count", 1, "--size", 24, "--model", "normal-d", "--json")
    options = lotus(*words).document["tables"][0]["options"]
    assert (options["width"], options["height"], options["seeds_from"]) == (24, 24, 500_000)


def test_kittis_crop_is_told(lotus, known_models, tmp_path):
    from tests.core.evaluation.layouts import write_kitti

    write_kitti(tmp_path)
    save(tmp_path / "spare.png", picture(16, 16))
    words = (
        "eval",
        "--dataset",
        "kitti",
        "--data",
        tmp_path,
        "--model",
        "depth-d",
        "--resolution",
        64,
        "--json",
    )
    assert lotus(*words, "--crop", "garg").document["tables"][0]["options"]["crop"] == "garg"


def resolution(ran) -> int:
    return ran.document["tables"][0]["options"]["resolution"]


def test_the_working_size_is_the_data_sets_own_unless_another_is_asked_for(lotus, known_models, tmp_path):
    write_diode(tmp_path / "diode")
    words = ("eval", "--dataset", "diode", "--data", tmp_path / "diode", "--model", "depth-d", "--json")
    assert resolution(lotus(*words)) == 640
    assert resolution(lotus(*words, "--resolution", 0)) == 0
    assert lotus(*words, "--resolution", 7).code == 2


def test_the_same_command_gives_the_same_numbers(lotus, known_models):
    words = (*SCENES, "--model", "normal-g", "--seeds", 7, "--json")
    assert lotus(*words).document["tables"] == lotus(*words).document["tables"]


def test_another_seed_gives_other_numbers(lotus, known_models):
    first, other = (
        lotus(*SCENES, "--model", "normal-g", "--seeds", seed, "--json").document["tables"][0]["models"][0][
            "mean"
        ]
        for seed in (0, 1)
    )
    assert first != other


def test_two_models_of_one_kind_share_a_table_in_the_named_order(lotus, known_models):
    ran = lotus(*SCENES, "--model", "normal-g", "normal-d", "--json")
    [table] = ran.document["tables"]
    assert [row["model"]["mode"] for row in table["models"]] == ["g", "d"]
    assert set(table["vae_round_trips"]) == {"normal-g", "normal-d"}


def test_the_guess_is_in_the_space_of_the_depth_models(lotus, known_models):
    guesses = [
        lotus(*SCENES, "--model", model, "--json").document["tables"][0]["baseline"]["mean"]["abs_rel"]
        for model in ("depth-d", "disparity-d")
    ]
    assert guesses[0] != guesses[1]


def test_no_model_or_no_data_set_is_bad_usage(lotus):
    for words in (("eval", "--dataset", "scenes"), ("eval", "--model", "x")):
        ran = lotus(*words)
        assert ran.code == 2
        assert "the following arguments are required" in ran.err


def test_an_output_folder_that_is_a_file_is_bad_usage(lotus, known_models, folder, tmp_path):
    (tmp_path / "taken").write_text("here")
    ran = lotus("eval", "--dataset", folder, "--model", "depth-d", "-o", tmp_path / "taken")
    assert ran.code == 2
    assert "taken cannot be written" in ran.err
    assert known_models == []  # told before anything is loaded or computed


def test_seeds_outside_their_range_are_bad_usage(lotus, known_models):
    ran = lotus(*SCENES, "--model", "normal-g", "--seeds", -1)
    assert ran.code == 2
    assert "--seeds must be one or more integers from 0" in ran.err


def test_the_help_names_the_data_sets_and_the_page(lotus):
    text = " ".join(lotus("eval", "--help").out.split())
    for word in (
        "nyuv2, kitti, eth3d, scannet or diode",
        "ibims, sintel or oasis",
        "docs/evaluation.md",
        "--seeds-from",
    ):
        assert word in text


def test_the_page_names_every_option():
    page = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    for option in (
        "--data",
        "--list",
        "--crop",
        "--seeds",
        "--ensemble",
        "--resolution",
        "--layout",
        "--json",
        "-o",
    ):
        assert f"`{option}" in page or f" {option} " in page, option
    for name in (*DATASETS["depth"], *DATASETS["normal"]):
        assert f"| `{name}` |" in page
