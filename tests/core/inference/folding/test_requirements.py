from __future__ import annotations

import copy

import pytest
from diffusers import AutoencoderKL, UNet2DConditionModel

from lotus_core.errors import ArchitectureError, CheckpointError
from lotus_core.inference.folding.requirements import check_unet, check_vae


def test_lotus_networks_pass(double_unets, double_vae):
    for unet in double_unets.values():
        check_unet(unet)
    check_vae(double_vae)


def test_other_unet_blocks_are_refused_by_name():
    unet = UNet2DConditionModel(
        block_out_channels=(8, 8),
        down_block_types=("SimpleCrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "SimpleCrossAttnUpBlock2D"),
        norm_num_groups=4,
        attention_head_dim=2,
        cross_attention_dim=12,
        layers_per_block=1,
        class_embed_type="projection",
        projection_class_embeddings_input_dim=4,
    )
    with pytest.raises(
        ArchitectureError, match="found: SimpleCrossAttnDownBlock2D, SimpleCrossAttnUpBlock2D"
    ):
        check_unet(unet)


def test_other_vae_blocks_are_refused_by_name():
    vae = AutoencoderKL(
        block_out_channels=(8,),
        down_block_types=("AttnDownEncoderBlock2D",),
        up_block_types=("UpDecoderBlock2D",),
        norm_num_groups=4,
    )
    with pytest.raises(ArchitectureError, match=r"this VAE has another architecture.*AttnDownEncoderBlock2D"):
        check_vae(vae)


def test_scaled_residual_blocks_are_refused(double_unets):
    unet = copy.deepcopy(double_unets["d"])
    unet.mid_block.resnets[1].output_scale_factor = 2.0
    with pytest.raises(ArchitectureError, match=r"found: another kind at mid_block\.resnets\.1"):
        check_unet(unet)


def test_other_transformer_blocks_are_refused(double_unets):
    unet = copy.deepcopy(double_unets["d"])
    unet.mid_block.attentions[0].transformer_blocks[0].activation_fn = "gelu"
    with pytest.raises(CheckpointError, match="layer_norm, gelu in mid_block"):
        check_unet(unet)
