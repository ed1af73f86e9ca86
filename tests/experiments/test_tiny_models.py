"""The benchmark that holds the bundled models against their bars."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from benchmarks import tiny_models
from benchmarks.tiny_models import Bar

DATA = Path(__file__).parents[2] / "lotus_core" / "data" / "lotus-tiny"


@pytest.mark.parametrize(
    ("value", "at_least", "met"),
    [(0.13, False, True), (0.1301, False, False), (84.0, True, True), (83.9, True, False)],
)
def test_a_bar_is_met_on_its_own_side_and_exactly(value, at_least, met):
    assert Bar("figure", value, 84.0 if at_least else 0.13, at_least).is_met is met


@pytest.fixture(autouse=True)
def gradients_as_before():
    """A benchmark switches gradients off for its process: not for the tests after this one."""
    with torch.enable_grad():
        yield


@pytest.fixture
def folder(tmp_path):
    """A bundle of the normal model alone."""
    for name in ("vae", "lotus-tiny-normal-d"):
        shutil.copytree(DATA / name, tmp_path / name)
    shutil.copy(DATA / "prompt_embeds.safetensors", tmp_path)
    return tmp_path


def test_a_bundle_is_scored_by_what_it_holds(folder, tmp_path, capsys):
    result = tmp_path / "result.json"
    arguments = ["--folder", str(folder), "--count", "2", "--size", "32", "48", "--json", str(result)]
    code = tiny_models.main(arguments)
    text = capsys.readouterr().out
    assert "2 scenes of 48x32, seeds from 500000" in text
    assert "normal-d mean angle" in text
    assert "depth-d" not in text
    document = json.loads(result.read_text())
    missed = [bar for bar in document["bars"] if (bar["value"] < bar["bar"]) == bar["at_least"]]
    assert code == (1 if missed else 0)
    assert text.count("MISSED") == len(missed)


def test_scenes_of_the_benchmark_are_none_of_the_training():
    from lotus_core.training.config import read_config

    config = read_config(Path(__file__).parents[2] / "configs" / "tiny-scenes.yaml")
    assert config.first_seed >= tiny_models.FIRST_SEED + 500
