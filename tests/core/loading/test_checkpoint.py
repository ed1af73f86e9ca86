"""From a source to a model's parts, whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lotus_core.conventions import TIMESTEP, Task, task_embedding
from lotus_core.errors import (
    ArchitectureError,
    CheckpointError,
    CorruptFileError,
    OfflineError,
    OptionError,
    OutputKindError,
    ShapeError,
    StateDictError,
    UnknownModelError,
    UnsafeFormatError,
)
from lotus_core.loading import catalog, hub
from lotus_core.loading.checkpoint import LoadedParts, load_parts
from lotus_core.loading.convert import convert
from lotus_core.loading.files import PROMPT_FILE
from lotus_core.loading.stored import KeyFormat
from tests.core.loading.samples import GOLDEN, MINI, WEIGHTS, sd2_shapes, sd_vae_shapes, sparse_file

EMBEDS = torch.from_numpy(np.load(GOLDEN / "golden/pipe/native_r0/input.npz")["prompt_embeds"])
SD2_EMBEDS = torch.zeros(1, 2, 1024)


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No LOTUS_HOME, an empty Hub cache, and a Hub that is out of reach; what it was asked for."""
    from huggingface_hub import constants

    monkeypatch.delenv("LOTUS_HOME", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    asked: list[str] = []

    def unreachable(name: str) -> Callable[..., Path]:
        def ask(*args: Any, **options: Any) -> Path:
            asked.append(name)
            raise OfflineError("the Hub cannot be reached")

        return ask

    real = hub.ensure_shared_vae
    monkeypatch.setattr(hub, "ensure_text_encoder", unreachable("text encoder"))
    monkeypatch.setattr(
        hub,
        "ensure_shared_vae",
        lambda **options: real(**options) if options["search"] else unreachable("vae")(),
    )
    return asked


@pytest.fixture
def mini(tmp_path: Path) -> Path:
    """A diffusers folder whose name says normals, with an embedding beside the weights."""
    folder = tmp_path / "mini-normal"
    for part in ("unet", "vae"):
        shutil.copytree(MINI["d"] / part, folder / part)
    save_file({"prompt_embeds": EMBEDS}, folder / PROMPT_FILE)
    return folder


@pytest.fixture
def full_size(tmp_path: Path) -> Callable[..., Path]:
    """Makes a full-size UNet's file of zeros that takes no disk."""

    def make(name: str, mode: str = "d") -> Path:
        path = tmp_path / "models" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return sparse_file(path, sd2_shapes(mode))

    return make


@pytest.fixture
def shared_vae(tmp_path: Path) -> Path:
    """The catalogue's shared VAE, full size, of zeros, in the folder that is searched."""
    (tmp_path / "models").mkdir(exist_ok=True)
    return sparse_file(tmp_path / "models" / catalog.SHARED_VAE.filename, sd_vae_shapes(), "F32")


def unet_out(parts: LoadedParts, case: Path, task: Task) -> torch.Tensor:
    """The step as the reference takes it, through diffusers' own module, in fp32."""
    given = {key: torch.from_numpy(value) for key, value in np.load(case / "input.npz").items()}
    sample = given["rgb_latents"]
    if parts.info.mode == "g":
        sample = torch.cat([sample, given["noise"]], dim=1)
    with torch.inference_mode():
        return parts.unet.float()(
            sample,
            TIMESTEP,
            encoder_hidden_states=parts.prompt_embeds,
            class_labels=torch.tensor([task_embedding(task)]),
        ).sample


@pytest.mark.parametrize("keys", ["diffusers", "ldm", "ldm-prefixed"])
@pytest.mark.parametrize("mode", "dg")
def test_every_key_format_gives_the_references_output(tmp_path: Path, mode: str, keys: KeyFormat) -> None:
    file = tmp_path / "lotus-depth.safetensors"
    convert(MINI[mode], file, keys=keys)
    parts = load_parts(file, vae=MINI[mode] / "vae", prompt_embeds=EMBEDS)
    assert parts.info.mode == mode
    for case in sorted((GOLDEN / "golden" / "pipe").iterdir()):
        for side, task in (("anno", "annotation"), ("recon", "reconstruction")):
            expected = torch.from_numpy(np.load(case / f"{mode}_{side}.npz")["unet_out"])
            assert (unet_out(parts, case, task) - expected).abs().max() < 1e-4  # type: ignore[arg-type]


@pytest.mark.parametrize("keys", ["diffusers", "ldm", "ldm-prefixed"])
def test_a_vae_file_in_every_key_format_is_the_same_vae(tmp_path: Path, mini: Path, keys: KeyFormat) -> None:
    convert(MINI["d"] / "vae", tmp_path / "vae.safetensors", keys=keys)
    given = load_parts(mini, vae=tmp_path / "vae.safetensors").vae
    own = load_parts(mini).vae
    assert given.config["scaling_factor"] == own.config["scaling_factor"] == 0.18215
    assert all(torch.equal(given.state_dict()[key], value) for key, value in own.state_dict().items())


def test_info_says_what_was_loaded(mini: Path) -> None:
    info = load_parts(str(mini)).info
    assert (info.name, info.mode, info.output, info.default_resolution) == ("mini-normal", "d", "normal", 768)
    assert info.source == str(mini / "unet" / WEIGHTS)
    assert info.vae_source == str(mini / "vae" / WEIGHTS)
    assert info.cross_attention_dim == 64
    assert info.unet_parameters == sum(value.numel() for value in load_file(mini / "unet" / WEIGHTS).values())


@pytest.mark.parametrize(
    ("name", "output", "mode", "parameters"),
    [
        ("lotus-tiny-depth-d", "disparity", "d", 3_310_500),
        ("lotus-tiny-normal-d", "normal", "d", 3_310_500),
        ("lotus-tiny-depth-g", "disparity", "g", 3_310_500 + 4 * 9 * 48),  # sees the noise too
    ],
)
def test_the_bundled_checkpoints_load_by_name(name: str, output: str, mode: str, parameters: int) -> None:
    parts = load_parts(name)
    assert (parts.info.name, parts.info.output, parts.info.mode) == (name, output, mode)
    assert parts.info.default_resolution == 192
    assert parts.info.unet_parameters == parameters
    assert parts.vae.config["scaling_factor"] == pytest.approx(0.0864, abs=1e-4)
    assert parts.prompt_embeds.shape == (1, 2, 32)


@pytest.mark.parametrize(("mode", "name"), [("d", "lotus-depth-d-v1-1"), ("g", "lotus-normal-g-v1-0-fp16")])
def test_a_full_size_single_file_borrows_the_shared_vae(
    full_size: Callable[..., Path], shared_vae: Path, mode: str, name: str, offline: list[str]
) -> None:
    file = full_size(f"{name}.safetensors", mode)
    parts = load_parts(file, prompt_embeds=SD2_EMBEDS, folders=[file.parent])
    assert parts.info.mode == mode
    assert parts.info.vae_source == str(shared_vae)
    assert parts.info.unet_parameters == {"d": 867_556_804, "g": 867_568_324}[mode]
    assert sum(weight.numel() for weight in parts.vae.parameters()) == 83_653_863
    assert parts.unet.dtype == torch.float16
    assert parts.vae.dtype == torch.float32
    assert offline == []


def test_a_single_file_without_any_vae_says_what_to_do(full_size: Callable[..., Path]) -> None:
    file = full_size("lotus-depth-d-v1-1.safetensors")
    with pytest.raises(CheckpointError, match="is a UNet alone and needs a VAE") as caught:
        load_parts(file, prompt_embeds=SD2_EMBEDS)
    assert "the shared one could not be fetched: the Hub cannot be reached" in str(caught.value)
    assert f"pass vae, or put {catalog.SHARED_VAE.filename}" in str(caught.value)


def test_a_narrow_single_file_never_borrows_a_vae_of_other_latents(
    tmp_path: Path, offline: list[str]
) -> None:
    convert(MINI["d"], tmp_path / "my-depth.safetensors")
    with pytest.raises(CheckpointError, match="not of Stable Diffusion 2's size, so its VAE is not known"):
        load_parts(tmp_path / "my-depth.safetensors", prompt_embeds=EMBEDS)
    assert offline == []


def test_a_vae_may_be_a_folder_a_file_or_a_hosts_state_dict(mini: Path) -> None:
    # A host's VAE has Stable Diffusion's widths: the mini one is refused, the real shapes are taken.
    state = {key: torch.zeros(1, dtype=torch.float16).expand(shape) for key, shape in sd_vae_shapes().items()}
    given = load_parts(mini, vae={key: value.contiguous() for key, value in state.items()})
    assert given.info.vae_source == "given by the caller"
    assert given.vae.config["scaling_factor"] == 0.18215
    for vae in (MINI["g"] / "vae", str(MINI["g"] / "vae" / WEIGHTS)):
        assert load_parts(mini, vae=vae).info.vae_source == str(MINI["g"] / "vae" / WEIGHTS)
    with pytest.raises(ArchitectureError, match="put the model's config.json beside the file"):  # noqa: RUF043
        load_parts(mini, vae=load_file(mini / "vae" / WEIGHTS))


def test_a_folder_without_a_vae_as_vae_says_what_it_holds(mini: Path, tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    with pytest.raises(CheckpointError, match=r"holds no VAE \(found: an empty folder\)"):
        load_parts(mini, vae=tmp_path / "v")


def test_the_caller_comes_before_catalogue_metadata_and_name(mini: Path, full_size, shared_vae: Path) -> None:
    assert load_parts(mini, output="disparity").info.output == "disparity"
    file = full_size("lotus-depth-d-v1-1.safetensors")
    assert load_parts(file, output="normal", vae=shared_vae, prompt_embeds=SD2_EMBEDS).info.output == "normal"


def test_the_catalogue_comes_before_the_name(full_size, shared_vae: Path) -> None:
    # Nothing in a folder's name or beside it can change what the catalogue knows of the file's.
    file = full_size("disparity/lotus-depth-d-v1-1.safetensors")
    assert load_parts(file, vae=shared_vae, prompt_embeds=SD2_EMBEDS).info.output == "depth"


def test_the_files_own_metadata_comes_before_its_name(tmp_path: Path) -> None:
    file = tmp_path / "renamed-depth.safetensors"
    convert(MINI["d"], file, output="normal")
    assert load_parts(file, vae=MINI["d"] / "vae", prompt_embeds=EMBEDS).info.output == "normal"


def test_where_nothing_says_it_the_error_asks() -> None:
    with pytest.raises(OutputKindError, match="nothing says what mini-d estimates"):
        load_parts(MINI["d"], prompt_embeds=EMBEDS)


def test_a_name_that_contradicts_itself_is_refused(mini: Path) -> None:
    both = mini.rename(mini.with_name("depth-normal"))
    with pytest.raises(OutputKindError, match="'depth-normal' says both normals and depth"):
        load_parts(both)
    assert load_parts(both, output="depth").info.output == "depth"


def test_an_output_that_is_none_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="output must be"):
        load_parts(tmp_path / "none", output="edges")


def test_a_file_under_another_checkpoints_name_is_refused(full_size, shared_vae: Path) -> None:
    file = full_size("lotus-normal-g-v1-0.safetensors", mode="d")
    with pytest.raises(ArchitectureError, match="is not the checkpoint that its name says") as caught:
        load_parts(file, vae=shared_vae, prompt_embeds=SD2_EMBEDS)
    assert "a discriminative (4 input channels) UNet under the name of a generative" in str(caught.value)
    given = load_parts(file, vae=shared_vae, prompt_embeds=SD2_EMBEDS, output="normal")
    assert given.info.mode == "d"


def test_a_given_embedding_is_used_and_checked(mini: Path) -> None:
    given = torch.full((1, 2, 64), 0.5, dtype=torch.float16)
    assert torch.equal(load_parts(mini, prompt_embeds=given).prompt_embeds, given.float())
    with pytest.raises(ShapeError, match=r"prompt_embeds has shape \(1, 2, 1024\), expected \(1, T, 64\)"):
        load_parts(mini, prompt_embeds=SD2_EMBEDS)


def test_a_full_size_file_asks_for_the_text_encoder_only_without_an_embedding(
    full_size, shared_vae: Path, offline: list[str]
) -> None:
    file = full_size("lotus-depth-d-v1-1.safetensors")
    with pytest.raises(CheckpointError, match="comes without the embedding of the empty prompt") as caught:
        load_parts(file, vae=shared_vae)
    assert offline == ["text encoder"]
    assert "pass prompt_embeds, or put the prompt_embeds.safetensors of another Lotus checkpoint" in str(
        caught.value
    )
    save_file({"prompt_embeds": SD2_EMBEDS}, file.parent / PROMPT_FILE)
    assert load_parts(file, vae=shared_vae).prompt_embeds.shape == (1, 2, 1024)
    assert offline == ["text encoder"]


def test_a_narrow_file_never_borrows_a_text_encoder(tmp_path: Path, offline: list[str]) -> None:
    convert(MINI["d"], tmp_path / "my-depth.safetensors")
    with pytest.raises(CheckpointError, match="comes without the embedding of the empty prompt"):
        load_parts(tmp_path / "my-depth.safetensors", vae=MINI["d"] / "vae")
    assert offline == []


def test_a_unet_that_does_not_fit_is_told_before_anything_is_fetched(full_size, offline: list[str]) -> None:
    file = full_size("lotus-depth-d-v1-1.safetensors")
    shapes = {key: shape for key, shape in sd2_shapes().items() if key != "conv_out.bias"}
    sparse_file(file, shapes)
    with pytest.raises(StateDictError, match=r"1 missing \(conv_out\.bias\)"):
        load_parts(file)
    assert offline == []


def test_parts_given_the_wrong_way_round_are_told(mini: Path) -> None:
    with pytest.raises(ArchitectureError, match=r"is not a VAE \(found: a UNet\)"):
        load_parts(mini, vae=mini / "unet")
    with pytest.raises(ArchitectureError, match=r"is not a Lotus UNet \(found: a VAE\)"):
        load_parts(mini / "vae" / WEIGHTS, output="depth")


def test_files_that_cannot_be_used_are_told_through_the_whole_path(mini: Path, tmp_path: Path) -> None:
    unet = mini / "unet" / WEIGHTS
    whole = unet.read_bytes()
    unet.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorruptFileError, match="cut short"):
        load_parts(mini)
    pickle = tmp_path / "lotus-depth.ckpt"
    pickle.write_bytes(b"\x80\x02")
    with pytest.raises(UnsafeFormatError, match="reading a pickle can run any code"):
        load_parts(pickle)
    with pytest.raises(UnknownModelError, match="did you mean"):
        load_parts("lotus-depth-d-v1-2")


def test_a_failed_load_writes_nothing(mini: Path) -> None:
    before = sorted(mini.rglob("*"))
    with pytest.raises(CheckpointError):
        load_parts(mini, vae=mini / "unet")
    assert sorted(mini.rglob("*")) == before
