"""Whole stages through the command line, at a size that takes seconds."""

import csv
import json

import pytest
import torch
import yaml
from safetensors import safe_open

import lotus_core
from lotus_core.cli.main import main
from tests.core.training.small import lotus_settings


def write_yaml(path, settings):
    path.write_text(yaml.safe_dump(json.loads(json.dumps(settings))))
    return path


@pytest.fixture
def trained(tmp_path, latents, vae):
    def train(*arguments, folder="run", **settings):
        config = write_yaml(tmp_path / "config.yaml", lotus_settings(latents, vae, **settings))
        code = main(["train", str(config), "-o", str(tmp_path / folder), *arguments])
        return code, tmp_path / folder

    return train


def test_a_run_leaves_log_states_and_model(trained):
    code, folder = trained()
    assert code == 0
    with (folder / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4]
    for row in rows:
        total = float(row["annotation"]) + float(row["reconstruction"])
        assert float(row["loss"]) == pytest.approx(total, rel=1e-4)
    assert sorted(item.name for item in (folder / "states").iterdir()) == ["step-000000002", "step-000000004"]
    assert sorted(item.suffix for item in folder.rglob("*") if item.is_file() and item.suffix != ".json") == [
        ".csv",
        *[".safetensors"] * 9,
    ]


@pytest.mark.parametrize(("target", "kind"), [("depth", "disparity"), ("normal", "normal")])
def test_the_model_opens_like_any_checkpoint_and_says_what_it_estimates(trained, target, kind):
    _, folder = trained(target=target, schedule={"steps": 1})
    model = lotus_core.load_model(folder / "model")
    assert (model.info.output, model.info.mode) == (kind, "d")
    picture = torch.rand(1, 24, 40, 3)
    predict = lotus_core.predict_normals if target == "normal" else lotus_core.predict_depth
    result = predict(model, picture)
    assert (result.vectors if target == "normal" else result.values).shape[:3] == (1, 24, 40)


def test_the_model_holds_the_average_not_the_last_weights(trained):
    _, folder = trained(schedule={"steps": 3, "ema_decay": 0.9})
    with safe_open(folder / "states" / "step-000000003" / "average.safetensors", "pt") as file:
        average = file.get_tensor("unet.conv_in.weight")
    with safe_open(folder / "states" / "step-000000003" / "weights.safetensors", "pt") as file:
        last = file.get_tensor("unet.conv_in.weight")
    with safe_open(folder / "model" / "unet" / "diffusion_pytorch_model.safetensors", "pt") as file:
        written = file.get_tensor("conv_in.weight")
    assert torch.equal(written, average)
    assert not torch.equal(written, last)
