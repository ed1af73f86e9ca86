"""Whole stages through the command line, at a size that takes seconds."""

import csv
import json

import pytest
import torch
import yaml
from safetensors import safe_open

import lotus_core
from lotus_core.cli.main import main
from tests.core.training.small import lotus_settings, vae_settings


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


@pytest.mark.parametrize(
    "arguments",
    [
        ["--prediction", "epsilon", "--steps", "10"],
        ["--prediction", "v", "--detail-preserver", "off"],
        ["--prediction", "x0", "--steps", "1", "--depth-map", "linear"],
    ],
    ids=["epsilon", "v", "x0"],
)
def test_the_variants_of_the_paper_train(trained, arguments):
    code, folder = trained(*arguments, mode="g", schedule={"steps": 2})
    assert code == 0
    identity = json.loads((folder / "states" / "step-000000002" / "state.json").read_text())["identity"]
    assert identity["noise"]["prediction"] == arguments[1]
    with (folder / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    reconstructions = [float(row["reconstruction"]) for row in rows]
    if "off" in arguments:
        assert reconstructions == [0.0, 0.0]
    else:
        assert min(reconstructions) > 0
    if "linear" in arguments:
        assert lotus_core.load_model(folder / "model").info.output == "depth"


def test_training_lowers_the_loss(trained):
    _, folder = trained(schedule={"steps": 60, "batch_size": 6}, run={"save_every": 100})
    with (folder / "log.csv").open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


def test_a_full_run_of_all_stages_gives_a_model_that_opens(tmp_path, scenes):
    """Scenes, VAE, latents, depth, generative depth from its weights, bundle: as the bundled models are made."""
    out = tmp_path / "out"
    stages = {
        "vae": vae_settings(
            scenes, run={"pictures_every": 2}, latent_noise=0.1, angle_weight=0.5, crop=(16, 16)
        ),
        "latents": {
            "stage": "latents",
            "vae": str(out / "vae" / "vae"),
            "views": 2,
            "per_shard": 4,
            "data": [{"kind": "scenes", "folder": str(scenes)}],
        },
        "depth": lotus_settings(out / "latents", out / "vae" / "vae", schedule={"steps": 2}),
    }
    generative = lotus_settings(out / "latents", "unused", mode="g", schedule={"steps": 2})
    generative["start"] = {"checkpoint": str(out / "depth" / "model")}
    stages["generative"] = generative
    models = {
        "lotus-small-depth-d": str(out / "depth" / "model"),
        "lotus-small-depth-g": str(out / "generative" / "model"),
    }
    stages["bundle"] = {
        "stage": "bundle",
        "vae": str(out / "vae" / "vae"),
        "models": models,
        "max_bytes": 10**7,
    }
    for name, settings in stages.items():
        config = write_yaml(tmp_path / f"{name}.yaml", settings)
        assert main(["train", str(config), "-o", str(out / name)]) == 0, name
    # 6 scenes of one size and 4 of another, 4 to a shard, seen twice
    assert len(list((out / "latents").glob("latents-*.safetensors"))) == 2 * (2 + 1)
    assert (out / "vae" / "pictures" / "step-000000002.png").is_file()
    model = lotus_core.load_model(out / "generative" / "model")
    assert (model.info.mode, model.info.output) == ("g", "disparity")
    with safe_open(out / "vae" / "vae" / "diffusion_pytorch_model.safetensors", "pt") as file:
        assert all(file.get_tensor(key).isfinite().all() for key in file.keys())  # noqa: SIM118


@pytest.mark.parametrize("mode", ["d", "g"])
def test_pictures_are_encoded_on_the_way(tmp_path, scenes, vae, mode):
    settings = lotus_settings("unused", vae, mode=mode, schedule={"steps": 2, "batch_size": 2})
    settings["data"] = [{"kind": "scenes", "folder": str(scenes)}]
    settings["run"]["pictures_every"] = 2
    settings["accelerator"] = {"gradient_checkpointing": True, "channels_last": True, "workers": 2}
    config = write_yaml(tmp_path / "config.yaml", settings)
    assert main(["train", str(config), "-o", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "pictures" / "step-000000002.png").is_file()


def test_a_time_limit_stops_with_a_state_that_goes_on(trained, capsys):
    code, folder = trained("--time-limit", "0", schedule={"steps": 3})
    assert code == 0
    assert "not yet done: go on with --resume" in capsys.readouterr().out
    code, _ = trained("--resume", schedule={"steps": 3})
    assert code == 0
    assert (folder / "states" / "step-000000003").is_dir()


def test_a_folder_that_holds_a_run_is_not_overwritten(trained, capsys):
    trained(schedule={"steps": 1})
    code, _ = trained(schedule={"steps": 1})
    assert code == 2
    assert "--output must be a new or empty folder, unless --resume is given" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "schedule.stepz=4"], "schedule.stepz must be"),
        (["--set", "nonsense"], "KEY=VALUE"),
        (["--prediction", "v"], "mode d sees no noise"),
        (["--set", "data.0.folder=/nowhere/at/all"], "holds no latents"),
        (["--set", "start.vae=/nowhere/at/all"], "holds no AutoencoderKL"),
    ],
)
def test_what_cannot_be_trained_is_told(trained, capsys, arguments, message):
    code, _ = trained(*arguments)
    assert code in {1, 2}
    assert message in capsys.readouterr().err


def test_the_help_names_the_options(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for option in (
        "--resume",
        "--time-limit",
        "--prediction",
        "--steps",
        "--detail-preserver",
        "--depth-map",
        "--set",
    ):
        assert option in text


def test_bf16_trains_both_kinds_and_keeps_weights_in_full_precision(tmp_path, scenes, trained):
    code, folder = trained(
        accelerator={"mixed_precision": "bf16"}, schedule={"steps": 2}, run={"pictures_every": 2}
    )
    assert code == 0
    settings = vae_settings(scenes, accelerator={"mixed_precision": "bf16"}, run={"pictures_every": 2})
    config = write_yaml(tmp_path / "vae.yaml", settings)
    assert main(["train", str(config), "-o", str(tmp_path / "vae")]) == 0
    for run in (folder, tmp_path / "vae"):
        with safe_open(run / "states" / "step-000000002" / "weights.safetensors", "pt") as file:
            tensors = [file.get_tensor(key) for key in file.keys()]  # noqa: SIM118
        assert {tensor.dtype for tensor in tensors} == {torch.float32}
        assert all(tensor.isfinite().all() for tensor in tensors)


def test_bf16_and_fp32_begin_alike(trained):
    losses = {}
    for precision in ("fp32", "bf16"):
        _, folder = trained(
            folder=precision, accelerator={"mixed_precision": precision}, schedule={"steps": 1}
        )
        with (folder / "log.csv").open() as file:
            losses[precision] = float(next(csv.DictReader(file))["loss"])
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.02)
    assert losses["bf16"] != losses["fp32"]
