"""The empty prompt's embedding."""

from __future__ import annotations

import builtins
import gc
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lotus_core.errors import (
    CheckpointError,
    CorruptFileError,
    LotusWarning,
    MissingExtraError,
    ShapeError,
    UnsafeFormatError,
)
from lotus_core.loading.files import PROMPT_FILE, checkpoint_files
from lotus_core.loading.prompt import compute_prompt, prompt_embedding, read_prompt, require_width

from .samples import GOLDEN, MINI


@pytest.fixture(scope="module")
def golden() -> torch.Tensor:
    """What the reference's own text encoder gives."""
    return torch.from_numpy(np.load(GOLDEN / "golden/pipe/native_r0/input.npz")["prompt_embeds"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint with a text encoder and no embedding yet."""
    target = tmp_path / "mini"
    for part in ("unet", "text_encoder", "tokenizer"):
        shutil.copytree(MINI["g"] / part, target / part)
    return target


def test_the_embedding_is_the_references(golden: torch.Tensor) -> None:
    pytest.importorskip("transformers")
    embeds = compute_prompt(MINI["g"] / "text_encoder")
    assert embeds.shape == (1, 2, 64)
    assert embeds.dtype == torch.float32
    assert not embeds.requires_grad
    assert (embeds - golden).abs().max() < 1e-5


def test_it_is_computed_once_and_kept_beside_the_weights(folder: Path, golden: torch.Tensor) -> None:
    pytest.importorskip("transformers")
    first = prompt_embedding(checkpoint_files(folder), 64)
    assert (folder / PROMPT_FILE).is_file()
    assert [item.name for item in folder.iterdir() if item.name.startswith(".")] == []
    shutil.rmtree(folder / "text_encoder")  # no longer needed
    assert torch.equal(prompt_embedding(checkpoint_files(folder), 64), first)
    assert (first - golden).abs().max() < 1e-5


def test_the_text_encoder_is_let_go_of(folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    prompt_embedding(checkpoint_files(folder), 64)
    gc.collect()
    assert not [item for item in gc.get_objects() if type(item) is transformers.CLIPTextModel]


def test_no_progress_bar_is_drawn_and_the_setting_is_given_back(folder: Path, capfd) -> None:
    pytest.importorskip("transformers")
    from transformers.utils import logging

    before = logging.is_progress_bar_enabled()
    compute_prompt(folder / "text_encoder")
    assert "Loading weights" not in capfd.readouterr().err
    assert logging.is_progress_bar_enabled() == before


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_a_read_only_folder_is_warned_about(folder: Path, golden: torch.Tensor) -> None:
    pytest.importorskip("transformers")
    folder.chmod(0o500)
    with pytest.warns(LotusWarning, match="kept in memory alone"):
        embeds = prompt_embedding(checkpoint_files(folder), 64)
    assert (embeds - golden).abs().max() < 1e-5


def test_a_place_that_cannot_be_written_is_warned_about_and_the_embedding_still_returned(
    folder: Path, golden: torch.Tensor
) -> None:
    pytest.importorskip("transformers")
    blocked = folder / "file"
    blocked.touch()
    files = replace(checkpoint_files(folder), prompt_folder=blocked)  # a file where a folder should be
    with pytest.warns(LotusWarning, match="kept in memory alone and computed again on the next load"):
        embeds = prompt_embedding(files, 64)
    assert (embeds - golden).abs().max() < 1e-5


def test_a_kept_embedding_is_used_without_transformers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    kept = torch.randn(1, 2, 8, generator=torch.Generator().manual_seed(0))
    save_file({"prompt_embeds": kept.half()}, tmp_path / PROMPT_FILE)
    (tmp_path / "lotus.safetensors").touch()
    embeds = prompt_embedding(checkpoint_files(tmp_path / "lotus.safetensors"), 8)
    assert torch.equal(embeds, kept.half().float())


def test_without_transformers_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "transformers":
            raise ImportError("No module named 'transformers'", name="transformers")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtraError, match=r'pip install "lotus-geometry\[prompt\]"'):
        compute_prompt(folder / "text_encoder")


def test_neither_embedding_nor_encoder_is_an_error_that_says_what_to_do(folder: Path) -> None:
    shutil.rmtree(folder / "text_encoder")
    with pytest.raises(
        CheckpointError, match="mini comes without the embedding of the empty prompt"
    ) as caught:
        prompt_embedding(checkpoint_files(folder), 64)
    assert "pass prompt_embeds, or put the prompt_embeds.safetensors" in str(caught.value)


def test_an_encoder_without_its_tokenizer_is_named(folder: Path) -> None:
    shutil.rmtree(folder / "tokenizer")
    with pytest.raises(CheckpointError, match="comes without its tokenizer"):
        compute_prompt(folder / "text_encoder")


def test_a_pickled_encoder_is_refused(folder: Path) -> None:
    (folder / "text_encoder" / "model.safetensors").rename(folder / "text_encoder" / "pytorch_model.bin")
    with pytest.raises(UnsafeFormatError, match=r"no safetensors weights.*pytorch_model\.bin"):
        compute_prompt(folder / "text_encoder")


def test_an_encoder_without_weights_is_named(folder: Path) -> None:
    (folder / "text_encoder" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no safetensors weights \(found: config\.json\)"):
        compute_prompt(folder / "text_encoder")


def test_a_truncated_encoder_is_refused_before_it_is_loaded(folder: Path) -> None:
    weights = folder / "text_encoder" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(CorruptFileError, match="cut short"):
        compute_prompt(folder / "text_encoder")


def test_a_config_that_transformers_refuses_is_our_error(folder: Path) -> None:
    pytest.importorskip("transformers")
    (folder / "text_encoder" / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        compute_prompt(folder / "text_encoder")


def test_a_file_without_the_embedding_is_named(tmp_path: Path) -> None:
    path = tmp_path / PROMPT_FILE
    save_file({"other": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"holds no prompt embedding.*other"):
        read_prompt(path)


def test_a_read_embedding_outlives_its_file(tmp_path: Path) -> None:
    path = tmp_path / PROMPT_FILE
    save_file({"prompt_embeds": torch.ones(1, 2, 4)}, path)
    embeds = read_prompt(path)
    path.write_bytes(b"")
    assert torch.equal(embeds, torch.ones(1, 2, 4))


@pytest.mark.parametrize("shape", [(1, 2, 8), (2, 2, 4), (1, 0, 4), (2, 4), (1, 1, 2, 4)])
def test_an_embedding_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"expected \(1, T, 4\)") as caught:
        require_width(torch.zeros(shape), 4)
    assert caught.value.actual_shape == shape


def test_an_embedding_comes_out_as_float32_without_gradients() -> None:
    given = torch.ones(1, 77, 4, dtype=torch.bfloat16, requires_grad=True)
    embeds = require_width(given, 4)
    assert embeds.dtype == torch.float32
    assert not embeds.requires_grad
    assert embeds.shape == (1, 77, 4)
