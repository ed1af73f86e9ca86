"""Writes a trained model as a diffusers folder that our loader, the reference's pipeline and the nodes open."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Final

import diffusers
import torch
from diffusers.models.modeling_utils import ModelMixin
from safetensors.torch import save
from torch import Tensor

from ..conventions import Mode, OutputKind
from ..io.atomic import write_bytes
from ..loading.files import PROMPT_FILE, WEIGHTS_STEM
from ..loading.output_kind import METADATA_KEY
from ..loading.prompt import PROMPT_KEY
from .diffusion import BETA_END, BETA_SCHEDULE, BETA_START, TRAIN_TIMESTEPS
from .networks import StartingParts

_PIPELINE: Final = {"g": "LotusGPipeline", "d": "LotusDPipeline"}
_SCHEDULER: Final = {
    "_class_name": "DDPMScheduler",
    "beta_end": BETA_END,
    "beta_schedule": BETA_SCHEDULE,
    "beta_start": BETA_START,
    "clip_sample": False,
    "num_train_timesteps": TRAIN_TIMESTEPS,
    "prediction_type": "sample",
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
}
_UNUSED_PARTS: Final = ("feature_extractor", "image_encoder", "safety_checker")
_TEXT_PARTS: Final = ("text_encoder", "tokenizer")


def write_checkpoint(
    folder: Path,
    parts: StartingParts,
    mode: Mode,
    output: OutputKind,
    source: Path | None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write unet/, vae/, scheduler/, prompt_embeds.safetensors and model_index.json.

    Args:
        folder: Where; files of an earlier writing are replaced.
        parts: Networks, with the weights that are to be written.
        mode: "g" or "d".
        output: What the model estimates; the UNet's file says it.
        source: Checkpoint whose text encoder and tokenizer come along; None for none.
        dtype: Type of the weights.

    Raises:
        StorageError: The disk refuses.
    """
    write_network(folder / "unet", parts.unet, dtype, {METADATA_KEY: output})
    write_network(folder / "vae", parts.vae, dtype)
    write_prompt(folder / PROMPT_FILE, parts.prompt_embeds)
    _write_json(folder / "scheduler" / "scheduler_config.json", _SCHEDULER)
    texts: dict[str, list[str | None]] = {name: [None, None] for name in _TEXT_PARTS}
    for name in _TEXT_PARTS:
        if source is not None and (source / name).is_dir():
            shutil.copytree(source / name, folder / name, dirs_exist_ok=True)
            texts[name] = ["transformers", "CLIPTextModel" if name == "text_encoder" else "CLIPTokenizer"]
    _write_json(
        folder / "model_index.json",
        {
            "_class_name": _PIPELINE[mode],
            "_diffusers_version": diffusers.__version__,
            **{name: [None, None] for name in _UNUSED_PARTS},
            "requires_safety_checker": False,
            "scheduler": ["diffusers", "DDPMScheduler"],
            **texts,
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        },
    )


def write_network(
    folder: Path, network: ModelMixin, dtype: torch.dtype, metadata: dict[str, str] | None = None
) -> None:
    """Write a diffusers model: config.json and its weights, each whole or not at all.

    The config does not say from which folder the network was read: diffusers notes that for itself.
    """
    tensors = {
        key: tensor.detach().to("cpu", dtype).contiguous() for key, tensor in network.state_dict().items()
    }
    write_bytes(folder / f"{WEIGHTS_STEM}.safetensors", save(tensors, {"format": "pt", **(metadata or {})}))
    config = json.loads(network.to_json_string())
    config.pop("_name_or_path", None)
    _write_json(folder / "config.json", config)


def write_prompt(path: Path, prompt_embeds: Tensor) -> None:
    """Write the empty prompt's embedding, (1, T, C) float32."""
    write_bytes(path, save({PROMPT_KEY: prompt_embeds.detach().cpu().contiguous()}))


def _write_json(path: Path, document: dict[str, Any]) -> None:
    write_bytes(path, (json.dumps(document, indent=2, sort_keys=True) + "\n").encode())
