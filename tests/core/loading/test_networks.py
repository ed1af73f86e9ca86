"""A network's file read as far as its configuration: where the settings come from, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lotus_core.errors import ArchitectureError, CorruptFileError
from lotus_core.loading.networks import read_unet, read_vae, vae_of_tensors
from lotus_core.loading.settings import METADATA_KEY

from .samples import MINI, WEIGHTS, sd2_shapes, sd_vae_shapes, sparse_file, unet_shapes

HEADS = "attention_head_dim"


@pytest.fixture
def narrow(tmp_path: Path) -> Path:
    """A narrow UNet's file, alone in its folder."""
    return Path(shutil.copy(MINI["d"] / "unet" / WEIGHTS, tmp_path / "narrow.safetensors"))


def config_of_mini(**changes: object) -> str:
    return json.dumps(json.loads((MINI["d"] / "unet" / "config.json").read_text()) | changes)


def test_a_diffusers_model_folder_has_its_config_beside_the_weights() -> None:
    assert read_unet(MINI["g"] / "unet" / WEIGHTS).settings[HEADS] == (1, 2, 4, 4)
    assert read_vae(MINI["g"] / "vae" / WEIGHTS).settings["norm_num_groups"] == 8


def test_a_narrow_file_alone_is_refused_with_the_way_out(narrow: Path) -> None:
    with pytest.raises(ArchitectureError, match=r"narrow\.safetensors do not say their attention heads"):
        read_unet(narrow)


def test_a_config_beside_a_narrow_file_is_used(narrow: Path) -> None:
    narrow.with_name("config.json").write_text(config_of_mini())
    assert read_unet(narrow).settings[HEADS] == (1, 2, 4, 4)


def test_a_config_under_the_files_own_name_comes_before_the_folders(narrow: Path) -> None:
    narrow.with_name("config.json").write_text(config_of_mini(attention_head_dim=1))
    narrow.with_suffix(".json").write_text(config_of_mini(attention_head_dim=2))
    assert read_unet(narrow).settings[HEADS] == (2, 2, 2, 2)


def test_a_given_config_comes_before_all_others(narrow: Path, tmp_path: Path) -> None:
    narrow.with_suffix(".json").write_text(config_of_mini(attention_head_dim=2))
    given = tmp_path / "given.json"
    given.write_text(config_of_mini(attention_head_dim=4))
    assert read_unet(narrow, given).settings[HEADS] == (4, 4, 4, 4)


def test_the_files_own_metadata_comes_before_what_lies_beside_it(tmp_path: Path) -> None:
    shapes = unet_shapes(
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16,
        norm_num_groups=8,
        class_embed_type="projection",
        projection_class_embeddings_input_dim=4,
    )
    metadata = {METADATA_KEY: json.dumps({HEADS: [2, 4], "norm_num_groups": 4})}
    path = sparse_file(tmp_path / "x.safetensors", shapes, metadata=metadata)
    path.with_suffix(".json").write_text(json.dumps({HEADS: 8, "norm_num_groups": 8}))
    assert dict(read_unet(path).settings) == {HEADS: (2, 4), "norm_num_groups": 4}


def test_metadata_that_is_no_config_is_refused(tmp_path: Path) -> None:
    path = sparse_file(tmp_path / "x.safetensors", sd2_shapes(), metadata={METADATA_KEY: "{"})
    with pytest.raises(CorruptFileError, match=r"the metadata of x\.safetensors is not a JSON config"):
        read_unet(path)


def test_a_config_of_another_model_in_a_folder_of_many_is_ignored_where_nothing_is_missing(
    tmp_path: Path,
) -> None:
    (tmp_path / "config.json").write_text('{"in_channels": 77}')
    path = sparse_file(tmp_path / "lotus.safetensors", sd2_shapes())
    assert read_unet(path).settings[HEADS] == (5, 10, 20, 20)


def test_a_config_of_another_model_in_a_diffusers_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"in_channels": 77}')
    path = sparse_file(tmp_path / WEIGHTS, sd2_shapes())
    with pytest.raises(ArchitectureError, match="in_channels 77 in the config, 4 in the weights"):
        read_unet(path)


def test_stable_diffusions_vae_file_needs_nothing_beside_it(tmp_path: Path) -> None:
    path = sparse_file(tmp_path / "vae-ft-mse-840000-ema-pruned.safetensors", sd_vae_shapes(), "F32")
    assert read_vae(path).config["scaling_factor"] == 0.18215
    assert read_vae(path).config["norm_num_groups"] == 32


@pytest.mark.parametrize(
    "name", ["sdxl_vae.safetensors", "SDXL-VAE-fp16-fix.safetensors", "sd_xl_base_vae.sft"]
)
def test_an_sdxl_vae_is_refused_by_its_name_as_its_shapes_cannot_tell(tmp_path: Path, name: str) -> None:
    path = sparse_file(tmp_path / name, sd_vae_shapes())
    with pytest.raises(ArchitectureError, match="its latents are not Stable Diffusion 2's"):
        read_vae(path)


def test_a_vae_in_memory_is_read_by_its_tensors() -> None:
    import torch

    tensors = {
        key: torch.empty(shape, device="meta", dtype=torch.float16) for key, shape in sd_vae_shapes().items()
    }
    vae = vae_of_tensors(tensors, "the host's VAE")
    assert vae.architecture.block_out_channels == (128, 256, 512, 512)
    assert vae.stored.header.tensors["encoder.conv_in.weight"].dtype == "F16"


def test_another_network_in_memory_is_refused_under_the_given_name() -> None:
    import torch

    with pytest.raises(ArchitectureError, match="the host's VAE is not a VAE"):
        vae_of_tensors({"double_blocks.0.x": torch.zeros(1)}, "the host's VAE")
