"""What a file holds, told from its keys and shapes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from lotus_core.errors import ArchitectureError
from lotus_core.loading.detect import describe, find_unet, find_vae, holds_vae
from lotus_core.loading.header import Shape, read_header
from lotus_core.loading.keys_unet import ldm_from_diffusers
from lotus_core.loading.keys_vae import ldm_vae_key

from .samples import MINI, WEIGHTS, sd2_shapes, sd_vae_shapes, sparse_file, unet_shapes

Shapes = dict[str, Shape]


@functools.cache
def sd1() -> Shapes:
    return plain(768)


def in_ldm(shapes: Shapes, prefix: str = "") -> Shapes:
    names = ldm_from_diffusers(shapes)
    return {prefix + names.get(key, key): shape for key, shape in shapes.items()}


def vae_in_ldm(prefix: str = "") -> Shapes:
    return {prefix + ldm_vae_key(key, 4): shape for key, shape in sd_vae_shapes().items()}


def plain(cross_attention_dim: int, **config: object) -> Shapes:
    """A UNet of Stable Diffusion's widths without Lotus's task switch."""
    return unet_shapes(cross_attention_dim=cross_attention_dim, attention_head_dim=8, **config)


def sdxl() -> Shapes:
    return unet_shapes(
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        attention_head_dim=(5, 10, 20),
        cross_attention_dim=2048,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )


def controlnet() -> Shapes:
    import torch
    from diffusers import ControlNetModel

    with torch.device("meta"):
        model = ControlNetModel(cross_attention_dim=768)
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}


@pytest.mark.parametrize("mode", "dg")
@pytest.mark.parametrize(("keys", "prefix"), [("ldm", ""), ("ldm-prefixed", "model.diffusion_model.")])
def test_a_unet_in_ldm_keys_is_found_under_diffusers_keys(
    tmp_path: Path, mode: str, keys: str, prefix: str
) -> None:
    shapes = sd2_shapes(mode)
    stored = find_unet(read_header(sparse_file(tmp_path / "x.safetensors", in_ldm(shapes, prefix))))
    assert stored.keys == keys
    assert stored.shapes == shapes
    assert stored.tensors["conv_in.weight"].key == f"{prefix}input_blocks.0.0.weight"


def test_a_unet_in_diffusers_keys_is_found_as_it_is() -> None:
    header = read_header(MINI["g"] / "unet" / WEIGHTS)
    stored = find_unet(header)
    assert stored.keys == "diffusers"
    assert stored.shapes == header.shapes


def test_counters_of_the_moving_average_are_harmless(tmp_path: Path) -> None:
    shapes = in_ldm(sd2_shapes(), "model.diffusion_model.") | {
        "model_ema.decay": (),
        "model_ema.num_updates": (),
    }
    assert find_unet(read_header(sparse_file(tmp_path / "x.safetensors", shapes))).shapes == sd2_shapes()


def test_a_strange_key_is_kept_so_that_a_strict_load_lists_it(tmp_path: Path) -> None:
    shapes = in_ldm(sd2_shapes()) | {"input_blocks.1.0.strange": (1,), "conv_in.weight": (320, 4, 3, 3)}
    stored = find_unet(read_header(sparse_file(tmp_path / "x.safetensors", shapes)))
    assert {"input_blocks.1.0.strange"} <= {tensor.key for tensor in stored.tensors.values()}
    assert len(stored.tensors) == len(shapes)


def test_a_key_that_stands_with_and_without_the_prefix_is_not_lost(tmp_path: Path) -> None:
    prefix = "model.diffusion_model."
    shapes = in_ldm(sd2_shapes(), prefix) | {"input_blocks.0.0.bias": (320,)}
    stored = find_unet(read_header(sparse_file(tmp_path / "x.safetensors", shapes)))
    assert {tensor.key for tensor in stored.tensors.values()} == shapes.keys()
    both = vae_in_ldm("first_stage_model.") | {"encoder.conv_in.bias": (128,)}
    stored = find_vae(read_header(sparse_file(tmp_path / "y.safetensors", both)))
    assert {tensor.key for tensor in stored.tensors.values()} == both.keys()


NOT_UNETS: dict[str, tuple[Callable[[], Shapes], str]] = {
    "Stable Diffusion 1": (sd1, "a Stable Diffusion 1 UNet (cross-attention width 768) without"),
    "Stable Diffusion 1 in LDM keys": (
        lambda: in_ldm(sd1(), "model.diffusion_model."),
        "a Stable Diffusion 1 UNet",
    ),
    "Stable Diffusion 2": (
        lambda: plain(1024),
        "a Stable Diffusion 2 UNet (cross-attention width 1024) without",
    ),
    "an unclip UNet": (
        lambda: sd2_shapes(projection_class_embeddings_input_dim=2048),
        "a class label of 2048 channels; Lotus's task switch has 4",
    ),
    "SDXL": (sdxl, "an SDXL UNet"),
    "an inpainting UNet": (
        lambda: plain(1024, in_channels=9),
        "9 input channels; Lotus has 4 (discriminative) or 8 (generative)",
    ),
    "a ControlNet": (controlnet, "a ControlNet"),
    "a ControlNet in LDM keys": (
        lambda: {"control_model.input_hint_block.0.weight": (16, 3, 3, 3)},
        "a ControlNet",
    ),
    "a VAE": (sd_vae_shapes, "a VAE"),
    "a VAE in LDM keys": (lambda: vae_in_ldm("first_stage_model."), "a VAE"),
    "a LoRA": (
        lambda: {"lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight": (320, 4)},
        "a LoRA, which only changes a model",
    ),
    "a LoRA in PEFT's keys": (
        lambda: {"unet.down_blocks.0.attentions.0.to_q.lora_A.weight": (4, 320)},
        "a LoRA",
    ),
    "a full checkpoint": (
        lambda: in_ldm(sd1(), "model.diffusion_model.") | vae_in_ldm("first_stage_model."),
        "a full checkpoint of UNet, VAE and text encoder in one file",
    ),
    "a transformer": (
        lambda: {"double_blocks.0.img_attn.qkv.weight": (9216, 3072)},
        "a diffusion transformer",
    ),
    "a text encoder": (
        lambda: {"text_model.final_layer_norm.weight": (768,)},
        "a text or image encoder",
    ),
    "an embedding": (
        lambda: {"emb_params": (2, 768)},
        "1 tensors of an unknown network, the first 'emb_params'",
    ),
    "nothing": (dict, "no tensors"),
}


@pytest.mark.parametrize(("shapes", "found"), NOT_UNETS.values(), ids=NOT_UNETS.keys())
def test_what_is_no_lotus_unet_is_told_by_what_it_is(
    tmp_path: Path, shapes: Callable[[], Shapes], found: str
) -> None:
    path = sparse_file(tmp_path / "chosen.safetensors", shapes())
    with pytest.raises(ArchitectureError, match=r"chosen\.safetensors is not a Lotus UNet") as caught:
        find_unet(read_header(path))
    assert found in str(caught.value)
    assert "choose the UNet of a Lotus checkpoint" in str(caught.value)
    assert caught.value.path == path


@pytest.mark.parametrize(("prefix", "keys"), [("", "ldm"), ("first_stage_model.", "ldm-prefixed")])
def test_a_vae_in_ldm_keys_is_found_under_diffusers_keys(tmp_path: Path, prefix: str, keys: str) -> None:
    header = read_header(sparse_file(tmp_path / "x.safetensors", vae_in_ldm(prefix)))
    stored = find_vae(header)
    assert stored.keys == keys
    assert stored.shapes == sd_vae_shapes()
    assert holds_vae(header)


def test_left_overs_of_a_vaes_training_are_harmless(tmp_path: Path) -> None:
    shapes = vae_in_ldm() | {
        "loss.logvar": (),
        "loss.discriminator.main.0.weight": (64, 3, 4, 4),
        "model_ema.decay": (),
    }
    assert find_vae(read_header(sparse_file(tmp_path / "x.safetensors", shapes))).shapes == sd_vae_shapes()


NOT_VAES: dict[str, tuple[Callable[[], Shapes], str]] = {
    "Lotus": (sd2_shapes, "a UNet"),
    "Lotus in LDM keys": (lambda: in_ldm(sd2_shapes(), "model.diffusion_model."), "a UNet"),
    "Stable Diffusion 1": (sd1, "a UNet"),
    "a ControlNet": (controlnet, "a ControlNet"),
    "unknown": (lambda: {"x": (1,)}, "1 tensors of an unknown network"),
    "nothing": (dict, "no tensors"),
}


@pytest.mark.parametrize(("shapes", "found"), NOT_VAES.values(), ids=NOT_VAES.keys())
def test_what_is_no_vae_is_told_by_what_it_is(
    tmp_path: Path, shapes: Callable[[], Shapes], found: str
) -> None:
    header = read_header(sparse_file(tmp_path / "chosen.safetensors", shapes()))
    with pytest.raises(ArchitectureError, match=r"chosen\.safetensors is not a VAE") as caught:
        find_vae(header)
    assert caught.value.found is not None
    assert caught.value.found.startswith(found)
    assert "choose a Stable Diffusion VAE, such as vae-ft-mse-840000-ema-pruned.safetensors" in str(
        caught.value
    )
    assert not holds_vae(header)


def test_a_lotus_unet_needs_no_description() -> None:
    assert describe(sd2_shapes()) is None
