"""What network a file holds, told from its keys and shapes, never from its name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from ..conventions import LATENT_CHANNELS
from ..errors import ArchitectureError
from .architecture import TASK_LABEL_CHANNELS
from .header import Header, Shape
from .keys_unet import diffusers_from_ldm
from .keys_vae import PREFIX as VAE_PREFIX
from .keys_vae import stored_vae
from .stored import KeyFormat, StoredNetwork, StoredTensor

UNET_PREFIX: Final = "model.diffusion_model."
"""Prefix of the UNet's keys inside a full checkpoint."""

_COUNTERS: Final = ("model_ema.decay", "model_ema.num_updates")
_VAE_TRAINING: Final = ("loss.", "model_ema.")
"""Left over from training: counters of the moving average, and the VAE's discriminator. No layer reads them."""

_CHOOSE_UNET: Final = "choose the UNet of a Lotus checkpoint"
_CHOOSE_VAE: Final = "choose a Stable Diffusion VAE, such as vae-ft-mse-840000-ema-pruned.safetensors"


def find_unet(header: Header) -> StoredNetwork:
    """Return the Lotus UNet of a file, under diffusers' keys.

    Raises:
        ArchitectureError: The file holds something else; the error says what.
    """
    found = {key: shape for key, shape in header.shapes.items() if key not in _COUNTERS}
    name = header.path.name
    other = describe(found)
    if other is not None:
        raise ArchitectureError(
            f"{name} is not a Lotus UNet", path=header.path, found=other, remedy=_CHOOSE_UNET
        )
    keys: KeyFormat = "diffusers"
    if any(key.startswith(UNET_PREFIX) for key in found):
        keys = "ldm-prefixed"
    elif any(key.startswith("input_blocks.") for key in found):
        keys = "ldm"
    tensors = _stored_unet(found, keys)
    _require_lotus({key: tensor.shape for key, tensor in tensors.items()}, header)
    return StoredNetwork(header, keys, tensors)


def find_vae(header: Header) -> StoredNetwork:
    """Return the VAE of a file, under diffusers' keys of today.

    Raises:
        ArchitectureError: The file holds something else; the error says what.
    """
    found = {key: shape for key, shape in header.shapes.items() if not key.startswith(_VAE_TRAINING)}
    other = describe(found)
    if other != _VAE:
        raise ArchitectureError(
            f"{header.path.name} is not a VAE",
            path=header.path,
            found=other or "a UNet",
            remedy=_CHOOSE_VAE,
        )
    keys: KeyFormat = "diffusers"
    if any(key.startswith(VAE_PREFIX) for key in found):
        keys = "ldm-prefixed"
    elif "encoder.down_blocks.0.resnets.0.conv1.weight" not in found:
        keys = "ldm"
    bare = _without_prefix(found, VAE_PREFIX)
    stored = stored_vae({name: found[key] for name, key in bare.items()})
    tensors = {target: StoredTensor(bare[item.key], item.shape) for target, item in stored.items()}
    return StoredNetwork(header, keys, tensors)


def holds_vae(header: Header) -> bool:
    """Return whether a file holds a VAE, in diffusers' or LDM's keys."""
    return describe(header.shapes) == _VAE


_VAE: Final = "a VAE"


def describe(shapes: Mapping[str, Shape]) -> str | None:
    """Return what a set of weights is where it is no single UNet, or None where it may be one."""
    if not shapes:
        return "no tensors"
    if any(mark in key for key in shapes for mark in ("lora_", ".lora", "hada_w", "lokr_")):
        return "a LoRA, which only changes a model"
    if _any_starts(shapes, "control_model.", "controlnet_", "input_hint_block.", "zero_convs."):
        return "a ControlNet"
    has_unet = _any_starts(shapes, UNET_PREFIX)
    if has_unet and _any_starts(shapes, VAE_PREFIX, "cond_stage_model.", "conditioner.", "text_encoders."):
        return "a full checkpoint of UNet, VAE and text encoder in one file"
    if _any_starts(shapes, "double_blocks.", "joint_blocks.", "transformer_blocks.", f"{UNET_PREFIX}joint"):
        return "a diffusion transformer"
    prefix = VAE_PREFIX if _any_starts(shapes, VAE_PREFIX) else ""
    if f"{prefix}encoder.conv_in.weight" in shapes and f"{prefix}decoder.conv_in.weight" in shapes:
        return _VAE
    if _any_starts(shapes, "text_model.", "cond_stage_model.", "transformer.", "vision_model."):
        return "a text or image encoder"
    if not has_unet and not _any_starts(shapes, "input_blocks.", "down_blocks."):
        return f"{len(shapes)} tensors of an unknown network, the first {min(shapes)!r}"
    return None


def _any_starts(keys: Collection[str], *prefixes: str) -> bool:
    return any(key.startswith(prefixes) for key in keys)


def _stored_unet(found: Mapping[str, Shape], keys: KeyFormat) -> dict[str, StoredTensor]:
    if keys == "diffusers":
        return {key: StoredTensor(key, shape) for key, shape in found.items()}
    bare = _without_prefix(found, UNET_PREFIX)
    names = diffusers_from_ldm(bare)
    stored: dict[str, StoredTensor] = {}
    for key, original in bare.items():
        target = names.get(key, key)
        stored[target if target not in stored else f"{original} (again)"] = StoredTensor(
            original, found[original]
        )
    return stored


def _without_prefix(keys: Collection[str], prefix: str) -> dict[str, str]:
    """Return the key of each bare name; a key whose bare name another one has keeps its prefix, and is not lost."""
    names = ((key.removeprefix(prefix), key) for key in keys)
    return {key if name != key and name in keys else name: key for name, key in names}


def _require_lotus(shapes: Mapping[str, Shape], header: Header) -> None:
    """Refuse a UNet of another model, by its input, context and class label."""
    label = shapes.get("class_embedding.linear_1.weight", ())
    context = shapes.get("mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight", (0, 0))
    inputs = shapes.get("conv_in.weight", (0, 0))
    width = context[-1] if context else 0
    channels = inputs[1] if len(inputs) > 1 else 0
    allowed = (LATENT_CHANNELS, 2 * LATENT_CHANNELS)
    if "add_embedding.linear_1.weight" in shapes or width == 2048:
        found = "an SDXL UNet"
    elif channels not in allowed:
        found = f"a UNet of {channels} input channels; Lotus has 4 (discriminative) or 8 (generative)"
    elif len(label) != 2:
        found = f"{_PLAIN.get(width, f'a UNet of cross-attention width {width}')} without Lotus's task switch"
    elif label[1] != TASK_LABEL_CHANNELS:
        found = (
            f"a UNet with a class label of {label[1]} channels; Lotus's task switch has {TASK_LABEL_CHANNELS}"
        )
    else:
        return
    raise ArchitectureError(
        f"{header.path.name} is not a Lotus UNet", path=header.path, found=found, remedy=_CHOOSE_UNET
    )


_PLAIN: Final = {
    768: "a Stable Diffusion 1 UNet (cross-attention width 768)",
    1024: "a Stable Diffusion 2 UNet (cross-attention width 1024)",
}
