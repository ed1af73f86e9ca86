"""Names of a VAE's weights: diffusers' of today, diffusers' until 2023, and the original latent diffusion code's.

LDM counts the decoder's levels from the finest, diffusers from the deepest, so the number of levels is needed.
LDM's attention projects with 1x1 convolutions, (C, C, 1, 1); diffusers with linear layers, (C, C).

Source: ldm/modules/diffusionmodules/model.py of github.com/Stability-AI/stablediffusion.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

from .header import Shape
from .stored import StoredTensor

PREFIX: Final = "first_stage_model."
"""Prefix of the VAE's keys inside a full checkpoint."""

_ATTENTION: Final = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
_OLD_ATTENTION: Final = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}

_LEVEL = re.compile(
    r"(encoder|decoder)\.(down|up)\.(\d{1,2})\.(block\.(\d{1,2})\.(\w+)|(?:down|up)sample\.conv)\.(\w+)"
)
_MID = re.compile(r"(encoder|decoder)\.mid\.(block_([12])\.(\w+)|attn_1\.(\w+))\.(\w+)")
_OLD = re.compile(r"(.+\.mid_block\.attentions\.0)\.(query|key|value|proj_attn)\.(\w+)")


def stored_vae(shapes: Mapping[str, Shape]) -> dict[str, StoredTensor]:
    """Return a VAE's tensors under diffusers' keys.

    Args:
        shapes: Shape by key of the file, without `PREFIX`; either naming.

    Returns:
        Every tensor, those of unknown layers under their own keys.
    """
    levels = _levels(shapes)
    stored: dict[str, StoredTensor] = {}
    for key, shape in shapes.items():
        target = _diffusers_key(key, levels)
        if ".mid_block.attentions.0.to_" in target and len(shape) == 4 and shape[2:] == (1, 1):
            shape = shape[:2]
        stored[target if target not in stored else f"{key} (again)"] = StoredTensor(key, shape)
    return stored


def ldm_vae_key(key: str, levels: int) -> str:
    """Return the LDM key of a diffusers key of today.

    >>> ldm_vae_key("decoder.up_blocks.0.resnets.2.conv1.weight", levels=4)
    'decoder.up.3.block.2.conv1.weight'
    """
    half, _, rest = key.partition(".")
    if match := re.fullmatch(
        r"(down|up)_blocks\.(\d+)\.(resnets\.(\d+)\.(\w+)|\w+samplers\.0\.conv)\.(\w+)", rest
    ):
        way, index, _, block, layer, kind = match.groups()
        level = int(index) if way == "down" else levels - 1 - int(index)
        layer = {"conv_shortcut": "nin_shortcut"}.get(layer, layer)
        part = f"{way}sample.conv" if block is None else f"block.{block}.{layer}"
        return f"{half}.{way}.{level}.{part}.{kind}"
    if match := re.fullmatch(r"mid_block\.resnets\.([01])\.(\w+)\.(\w+)", rest):
        layer = {"conv_shortcut": "nin_shortcut"}.get(match[2], match[2])
        return f"{half}.mid.block_{int(match[1]) + 1}.{layer}.{match[3]}"
    if match := re.fullmatch(r"mid_block\.attentions\.0\.(.+)\.(\w+)", rest):
        names = {ours: theirs for theirs, ours in _ATTENTION.items()}
        return f"{half}.mid.attn_1.{names.get(match[1], match[1])}.{match[2]}"
    return f"{half}.{rest.replace('conv_norm_out.', 'norm_out.')}" if rest else key


def is_ldm_projection(ldm_key: str) -> bool:
    """Return whether LDM stores this weight as a 1x1 convolution where diffusers has a linear layer."""
    return re.fullmatch(r"(encoder|decoder)\.mid\.attn_1\.(q|k|v|proj_out)\.weight", ldm_key) is not None


def _levels(keys: Collection[str]) -> int:
    return len({match[3] for key in keys if (match := _LEVEL.fullmatch(key)) and match[2] == "up"})


def _diffusers_key(key: str, levels: int) -> str:
    if match := _LEVEL.fullmatch(key):
        half, way, level, _, block, layer, kind = match.groups()
        index = int(level) if way == "down" else levels - 1 - int(level)
        layer = {"nin_shortcut": "conv_shortcut"}.get(layer, layer)
        part = f"{way}samplers.0.conv" if block is None else f"resnets.{block}.{layer}"
        return f"{half}.{way}_blocks.{index}.{part}.{kind}"
    if match := _MID.fullmatch(key):
        half, _, block, layer, projection, kind = match.groups()
        if block is not None:
            layer = {"nin_shortcut": "conv_shortcut"}.get(layer, layer)
            return f"{half}.mid_block.resnets.{int(block) - 1}.{layer}.{kind}"
        return f"{half}.mid_block.attentions.0.{_ATTENTION.get(projection, projection)}.{kind}"
    if match := _OLD.fullmatch(key):
        return f"{match[1]}.{_OLD_ATTENTION[match[2]]}.{match[3]}"
    return re.sub(r"^(encoder|decoder)\.norm_out\.", r"\1.conv_norm_out.", key)
