"""Checkpoints for tests, made from the bundled ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save, save_file

BUNDLED = Path(__file__).parents[1] / "lotus_core" / "data" / "lotus-tiny"


def published_files() -> dict[str, bytes]:
    """Files of a repository laid out as a published one: the bundled depth model, with a prompt 1024 wide.

    There is no prompt embedding among them, as in the published ones.
    """
    source = BUNDLED / "lotus-tiny-depth-d" / "unet"
    weights = load_file(source / "diffusion_pytorch_model.safetensors")
    generator = torch.Generator().manual_seed(2)
    for key, tensor in weights.items():
        if key.endswith(("attn2.to_k.weight", "attn2.to_v.weight")):
            wide = torch.randn((tensor.shape[0], 1024), generator=generator) * 0.01
            weights[key] = wide.to(tensor.dtype)
    config = json.loads((source / "config.json").read_text(encoding="utf-8")) | {"cross_attention_dim": 1024}
    vae = BUNDLED / "vae"
    return {
        "unet/diffusion_pytorch_model.safetensors": save(weights),
        "unet/config.json": json.dumps(config).encode(),
        "vae/diffusion_pytorch_model.safetensors": (
            BUNDLED / "vae" / "diffusion_pytorch_model.safetensors"
        ).read_bytes(),
        "vae/config.json": (vae / "config.json").read_bytes(),
    }


def write_generative_depth(folder: Path, noise_gain: float = 0.15) -> Path:
    """Write a generative disparity checkpoint: the bundled one, whose input convolution also hears noise.

    It gives the bundled model's map, another one for each noise, so that an ensemble has something to merge. A
    folder that is there already is left as it is.
    """
    if folder.exists():
        return folder
    source = BUNDLED / "lotus-tiny-depth-d" / "unet"
    (folder / "unet").mkdir(parents=True)
    weights = load_file(source / "diffusion_pytorch_model.safetensors")
    conv_in = weights["conv_in.weight"]
    weights["conv_in.weight"] = torch.cat([conv_in, conv_in.flip(1) * noise_gain], dim=1).contiguous()
    save_file(weights, folder / "unet" / "diffusion_pytorch_model.safetensors")
    config = json.loads((source / "config.json").read_text(encoding="utf-8")) | {"in_channels": 8}
    (folder / "unet" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    shutil.copytree(BUNDLED / "vae", folder / "vae")
    shutil.copy(BUNDLED / "prompt_embeds.safetensors", folder)
    return folder


def write_overflowing_depth(folder: Path) -> Path:
    """Write the bundled depth model with a decoder that passes through numbers beyond 65504, fp16's largest.

    A convolution gives up to 60000 times as much; the normalisation that follows takes the factor out again. So in
    fp32 the map is the bundled model's, while the weights themselves fit fp16.
    """
    shutil.copytree(BUNDLED / "lotus-tiny-depth-d", folder, dirs_exist_ok=True)
    shutil.copytree(BUNDLED / "vae", folder / "vae", dirs_exist_ok=True)
    shutil.copy(BUNDLED / "prompt_embeds.safetensors", folder)
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights = {name: tensor.float() for name, tensor in load_file(file).items()}
    names = [f"decoder.up_blocks.1.resnets.0.conv1.{kind}" for kind in ("weight", "bias")]
    factor = 6.0e4 / max(weights[name].abs().max().item() for name in names)
    save_file(weights | {name: weights[name] * factor for name in names}, file)
    return folder
