"""Where the parts of a checkpoint lie."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lotus_core.errors import CheckpointError, UnknownModelError, UnsafeFormatError
from lotus_core.loading.bundled import BUNDLED, bundled_files
from lotus_core.loading.files import PROMPT_FILE, checkpoint_files, weights_in

from .samples import MINI, WEIGHTS


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.mark.parametrize("inside", ["", "unet", f"unet/{WEIGHTS}"])
def test_a_diffusers_folder_is_known_by_its_root_its_unet_folder_or_its_weights(inside: str) -> None:
    files = checkpoint_files(MINI["d"] / inside)
    assert files.name == "mini-d"
    assert files.said_by == ("mini-d",)
    assert files.unet == MINI["d"] / "unet" / WEIGHTS
    assert files.vae == MINI["d"] / "vae"
    assert files.text_encoder == MINI["d"] / "text_encoder"
    assert files.prompt_folder == MINI["d"]


def test_the_unet_file_that_was_chosen_is_kept(tmp_path: Path) -> None:
    touch(tmp_path / "model" / "unet" / WEIGHTS)
    chosen = touch(tmp_path / "model" / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    assert checkpoint_files(chosen).unet == chosen
    assert checkpoint_files(tmp_path / "model").unet.name == WEIGHTS


def test_a_single_file_stands_alone_under_its_own_name_and_its_folders(tmp_path: Path) -> None:
    path = touch(tmp_path / "depth" / "mine.v2.safetensors")
    files = checkpoint_files(path)
    assert files.name == "mine.v2"
    assert files.said_by == ("mine.v2.safetensors", "depth")
    assert (files.unet, files.vae, files.text_encoder, files.prompt_embeds) == (path, None, None, None)
    prompt = touch(tmp_path / "depth" / PROMPT_FILE)
    assert checkpoint_files(path).prompt_embeds == prompt


def test_a_link_goes_by_its_own_name(tmp_path: Path) -> None:
    blob = touch(tmp_path / "blobs" / "0a1b2c")
    link = tmp_path / "lotus-normal-g.safetensors"
    link.symlink_to(blob)
    assert checkpoint_files(link).name == "lotus-normal-g"
    assert checkpoint_files(link).unet == link


def test_a_snapshot_of_the_hubs_cache_goes_by_its_repositorys_name(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--jingheya--lotus-normal-g-v1-1" / "snapshots" / "0123abcd"
    touch(snapshot / "unet" / WEIGHTS)
    assert checkpoint_files(snapshot).name == "jingheya/lotus-normal-g-v1-1"


def test_a_folder_of_a_unet_alone_is_its_own_root(tmp_path: Path) -> None:
    unet = touch(tmp_path / "my-depth" / "weights.safetensors")
    files = checkpoint_files(tmp_path / "my-depth")
    assert (files.name, files.unet, files.vae) == ("my-depth", unet, None)


def test_no_such_path_is_unknown(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match="there is no such file or folder; check the path"):
        checkpoint_files(tmp_path / "none")


def test_a_folder_without_a_unet_says_what_it_holds(tmp_path: Path) -> None:
    touch(tmp_path / "notes.txt")
    touch(tmp_path / "vae" / WEIGHTS)
    with pytest.raises(
        CheckpointError, match=r"holds no UNet \(found: notes.txt, vae\): choose a diffusers folder"
    ):
        checkpoint_files(tmp_path)


def test_an_empty_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="an empty folder"):
        checkpoint_files(tmp_path)


def test_the_unvaried_weights_come_first(tmp_path: Path) -> None:
    half = touch(tmp_path / "diffusion_pytorch_model.fp16.safetensors")
    touch(tmp_path / "other.safetensors")
    assert weights_in(tmp_path) == half
    whole = touch(tmp_path / WEIGHTS)
    assert weights_in(tmp_path) == whole


def test_a_single_file_under_any_name_is_taken_and_the_prompt_is_not_weights(tmp_path: Path) -> None:
    touch(tmp_path / PROMPT_FILE)
    assert weights_in(tmp_path) is None
    only = touch(tmp_path / "any.sft")
    assert weights_in(tmp_path) == only


def test_several_files_without_diffusers_name_are_ambiguous(tmp_path: Path) -> None:
    touch(tmp_path / "a.safetensors")
    touch(tmp_path / "b.safetensors")
    with pytest.raises(
        CheckpointError, match=r"holds several models \(found: a.safetensors, b.safetensors\)"
    ):
        weights_in(tmp_path)


def test_a_folder_of_pickles_is_refused(tmp_path: Path) -> None:
    touch(tmp_path / "unet" / "diffusion_pytorch_model.bin")
    touch(tmp_path / "unet" / "config.json")
    with pytest.raises(UnsafeFormatError, match=r"only pickled weights.*diffusion_pytorch_model\.bin"):
        checkpoint_files(tmp_path)


def test_no_folder_has_no_weights(tmp_path: Path) -> None:
    assert weights_in(tmp_path / "none") is None


@pytest.mark.parametrize("name", BUNDLED)
def test_the_bundled_checkpoints_are_complete(name: str) -> None:
    files = bundled_files(name)
    assert files.unet.is_file()
    assert files.vae is not None
    assert weights_in(files.vae) is not None
    assert files.prompt_embeds is not None
    assert files.prompt_embeds.is_file()


def test_a_name_that_is_not_bundled_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="lotus-huge"):
        bundled_files("lotus-huge")


def test_a_copied_folder_is_found_where_it_is(tmp_path: Path) -> None:
    shutil.copytree(MINI["g"] / "unet", tmp_path / "lotus-depth-g" / "unet")
    files = checkpoint_files(tmp_path / "lotus-depth-g")
    assert (files.name, files.vae, files.text_encoder) == ("lotus-depth-g", None, None)
