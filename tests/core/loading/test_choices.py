from __future__ import annotations

from pathlib import Path

import pytest

from lotus_core.loading.catalog import SHARED_VAE, models, require
from lotus_core.loading.choices import choices, is_auxiliary, name_of, properties_models
from lotus_core.loading.lock import LockRecord, sha256_of, write_lock

SINGLE = "lotus-depth-g-v1-0-fp16.safetensors"


@pytest.fixture(autouse=True)
def empty_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LOTUS_HOME", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def put(folder: Path, name: str, size: int = 7) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(bytes(size))
    return path


def test_every_checkpoint_is_offered_in_the_catalogues_order() -> None:
    assert [choice.entry for choice in choices()] == list(models())


def test_on_an_empty_machine_only_the_bundled_ones_are_here() -> None:
    states = {choice.entry.name: choice.state for choice in choices()}
    assert {name for name, state in states.items() if state == "bundled"} == {
        "lotus-tiny-depth-d",
        "lotus-tiny-normal-d",
        "lotus-tiny-depth-g",
    }
    assert set(states.values()) == {"bundled", "download"}


def test_a_download_is_marked_with_its_size() -> None:
    labels = {choice.entry.name: choice.label for choice in choices()}
    assert labels["lotus-depth-d-v2-0-disparity"] == "lotus-depth-d-v2-0-disparity [download 3.8 GB]"
    assert labels["lotus-depth-g-v1-0"] == "lotus-depth-g-v1-0 [download 2.1 GB]"
    assert labels["lotus-tiny-depth-d"] == "lotus-tiny-depth-d"


def test_a_label_gives_back_its_name() -> None:
    assert [name_of(choice.label) for choice in choices()] == [entry.name for entry in models()]
    assert name_of("lotus-depth-g-v1-0 [download]") == "lotus-depth-g-v1-0"


def test_what_is_on_disk_is_so_only_with_all_its_parts(tmp_path: Path) -> None:
    models_folder, vaes = tmp_path / "models", tmp_path / "vae"
    put(models_folder, SINGLE)
    by_name = {choice.entry.name: choice for choice in choices([models_folder, vaes])}
    assert by_name["lotus-depth-g-v1-0"].state == "download"
    put(vaes, SHARED_VAE.filename, 5)
    by_name = {choice.entry.name: choice for choice in choices([models_folder, vaes])}
    here = by_name["lotus-depth-g-v1-0"]
    assert (here.state, here.bytes, here.label) == ("on disk", 12, "lotus-depth-g-v1-0")
    assert here.local is not None
    assert by_name["lotus-depth-g-v1-0-fp32"].state == "download"  # that is another file


def test_an_altered_file_is_marked_and_stops_nothing(tmp_path: Path) -> None:
    path = put(tmp_path, SINGLE)
    put(tmp_path, SHARED_VAE.filename)
    write_lock(path, LockRecord("Kijai/lotus-comfyui", "b" * 40, SINGLE, 8, sha256_of(path)))
    states = {choice.entry.name: choice.state for choice in choices(folder=tmp_path)}
    assert states["lotus-depth-g-v1-0"] == "altered"
    assert states["lotus-tiny-depth-d"] == "bundled"


def test_a_frontend_is_told_name_address_and_folder_of_each_file() -> None:
    assert properties_models(require("lotus-depth-d-v1-1")) == [
        {
            "name": "lotus-depth-d-v1-1.safetensors",
            "url": "https://huggingface.co/Comfy-Org/lotus/resolve/main/lotus-depth-d-v1-1.safetensors",
            "directory": "lotus",
        },
        {
            "name": "vae-ft-mse-840000-ema-pruned.safetensors",
            "url": "https://huggingface.co/stabilityai/sd-vae-ft-mse-original/resolve/"
            "629b3ad3030ce36e15e70c5db7d91df0d60c627f/vae-ft-mse-840000-ema-pruned.safetensors",
            "directory": "vae",
        },
    ]


@pytest.mark.parametrize(
    "entry", [entry for entry in models() if entry.layout != "bundled"], ids=lambda entry: entry.name
)
def test_files_saved_as_a_frontend_is_told_are_found(entry, tmp_path: Path) -> None:
    for told in properties_models(entry):
        put(tmp_path / told["directory"], told["name"])
    found = {choice.entry.name: choice for choice in choices([tmp_path / "lotus", tmp_path / "vae"])}
    assert found[entry.name].state == "on disk"


def test_a_bundled_checkpoint_is_offered_by_no_frontend() -> None:
    assert properties_models(require("lotus-tiny-depth-d")) == []


@pytest.mark.parametrize(
    ("file", "auxiliary"),
    [
        ("lotus-depth-d-v1-0.vae.safetensors", True),
        ("sub/vae-ft-mse-840000-ema-pruned.safetensors", True),
        ("prompt_embeds.safetensors", True),
        ("jingheya--lotus-depth-d-v1-0.prompt/text_encoder/model.safetensors", True),
        ("lotus-depth-d-v1-0.safetensors", False),
        ("lotus/lotus-normal-g-v1-1-fp16.safetensors", False),
        ("my-own-vae.safetensors", False),
    ],
)
def test_files_that_serve_others_are_none_to_choose(file: str, auxiliary: bool) -> None:
    assert is_auxiliary(file) is auxiliary
