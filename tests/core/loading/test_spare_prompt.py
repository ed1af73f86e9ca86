"""The embedding that a caller has at hand for checkpoints that bring none."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from lotus_core.errors import CheckpointError
from lotus_core.loading.checkpoint import load_parts
from tests.small_models import BUNDLED


@pytest.fixture
def without_prompt(tmp_path: Path) -> Path:
    folder = tmp_path / "lotus-depth"
    shutil.copytree(BUNDLED / "lotus-tiny-depth-d" / "unet", folder / "unet")
    shutil.copytree(BUNDLED / "vae", folder / "vae")
    return folder


def test_a_checkpoint_without_an_embedding_takes_the_spare_one(without_prompt: Path) -> None:
    spare = torch.randn(1, 2, 32)
    assert torch.equal(load_parts(without_prompt, spare_prompt=spare).prompt_embeds, spare)


def test_its_own_embedding_comes_first(without_prompt: Path) -> None:
    shutil.copy(BUNDLED / "prompt_embeds.safetensors", without_prompt)
    own = load_parts(without_prompt).prompt_embeds
    assert torch.equal(load_parts(without_prompt, spare_prompt=torch.randn(1, 2, 32)).prompt_embeds, own)


def test_one_that_the_caller_insists_on_comes_before_both(without_prompt: Path) -> None:
    given = torch.randn(1, 2, 32)
    parts = load_parts(without_prompt, prompt_embeds=given, spare_prompt=torch.randn(1, 2, 32))
    assert torch.equal(parts.prompt_embeds, given)


def test_a_spare_one_of_another_width_is_left_alone(without_prompt: Path) -> None:
    with pytest.raises(CheckpointError, match="comes without the embedding of the empty prompt"):
        load_parts(without_prompt, spare_prompt=torch.randn(1, 2, 1024))
