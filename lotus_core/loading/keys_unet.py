"""Names of a UNet's weights: diffusers' and those of the original latent diffusion code (LDM).

LDM numbers the blocks of both sides through all levels. With L layers per level, level i's layer j is
``input_blocks.{1 + i (L+1) + j}`` on the way down and ``output_blocks.{i (L+1) + j}`` on the way up; inside a
block, part 0 is the ResNet block, part 1 the attention, and the last part the resampling convolution.

Source: ldm/modules/diffusionmodules/openaimodel.py of github.com/Stability-AI/stablediffusion.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

_FIXED: Final = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "class_embedding.linear_1": "label_emb.0.0",
    "class_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}

_RESNET: Final = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}

_DOWNSAMPLER = re.compile(r"input_blocks\.(\d{1,3})\.0\.op\.weight")
_INPUT_BLOCK = re.compile(r"input_blocks\.(\d{1,3})\.")

_MOST_LEVELS: Final = 16
_MOST_LAYERS: Final = 64
"""Bounds on what a file's names may ask for; a Lotus UNet has 4 levels of 2 layers."""


@dataclass(frozen=True)
class _Plan:
    """Number of levels, of layers per level, and which levels have attention, finest first."""

    levels: int
    layers: int
    attention: tuple[bool, ...]


def ldm_from_diffusers(keys: Collection[str]) -> dict[str, str]:
    """Return the LDM key of each diffusers key that has one.

    >>> ldm_from_diffusers(["conv_in.weight", "down_blocks.0.resnets.0.conv1.weight"])["conv_in.weight"]
    'input_blocks.0.0.weight'
    """
    levels = layers = 0
    while f"down_blocks.{levels}.resnets.0.conv1.weight" in keys:
        levels += 1
    while f"down_blocks.0.resnets.{layers}.conv1.weight" in keys:
        layers += 1
    attention = tuple(f"down_blocks.{i}.attentions.0.norm.weight" in keys for i in range(levels))
    return _translate(keys, dict(_modules(_Plan(levels, layers, attention))))


def diffusers_from_ldm(keys: Collection[str]) -> dict[str, str]:
    """Return the diffusers key of each LDM key (without any prefix) that has one.

    >>> diffusers_from_ldm(["input_blocks.0.0.bias", "input_blocks.1.0.in_layers.2.weight"])["input_blocks.0.0.bias"]
    'conv_in.bias'
    """
    ends = sorted(int(match[1]) for key in keys if (match := _DOWNSAMPLER.fullmatch(key)))
    blocks = 1 + max((int(match[1]) for key in keys if (match := _INPUT_BLOCK.match(key))), default=0)
    levels = len(ends) + 1
    layers = ends[0] - 1 if ends else blocks - 1
    if levels > _MOST_LEVELS or layers > _MOST_LAYERS:
        return {}
    attention = tuple(f"input_blocks.{1 + i * (layers + 1)}.1.norm.weight" in keys for i in range(levels))
    plan = _Plan(levels, layers, attention)
    return _translate(keys, {ldm: diffusers for diffusers, ldm in _modules(plan)})


def _translate(keys: Collection[str], modules: dict[str, str]) -> dict[str, str]:
    """Rename every key whose longest known module prefix is in `modules`."""
    renamed: dict[str, str] = {}
    for key in keys:
        parts = key.split(".")
        for end in range(len(parts) - 1, 0, -1):
            target = modules.get(".".join(parts[:end]))
            if target is not None:
                renamed[key] = ".".join([target, *parts[end:]])
                break
    return renamed


def _modules(plan: _Plan) -> Iterator[tuple[str, str]]:
    """Yield (diffusers, LDM) names of every module that is named differently, or that holds one which is."""
    yield from _FIXED.items()
    yield from _resnet("mid_block.resnets.0", "middle_block.0")
    yield "mid_block.attentions.0", "middle_block.1"
    yield from _resnet("mid_block.resnets.1", "middle_block.2")
    per_level = plan.layers + 1
    for i in range(plan.levels):
        first = 1 + i * per_level
        for j in range(plan.layers):
            yield from _resnet(f"down_blocks.{i}.resnets.{j}", f"input_blocks.{first + j}.0")
            yield f"down_blocks.{i}.attentions.{j}", f"input_blocks.{first + j}.1"
        yield f"down_blocks.{i}.downsamplers.0.conv", f"input_blocks.{first + plan.layers}.0.op"
        for j in range(per_level):
            yield from _resnet(f"up_blocks.{i}.resnets.{j}", f"output_blocks.{i * per_level + j}.0")
            yield f"up_blocks.{i}.attentions.{j}", f"output_blocks.{i * per_level + j}.1"
        part = 2 if plan.attention[plan.levels - 1 - i] else 1
        yield f"up_blocks.{i}.upsamplers.0.conv", f"output_blocks.{i * per_level + plan.layers}.{part}.conv"


def _resnet(diffusers: str, ldm: str) -> Iterator[tuple[str, str]]:
    for ours, theirs in _RESNET.items():
        yield f"{diffusers}.{ours}", f"{ldm}.{theirs}"
