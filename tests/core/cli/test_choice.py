"""Which model runs when none is named, and what loading tells."""

from __future__ import annotations

import argparse

import pytest

from lotus_core.cli import choice
from lotus_core.cli.choice import DEFAULT_MODELS, Loading, chosen_source, load
from lotus_core.errors import CheckpointError, OutputKindError, UnknownModelError
from lotus_core.loading import catalog


@pytest.fixture
def empty_machine(monkeypatch, tmp_path):
    """A machine with no checkpoint on it."""
    from huggingface_hub import constants

    monkeypatch.setenv("LOTUS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def put_default_depth_model(home) -> None:
    folder = home / "lotus-depth-d-v2-0-disparity"
    for part in ("unet", "vae"):
        (folder / part).mkdir(parents=True)
        (folder / part / "diffusion_pytorch_model.safetensors").write_bytes(b"not looked into")
        (folder / part / "config.json").write_text("{}")


def test_named_model_is_taken_as_it_is(empty_machine):
    assert chosen_source("anything/at-all", "depth", "--model") == "anything/at-all"


def test_defaults_are_current_discriminative_models_of_the_catalogue():
    assert DEFAULT_MODELS["depth"] == "lotus-depth-d-v2-0-disparity"
    assert DEFAULT_MODELS["normal"] == "lotus-normal-d-v1-1"
    for purpose, name in DEFAULT_MODELS.items():
        entry = catalog.require(name)
        assert (entry.mode, entry.replaced_by) == ("d", None)
        assert (entry.output == "normal") == (purpose == "normal")


@pytest.mark.parametrize(
    ("purpose", "bundled"), [("depth", "lotus-tiny-depth-d"), ("normal", "lotus-tiny-normal-d")]
)
def test_default_that_is_not_on_disk_is_never_fetched_but_explained(empty_machine, purpose, bundled):
    with pytest.raises(CheckpointError) as caught:
        chosen_source(None, purpose, "--some-model")
    text = str(caught.value)
    name = DEFAULT_MODELS[purpose]
    assert f"no model was named, and the default one, {name}, is not on this machine" in text
    assert f"`lotus models pull {name}` (3.8 GB)" in text
    assert f"--some-model {bundled}" in text
    assert list(empty_machine.rglob("*.safetensors")) == []


def test_default_that_is_on_disk_is_taken(empty_machine):
    put_default_depth_model(empty_machine / "home")
    assert chosen_source(None, "depth", "--model") == "lotus-depth-d-v2-0-disparity"


def test_half_of_the_default_on_disk_is_not_enough(empty_machine):
    put_default_depth_model(empty_machine / "home")
    (empty_machine / "home/lotus-depth-d-v2-0-disparity/vae/diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="is not on this machine"):
        chosen_source(None, "depth", "--model")


def test_options_reach_load_model(monkeypatch):
    import lotus_core.inference.model as model_module

    seen = {}
    monkeypatch.setattr(
        model_module, "load_model", lambda source, **kwargs: seen.update(source=source, **kwargs)
    )
    load("some-name", Loading("bf16", "cpu", "vae.safetensors", "main"), "depth")
    del seen["progress"]
    assert seen == {
        "source": "some-name",
        "precision": "bf16",
        "device": "cpu",
        "vae": "vae.safetensors",
        "output": "depth",
        "revision": "main",
    }


def test_file_whose_name_says_nothing_is_pointed_to_the_option(monkeypatch):
    import lotus_core.inference.model as model_module

    def load_model(source, **kwargs):
        raise OutputKindError(
            "nothing says what x.safetensors estimates", path="x.safetensors", remedy="pass output="
        )

    monkeypatch.setattr(model_module, "load_model", load_model)
    with pytest.raises(
        OutputKindError, match=r"nothing says what .* estimates: say it with --kind depth, disparity"
    ):
        load("x.safetensors", Loading())


def test_unknown_name_lists_the_nearest(empty_machine):
    with pytest.raises(UnknownModelError, match="lotus-tiny-depth-d"):
        load("lotus-tiny-depht-d", Loading(device="cpu"))


@pytest.mark.parametrize("quiet", [False, True])
def test_download_is_announced_unless_quiet(monkeypatch, capsys, quiet):
    import lotus_core.inference.model as model_module

    def load_model(source, *, progress, **kwargs):
        for done in (0, 50, 100):
            progress(done, 100)

    monkeypatch.setattr(model_module, "load_model", load_model)
    load("some-name", Loading(quiet=quiet))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("fetching some-name from the Hub") == (0 if quiet else 1)


def test_nothing_is_announced_when_nothing_is_fetched(monkeypatch, capsys):
    import lotus_core.inference.model as model_module

    monkeypatch.setattr(model_module, "load_model", lambda source, **kwargs: None)
    load("some-name", Loading())
    assert capsys.readouterr().err == ""


def test_how_models_are_loaded_is_what_the_line_says():
    line = argparse.Namespace(
        precision="bf16", device="cpu", vae="v.safetensors", revision="main", quiet=True
    )
    assert Loading.of_line(line) == Loading("bf16", "cpu", "v.safetensors", "main", quiet=True)


def test_bar_shows_the_bytes_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(choice.sys.stderr, "isatty", lambda: True, raising=False)
    with choice.DownloadBar("some-name", False) as progress:
        progress(500_000, 2_000_000)
        progress(2_000_000, 2_000_000)
    assert "2.00M/2.00M" in capsys.readouterr().err
