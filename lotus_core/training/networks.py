"""The networks that training starts from: those of a checkpoint, or random ones of any size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from torch import Tensor, nn

from ..conventions import LATENT_CHANNELS, Mode
from ..errors import CheckpointError, StateDictError
from ..loading.files import checkpoint_files
from ..loading.prompt import prompt_embedding, read_prompt, require_width
from .config import Start

_PROMPT_TOKENS = 2
"""BOS and EOS: the empty prompt."""


@dataclass(frozen=True)
class StartingParts:
    """Networks before training.

    Attributes:
        unet: With the mode's input channels and the task switcher's class embedding, float32.
        vae: Frozen, float32.
        prompt_embeds: (1, T, C) float32, the constant context.
    """

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    prompt_embeds: Tensor


def starting_parts(start: Start, mode: Mode, seed: int) -> StartingParts:
    """Return the networks that a config starts from.

    Args:
        start: Which.
        mode: "g" needs 8 input channels, "d" 4.
        seed: Of random weights: those of a whole UNet, or of the class embedding that Stable Diffusion lacks.

    Raises:
        CheckpointError: A folder does not hold what is needed.
    """
    with seeded(seed):
        unet = _random_unet(start) if start.checkpoint is None else _loaded_unet(Path(start.checkpoint))
    set_input_channels(unet, 2 * LATENT_CHANNELS if mode == "g" else LATENT_CHANNELS)
    folder = Path(start.checkpoint).expanduser() if start.checkpoint is not None else None
    vae_folder = Path(start.vae).expanduser() if start.vae is not None else None
    if vae_folder is None:
        assert folder is not None, "the config was checked to have one of the two"
        vae_folder = folder / "vae"
    return StartingParts(unet, load_vae(vae_folder), _prompt(start, unet.config["cross_attention_dim"], seed))


def load_vae(folder: Path) -> AutoencoderKL:
    """Return a frozen VAE in float32.

    Raises:
        CheckpointError: The folder holds none.
    """
    vae = _from_pretrained(AutoencoderKL, folder.expanduser())
    return vae.eval().requires_grad_(False)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global state, which layers draw their weights from, inside the block alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def set_input_channels(unet: UNet2DConditionModel, channels: int) -> None:
    """Widen the first convolution in place: its weight is repeated and shared out, so that its output stays in range.

    From 4 to 8 channels the weight is repeated twice and halved: two equal inputs give what one gave before.

    Raises:
        CheckpointError: It has neither 4 nor the wanted number of channels.

    Source: reference train_lotus_g.py, "repeat conv_in".
    """
    old = unet.conv_in
    if old.in_channels == channels:
        return
    if old.in_channels != LATENT_CHANNELS or channels != 2 * LATENT_CHANNELS:
        raise CheckpointError(
            f"a UNet of {old.in_channels} input channels cannot become one of {channels}",
            found=f"{old.in_channels} input channels",
            remedy="start a generative model from either kind, a discriminative one from 4 channels",
        )
    new = nn.Conv2d(channels, old.out_channels, 3, padding=1, dtype=old.weight.dtype)
    with torch.no_grad():
        new.weight.copy_(old.weight.repeat(1, 2, 1, 1) * 0.5)
        if old.bias is not None and new.bias is not None:
            new.bias.copy_(old.bias)
    unet.conv_in = new
    unet.register_to_config(in_channels=channels)


def _random_unet(start: Start) -> UNet2DConditionModel:
    channels, attention = start.channels or (), start.attention or ()
    down = tuple("CrossAttnDownBlock2D" if here else "DownBlock2D" for here in attention)
    up = tuple("CrossAttnUpBlock2D" if here else "UpBlock2D" for here in reversed(attention))
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=channels,
        down_block_types=down,
        up_block_types=up,
        layers_per_block=start.layers_per_block,
        attention_head_dim=start.heads,
        norm_num_groups=start.norm_groups,
        cross_attention_dim=start.context,
        class_embed_type="projection",
        projection_class_embeddings_input_dim=4,
    )


def _loaded_unet(folder: Path) -> UNet2DConditionModel:
    folder = folder.expanduser()
    folder = folder / "unet" if (folder / "unet").is_dir() else folder
    # Stable Diffusion has no class embedding: these two settings add one
    unet, report = _from_pretrained(
        UNet2DConditionModel,
        folder,
        class_embed_type="projection",
        projection_class_embeddings_input_dim=4,
        low_cpu_mem_usage=False,
        output_loading_info=True,
    )
    missing = set(report["missing_keys"])
    others = sorted(key for key in missing if not key.startswith("class_embedding."))
    if others or report["unexpected_keys"] or report["mismatched_keys"]:
        raise StateDictError(
            f"the weights in {folder} are not those of its config",
            path=folder,
            missing=others,
            unexpected=list(report["unexpected_keys"]),
            mismatched=[str(key) for key in report["mismatched_keys"]],
        )
    if missing:
        for layer in unet.class_embedding.modules():  # diffusers leaves what it did not load uninitialised
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
    return unet


def _from_pretrained(kind: Any, folder: Path, **settings: Any) -> Any:
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"the folder {folder} holds no {kind.__name__}",
            path=folder,
            found="no config.json",
            remedy="give a diffusers folder, such as that of Stable Diffusion 2",
        )
    try:
        with _quiet_diffusers():
            return kind.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, torch_dtype=torch.float32, **settings
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"the {kind.__name__} in {folder} cannot be loaded",
            path=folder,
            found=str(error).splitlines()[0][:160],
            remedy="fetch it again; only safetensors are read",
        ) from error


@contextmanager
def _quiet_diffusers() -> Iterator[None]:
    """Hold back diffusers' advice to train the new weights inside the block: that is what follows."""
    level = diffusers_logging.get_verbosity()
    diffusers_logging.set_verbosity_error()
    try:
        yield
    finally:
        diffusers_logging.set_verbosity(level)


def _prompt(start: Start, width: int, seed: int) -> Tensor:
    if start.prompt_embeds is not None:
        return require_width(read_prompt(Path(start.prompt_embeds).expanduser()), width)
    if start.checkpoint is not None:
        return prompt_embedding(checkpoint_files(Path(start.checkpoint)), width)
    return torch.randn((1, _PROMPT_TOKENS, width), generator=torch.Generator().manual_seed(seed))
