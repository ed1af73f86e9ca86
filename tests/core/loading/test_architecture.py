"""Sizes of UNets and VAEs, read from shapes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lotus_core.errors import ArchitectureError
from lotus_core.loading.architecture import unet_architecture
from lotus_core.loading.bundled import BUNDLED, bundled_files
from lotus_core.loading.header import read_header
from lotus_core.loading.modules import empty_unet
from lotus_core.loading.networks import read_unet
from lotus_core.loading.vae_architecture import vae_architecture

from .samples import MINI, WEIGHTS, sd2_shapes, sd_vae_shapes, sparse_file, unet_shapes


@pytest.mark.parametrize(("mode", "channels", "parameters"), [("d", 4, 867_556_804), ("g", 8, 867_568_324)])
def test_a_full_size_header_gives_stable_diffusion_2s_architecture(
    tmp_path: Path, mode: str, channels: int, parameters: int
) -> None:
    # 865,910,724 weights of Stable Diffusion 2's UNet, 1,646,080 of the class embedding (4 x 1280 + 1280 + 1280^2 +
    # 1280), and 4 x 320 x 9 more where noise comes in.
    file = read_unet(sparse_file(tmp_path / "unet.safetensors", sd2_shapes(mode)))
    architecture = file.architecture
    assert architecture.mode == mode
    assert architecture.in_channels == channels
    assert architecture.block_out_channels == (320, 640, 1280, 1280)
    assert architecture.layers_per_block == 2
    assert architecture.attention == (True, True, True, False)
    assert architecture.transformer_layers == (1, 1, 1, 1)
    assert architecture.cross_attention_dim == 1024
    assert architecture.linear_projection
    assert file.settings["attention_head_dim"] == (5, 10, 20, 20)
    assert file.settings["norm_num_groups"] == 32
    unet = empty_unet(file)
    assert sum(weight.numel() for weight in unet.parameters()) == parameters
    # Heads are 64 wide at every level: the same on the way down, in the middle and on the way up.
    heads = [block.attentions[0].transformer_blocks[0].attn1.heads for block in unet.down_blocks[:3]]
    assert heads == [5, 10, 20]
    assert unet.mid_block.attentions[0].transformer_blocks[0].attn1.heads == 20
    assert [block.attentions[0].transformer_blocks[0].attn2.heads for block in unet.up_blocks[1:]] == [
        20,
        10,
        5,
    ]


@pytest.mark.parametrize("folder", [MINI["d"], MINI["g"], *BUNDLED], ids=str)
def test_what_the_shapes_say_is_what_the_checkpoints_own_config_says(folder: Path | str) -> None:
    unet = folder / "unet" / WEIGHTS if isinstance(folder, Path) else bundled_files(folder).unet
    config = json.loads(unet.with_name("config.json").read_text())
    read = json.loads(json.dumps(unet_architecture(read_header(unet).shapes, unet.name).config()))
    layers, written = read.pop("transformer_layers_per_block"), config["transformer_layers_per_block"]
    assert layers == (written if isinstance(written, list) else [written] * len(layers))
    assert read == {key: config[key] for key in read}


UNUSUAL = {
    "two levels, one layer": {
        "block_out_channels": (32, 64),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "layers_per_block": 1,
    },
    "attention at the deepest level alone": {
        "block_out_channels": (32, 64, 96),
        "down_block_types": ("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        "layers_per_block": 3,
    },
    "transformers of several layers": {
        "block_out_channels": (32, 64, 64),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 3),
        "use_linear_projection": True,
    },
}


@pytest.mark.parametrize("config", UNUSUAL.values(), ids=UNUSUAL.keys())
def test_every_width_and_depth_is_read_back(config: dict[str, object]) -> None:
    shared = {
        "cross_attention_dim": 24,
        "norm_num_groups": 8,
        "attention_head_dim": 4,
        "class_embed_type": "projection",
        "projection_class_embeddings_input_dim": 4,
    }
    shapes = unet_shapes(**shared, **config)
    read = unet_architecture(shapes, "x").config()
    assert all(read[key] == value for key, value in config.items())
    assert unet_shapes(**{**shared, **read}) == shapes


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("conv_in.weight", "no conv_in.weight"),
        ("down_blocks.0.resnets.0.conv1.weight", "no down_blocks"),
        ("mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight", "no mid_block.attentions.0"),
    ],
)
def test_a_unet_without_a_telling_tensor_is_named_incomplete(key: str, found: str) -> None:
    shapes = {name: shape for name, shape in sd2_shapes().items() if name != key}
    with pytest.raises(ArchitectureError, match=r"half\.safetensors is not a complete Lotus UNet") as caught:
        unet_architecture(shapes, "half.safetensors")
    assert found in str(caught.value.found)


def test_a_tensor_of_impossible_rank_is_named() -> None:
    with pytest.raises(ArchitectureError, match=r"conv_in.weight of shape \[320\]"):
        unet_architecture(sd2_shapes() | {"conv_in.weight": (320,)}, "x")


def test_stable_diffusions_vae_is_read_from_its_shapes() -> None:
    vae = vae_architecture(sd_vae_shapes(), "vae")
    assert vae.block_out_channels == (128, 256, 512, 512)
    assert vae.layers_per_block == 2
    assert vae.mid_attention
    assert vae.quant_conv
    assert vae.post_quant_conv


def test_a_vae_without_attention_and_with_fewer_layers_is_read() -> None:
    folder = bundled_files("lotus-tiny-depth-d").vae
    assert folder is not None
    config = json.loads((folder / "config.json").read_text())
    vae = vae_architecture(read_header(folder / WEIGHTS).shapes, "vae")
    assert list(vae.block_out_channels) == config["block_out_channels"]
    assert vae.layers_per_block == config["layers_per_block"] == 1
    assert vae.mid_attention is config["mid_block_add_attention"] is False
    assert vae.config()["mid_block_add_attention"] is False


def test_arguments_that_older_versions_lack_are_named_only_where_they_matter() -> None:
    assert "use_quant_conv" not in vae_architecture(sd_vae_shapes(), "vae").config()
    bare = {
        key: shape for key, shape in sd_vae_shapes().items() if not key.startswith(("quant", "post_quant"))
    }
    assert vae_architecture(bare, "vae").config()["use_quant_conv"] is False
    assert vae_architecture(bare, "vae").config()["use_post_quant_conv"] is False


def test_a_vae_of_16_latent_channels_is_refused() -> None:
    with pytest.raises(ArchitectureError, match=r"16 latent channels.*SD3, Flux or video models differ"):
        vae_architecture(sd_vae_shapes(16), "ae.safetensors")


def test_a_vae_without_its_decoder_is_refused() -> None:
    half = {key: shape for key, shape in sd_vae_shapes().items() if not key.startswith("decoder")}
    with pytest.raises(ArchitectureError, match="no encoder and decoder"):
        vae_architecture(half, "half.safetensors")
