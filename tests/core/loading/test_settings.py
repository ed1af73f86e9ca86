"""What shapes cannot say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lotus_core.errors import ArchitectureError, CorruptFileError
from lotus_core.loading.architecture import UNetArchitecture, unet_architecture
from lotus_core.loading.settings import (
    MAX_CONFIG_BYTES,
    parse_config,
    read_config,
    unet_settings,
    vae_settings,
)
from lotus_core.loading.vae_architecture import vae_architecture

from .samples import MINI, sd2_shapes, sd_vae_shapes

MINI_CONFIG: dict[str, Any] = json.loads((MINI["d"] / "unet" / "config.json").read_text())


@pytest.fixture(scope="module")
def sd2() -> UNetArchitecture:
    return unet_architecture(sd2_shapes(), "x")


@pytest.fixture
def narrow(sd2: UNetArchitecture) -> UNetArchitecture:
    return replace(sd2, block_out_channels=(16, 32, 64, 64), cross_attention_dim=64)


def test_stable_diffusion_2s_widths_need_no_config(sd2: UNetArchitecture) -> None:
    assert unet_settings(sd2, None, "x") == {"attention_head_dim": (5, 10, 20, 20), "norm_num_groups": 32}


def test_other_widths_without_a_config_are_an_error_that_asks_for_it(narrow: UNetArchitecture) -> None:
    with pytest.raises(
        ArchitectureError, match=r"do not say their attention heads.*\(16, 32, 64, 64\)"
    ) as caught:
        unet_settings(narrow, None, "narrow.safetensors")
    assert "put the model's config.json beside the file" in str(caught.value)


def test_a_config_gives_heads_groups_and_what_else_no_shape_says(narrow: UNetArchitecture) -> None:
    settings = unet_settings(narrow, MINI_CONFIG | {"freq_shift": 1}, "x")
    assert settings["attention_head_dim"] == (1, 2, 4, 4)
    assert settings["norm_num_groups"] == 8
    assert settings["freq_shift"] == 1
    assert "in_channels" not in settings
    assert "_class_name" not in settings


def test_one_number_of_heads_means_every_level(narrow: UNetArchitecture) -> None:
    assert (
        unet_settings(narrow, {"attention_head_dim": 4, "norm_num_groups": 8}, "x")["attention_head_dim"]
        == (4,) * 4
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("in_channels", 8),
        ("block_out_channels", [320, 640, 1280, 1280]),
        ("cross_attention_dim", 768),
        ("layers_per_block", 1),
        ("use_linear_projection", False),
        ("class_embed_type", "timestep"),
    ],
)
def test_a_config_that_contradicts_the_weights_is_refused(
    narrow: UNetArchitecture, key: str, value: object
) -> None:
    with pytest.raises(ArchitectureError, match=f"the config of x is not its own.*{key}.*in the weights"):
        unet_settings(narrow, MINI_CONFIG | {key: value}, "x")


@pytest.mark.parametrize("value", [None, 0, -1, 3, "8", [1, 2, 4], [1, 2, 4, 5], [1, 2, 4, None], True])
def test_impossible_heads_are_refused(narrow: UNetArchitecture, value: object) -> None:
    with pytest.raises(ArchitectureError, match=r"impossible attention_head_dim, expected numbers of heads"):
        unet_settings(narrow, {"attention_head_dim": value, "norm_num_groups": 8}, "x")


@pytest.mark.parametrize("value", [0, -8, 5, 8.0, "8", True])
def test_impossible_norm_groups_are_refused(narrow: UNetArchitecture, value: object) -> None:
    with pytest.raises(ArchitectureError, match="impossible norm_num_groups"):
        unet_settings(narrow, {"attention_head_dim": 4, "norm_num_groups": value}, "x")


def test_stable_diffusions_vae_needs_no_config() -> None:
    vae = vae_architecture(sd_vae_shapes(), "vae")
    assert vae_settings(vae, None, "vae") == {"norm_num_groups": 32, "scaling_factor": 0.18215}


def test_a_vaes_config_gives_its_scaling_factor() -> None:
    vae = vae_architecture(sd_vae_shapes(), "vae")
    settings = vae_settings(vae, {"scaling_factor": 0.4, "norm_num_groups": 16, "shift_factor": None}, "vae")
    assert settings == {"scaling_factor": 0.4, "norm_num_groups": 16}


def test_a_vaes_config_without_a_scaling_factor_means_stable_diffusions() -> None:
    vae = vae_architecture(sd_vae_shapes(), "vae")
    assert vae_settings(vae, {"norm_num_groups": 32}, "vae")["scaling_factor"] == 0.18215


@pytest.mark.parametrize("value", [0, -0.2, "0.18215", float("nan"), 1e9])
def test_an_impossible_scaling_factor_is_refused(value: object) -> None:
    vae = vae_architecture(sd_vae_shapes(), "vae")
    with pytest.raises(ArchitectureError, match="impossible scaling_factor, expected a positive number"):
        vae_settings(vae, {"scaling_factor": value}, "vae")


def test_other_vae_widths_without_a_config_are_an_error() -> None:
    vae = replace(vae_architecture(sd_vae_shapes(), "vae"), block_out_channels=(8, 16))
    with pytest.raises(
        ArchitectureError, match=r"do not say their norm groups and scaling factor.*\(8, 16\)"
    ):
        vae_settings(vae, None, "vae")


@pytest.mark.parametrize("text", ["{", "[1]", "null", "[" * 100_000, "\x00"])
def test_text_that_is_no_config_is_refused(text: str) -> None:
    with pytest.raises(CorruptFileError, match=r"c\.json is not a JSON config"):
        parse_config(text, "c.json")


def test_a_config_of_a_megabyte_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text("{" + " " * MAX_CONFIG_BYTES + "}")
    with pytest.raises(CorruptFileError, match="more than 1 MB"):
        read_config(path)


def test_a_config_is_returned_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"norm_num_groups": 8}')
    assert read_config(path) == {"norm_num_groups": 8}
