"""LDM's names of a UNet's weights."""

from __future__ import annotations

import pytest
import torch

from lotus_core.loading.header import read_header
from lotus_core.loading.keys_unet import diffusers_from_ldm, ldm_from_diffusers

from .samples import MINI, WEIGHTS, sd2_shapes, unet_shapes

# By hand from Stable Diffusion 2's file (512-base-ema.safetensors) and its diffusers counterpart.
PAIRS = {
    "conv_in.weight": "input_blocks.0.0.weight",
    "time_embedding.linear_1.weight": "time_embed.0.weight",
    "time_embedding.linear_2.bias": "time_embed.2.bias",
    "class_embedding.linear_1.weight": "label_emb.0.0.weight",
    "class_embedding.linear_2.bias": "label_emb.0.2.bias",
    "conv_norm_out.weight": "out.0.weight",
    "conv_out.bias": "out.2.bias",
    "down_blocks.0.resnets.0.norm1.weight": "input_blocks.1.0.in_layers.0.weight",
    "down_blocks.0.resnets.1.conv1.weight": "input_blocks.2.0.in_layers.2.weight",
    "down_blocks.0.downsamplers.0.conv.weight": "input_blocks.3.0.op.weight",
    "down_blocks.1.resnets.0.conv_shortcut.weight": "input_blocks.4.0.skip_connection.weight",
    "down_blocks.1.resnets.0.time_emb_proj.bias": "input_blocks.4.0.emb_layers.1.bias",
    "down_blocks.1.attentions.1.proj_in.weight": "input_blocks.5.1.proj_in.weight",
    "down_blocks.3.resnets.1.conv2.weight": "input_blocks.11.0.out_layers.3.weight",
    "mid_block.resnets.1.norm2.weight": "middle_block.2.out_layers.0.weight",
    "mid_block.attentions.0.proj_out.bias": "middle_block.1.proj_out.bias",
    "up_blocks.0.resnets.2.conv1.weight": "output_blocks.2.0.in_layers.2.weight",
    "up_blocks.0.upsamplers.0.conv.weight": "output_blocks.2.1.conv.weight",
    "up_blocks.1.attentions.0.norm.weight": "output_blocks.3.1.norm.weight",
    "up_blocks.1.upsamplers.0.conv.bias": "output_blocks.5.2.conv.bias",
    "up_blocks.3.attentions.2.transformer_blocks.0.norm1.bias": "output_blocks.11.1.transformer_blocks.0.norm1.bias",
}


@pytest.mark.parametrize(("diffusers", "ldm"), PAIRS.items(), ids=PAIRS.values())
def test_known_pairs_translate_both_ways(diffusers: str, ldm: str) -> None:
    names = ldm_from_diffusers(sd2_shapes())
    assert names[diffusers] == ldm
    assert diffusers_from_ldm(set(names.values()))[ldm] == diffusers


@pytest.mark.parametrize("mode", "dg")
def test_diffusers_own_converter_reads_our_ldm_names(mode: str) -> None:
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    shapes = read_header(MINI[mode] / "unet" / WEIGHTS).shapes
    names = ldm_from_diffusers(shapes)
    checkpoint = {
        f"model.diffusion_model.{ldm}": torch.empty(shapes[key], device="meta") for key, ldm in names.items()
    }
    config = {"layers_per_block": 2, "class_embed_type": "projection", "addition_embed_type": None}
    converted = convert_ldm_unet_checkpoint(checkpoint, config)
    assert {key: tuple(value.shape) for key, value in converted.items()} == shapes


OTHERS = {
    "one layer, attention below": {
        "block_out_channels": (32, 64, 96),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "layers_per_block": 1,
    },
    "one level": {
        "block_out_channels": (32,),
        "down_block_types": ("CrossAttnDownBlock2D",),
        "up_block_types": ("CrossAttnUpBlock2D",),
        "layers_per_block": 3,
    },
    "two transformer layers": {
        "block_out_channels": (32, 64),
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        "transformer_layers_per_block": 2,
    },
}


@pytest.mark.parametrize("config", OTHERS.values(), ids=OTHERS.keys())
def test_every_key_has_one_name_and_comes_back(config: dict[str, object]) -> None:
    keys = unet_shapes(norm_num_groups=8, cross_attention_dim=16, attention_head_dim=4, **config).keys()
    names = ldm_from_diffusers(keys)
    assert names.keys() == set(keys)
    assert len(set(names.values())) == len(keys)
    assert diffusers_from_ldm(set(names.values())) == {ldm: key for key, ldm in names.items()}


def test_keys_of_no_known_layer_have_no_name() -> None:
    keys = [*PAIRS, "down_blocks.9.resnets.0.conv1.weight", "extra.weight", "conv_in"]
    assert {"extra.weight", "conv_in", "down_blocks.9.resnets.0.conv1.weight"}.isdisjoint(
        ldm_from_diffusers(keys)
    )


def test_numbers_beyond_any_model_name_nothing_and_cost_nothing() -> None:
    assert diffusers_from_ldm([f"input_blocks.{'9' * 5000}.0.op.weight"]) == {}
    assert diffusers_from_ldm(["input_blocks.999.0.op.weight", "conv_in.weight"]) == {}
    assert diffusers_from_ldm([f"input_blocks.{i}.0.op.weight" for i in range(1, 100)]) == {}
