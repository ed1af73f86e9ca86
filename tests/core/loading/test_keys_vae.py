"""Older and LDM's names of a VAE's weights."""

from __future__ import annotations

import pytest
import torch

from lotus_core.loading.header import read_header
from lotus_core.loading.keys_vae import is_ldm_projection, ldm_vae_key, stored_vae

from .samples import MINI, WEIGHTS, sd_vae_shapes

# By hand from vae-ft-mse-840000-ema-pruned.safetensors and sd-vae-ft-mse's diffusers file.
PAIRS = {
    "encoder.conv_in.weight": "encoder.conv_in.weight",
    "encoder.conv_norm_out.bias": "encoder.norm_out.bias",
    "encoder.conv_out.weight": "encoder.conv_out.weight",
    "encoder.down_blocks.0.resnets.1.norm2.weight": "encoder.down.0.block.1.norm2.weight",
    "encoder.down_blocks.1.resnets.0.conv_shortcut.weight": "encoder.down.1.block.0.nin_shortcut.weight",
    "encoder.down_blocks.2.downsamplers.0.conv.bias": "encoder.down.2.downsample.conv.bias",
    "encoder.mid_block.resnets.0.conv1.weight": "encoder.mid.block_1.conv1.weight",
    "encoder.mid_block.resnets.1.conv2.bias": "encoder.mid.block_2.conv2.bias",
    "encoder.mid_block.attentions.0.group_norm.weight": "encoder.mid.attn_1.norm.weight",
    "encoder.mid_block.attentions.0.to_q.weight": "encoder.mid.attn_1.q.weight",
    "decoder.mid_block.attentions.0.to_k.bias": "decoder.mid.attn_1.k.bias",
    "decoder.mid_block.attentions.0.to_v.weight": "decoder.mid.attn_1.v.weight",
    "decoder.mid_block.attentions.0.to_out.0.weight": "decoder.mid.attn_1.proj_out.weight",
    "decoder.up_blocks.0.resnets.2.conv1.weight": "decoder.up.3.block.2.conv1.weight",
    "decoder.up_blocks.3.resnets.0.norm1.bias": "decoder.up.0.block.0.norm1.bias",
    "decoder.up_blocks.2.resnets.0.conv_shortcut.weight": "decoder.up.1.block.0.nin_shortcut.weight",
    "decoder.up_blocks.0.upsamplers.0.conv.weight": "decoder.up.3.upsample.conv.weight",
    "decoder.conv_norm_out.weight": "decoder.norm_out.weight",
    "quant_conv.weight": "quant_conv.weight",
    "post_quant_conv.bias": "post_quant_conv.bias",
}


def ldm_shapes(shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The same VAE as LDM stores it: its attention projects with 1x1 convolutions."""
    renamed = {ldm_vae_key(key, levels=4): shape for key, shape in shapes.items()}
    return {key: (*shape, 1, 1) if is_ldm_projection(key) else shape for key, shape in renamed.items()}


@pytest.mark.parametrize(("diffusers", "ldm"), PAIRS.items(), ids=PAIRS.values())
def test_known_pairs_translate_both_ways(diffusers: str, ldm: str) -> None:
    assert ldm_vae_key(diffusers, levels=4) == ldm
    stored = stored_vae(ldm_shapes(sd_vae_shapes()))
    assert stored[diffusers].key == ldm
    assert stored[diffusers].shape == sd_vae_shapes()[diffusers]


def test_every_key_and_shape_comes_back() -> None:
    shapes = sd_vae_shapes()
    stored = stored_vae(ldm_shapes(shapes))
    assert {key: tensor.shape for key, tensor in stored.items()} == shapes


def test_diffusers_own_converter_reads_our_ldm_names() -> None:
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    shapes = read_header(MINI["d"] / "vae" / WEIGHTS).shapes
    checkpoint = {key: torch.empty(shape, device="meta") for key, shape in ldm_shapes(shapes).items()}
    config = {"down_block_types": [""] * 4, "up_block_types": [""] * 4}
    converted = convert_ldm_vae_checkpoint(checkpoint, config)
    assert {key: tuple(value.shape) for key, value in converted.items()} == shapes


def test_names_of_diffusers_before_2023_are_those_of_today() -> None:
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    shapes = sd_vae_shapes()
    aged = {}
    for key, shape in shapes.items():
        for today, former in old.items():
            key = key.replace(f"attentions.0.{today}.", f"attentions.0.{former}.")
        aged[key] = shape
    assert aged.keys() != shapes.keys()
    assert {key: tensor.shape for key, tensor in stored_vae(aged).items()} == shapes


def test_keys_of_today_stay_as_they_are() -> None:
    stored = stored_vae(sd_vae_shapes())
    assert all(key == tensor.key for key, tensor in stored.items())


def test_a_tensor_under_two_names_is_not_lost() -> None:
    stored = stored_vae({"encoder.norm_out.bias": (4,), "encoder.conv_norm_out.bias": (4,)})
    assert {tensor.key for tensor in stored.values()} == {
        "encoder.norm_out.bias",
        "encoder.conv_norm_out.bias",
    }


def test_keys_of_no_known_layer_keep_their_name() -> None:
    keys = ["encoder.down.0.block.0.strange.weight.x", "decoder.up.123.block.0.conv1.weight", "other"]
    assert set(stored_vae(dict.fromkeys(keys, (1,)))) == set(keys)
