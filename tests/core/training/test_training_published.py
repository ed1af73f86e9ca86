"""The published recipe on small folders in the published layouts: from Stable Diffusion's weights to a checkpoint."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

import lotus_core
from lotus_core.cli.main import main
from tests.core.training.data import test_hypersim as hypersim
from tests.core.training.data import test_virtual_kitti as virtual_kitti

ROOT = Path(__file__).parents[3]
MINI = ROOT / "tests" / "golden" / "ckpt"


@pytest.fixture
def data(tmp_path):
    for frame in range(6):
        hypersim.write_frame(tmp_path / "hypersim" / "train", frame=frame, level=40 + 20 * frame)
    for frame in range(2):
        virtual_kitti.write_frame(tmp_path / "vkitti", frame=frame)
    return tmp_path


@pytest.fixture
def recipe(tmp_path, data):
    """The committed config with its data and sizes cut down, and everything else as published."""

    def write(target, mode):
        config = yaml.safe_load((ROOT / "configs" / f"lotus-{target}-{mode}.yaml").read_text())
        for entry, folder, size in zip(
            config["data"], ("hypersim", "vkitti"), ([48, 64], [88, 304]), strict=True
        ):
            entry.update(folder=str(data / folder), size=size)
        config["start"]["checkpoint"] = str(tmp_path / "start")
        config["schedule"].update(steps=2, batch_size=2)
        config["accelerator"].update(mixed_precision="fp32", workers=2)
        config["run"].update(log_every=1, pictures_every=2)
        shutil.copytree(MINI / "mini-d", tmp_path / "start")
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(config))
        return path

    return write


@pytest.mark.parametrize(
    ("target", "mode", "output"), [("depth", "g", "disparity"), ("normal", "d", "normal")]
)
def test_the_recipe_trains_on_both_data_sets_and_gives_a_whole_checkpoint(
    recipe, tmp_path, target, mode, output
):
    run = tmp_path / "run"
    assert main(["train", str(recipe(target, mode)), "-o", str(run)]) == 0
    model = lotus_core.load_model(run / "model")
    assert (model.info.mode, model.info.output) == (mode, output)
    assert model.info.cross_attention_dim == 64
    with (run / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["rate"]) for row in rows] == [3e-5, 3e-5]
    assert all(float(row["annotation"]) > 0 and float(row["reconstruction"]) > 0 for row in rows)
    assert (run / "pictures" / "step-000000002.png").is_file()
    # the text encoder came along, so that the reference's pipeline finds all it asks for
    assert (run / "model" / "text_encoder" / "model.safetensors").is_file()
    index = json.loads((run / "model" / "model_index.json").read_text())
    assert index["tokenizer"] == ["transformers", "CLIPTokenizer"]


def test_a_damaged_picture_of_a_data_set_is_skipped_counted_and_named(recipe, data, tmp_path, caplog):
    path = recipe("depth", "d")
    victim = next((data / "hypersim").rglob("frame.0003.tonemap.jpg"))
    victim.write_bytes(victim.read_bytes()[:40])
    run = tmp_path / "run"
    assert main(["train", str(path), "-o", str(run), "--set", "schedule.steps=6"]) == 0
    facts = json.loads((run / "states" / "step-000000006" / "state.json").read_text())
    assert facts["skipped"]
    assert all("frame.0003" in problem for problem in facts["skipped"])
    assert "frame.0003" in caplog.text
    with (run / "log.csv").open() as file:
        assert int(float(list(csv.DictReader(file))[-1]["skipped"])) == len(facts["skipped"])


def test_weights_move_by_about_the_learning_rate_in_a_step(recipe, tmp_path):
    """AdamW moves every weight by at most about its rate: 2 steps of 3e-5."""
    run = tmp_path / "run"
    assert main(["train", str(recipe("depth", "d")), "-o", str(run)]) == 0
    from safetensors.torch import load_file

    name = "unet/diffusion_pytorch_model.safetensors"
    before, after = load_file(tmp_path / "start" / name), load_file(run / "model" / name)
    assert before.keys() == after.keys()
    furthest = max((after[key].float() - before[key].float()).abs().max().item() for key in before)
    assert 1e-5 < furthest < 1.2e-4
    assert torch.isfinite(torch.stack([after[key].float().sum() for key in after])).all()
