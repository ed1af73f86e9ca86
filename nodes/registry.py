"""Loaded models: one copy of the same weights, however many nodes ask for them."""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..lotus_core.inference.model import build_model
from ..lotus_core.loading.checkpoint import LoadedParts, load_parts
from . import compat, folders
from .bridge import DownloadProgress, logger
from .memory import ComfyPlacement, ManagedLotusModel, choose_types

_lock = threading.Lock()
_loaded: weakref.WeakValueDictionary[tuple[object, ...], ManagedLotusModel] = weakref.WeakValueDictionary()


def fingerprint(choice: str) -> str:
    """Return what changes when the weights behind a choice change on disk: sizes and times of its files."""
    stamps = [(str(file.resolve()), file.stat()) for file in folders.weights_of(choice)]
    return repr(
        [(path, stat.st_size, stat.st_mtime_ns) for path, stat in stamps] or folders.resolve(choice)[0]
    )


def shared_model(
    choice: str,
    *,
    precision: str,
    output: str | None,
    vae: Any,
    prompt_embeds: Tensor | None,
    progress: DownloadProgress,
) -> ManagedLotusModel:
    """Return the model of a choice, loaded at most once for the same files and settings.

    The caller keeps it alive: ComfyUI's cache of node outputs, as a rule. When the last one lets go, it is freed.

    Args:
        choice: One of the loader's names.
        precision: "auto", "fp32", "fp16" or "bf16".
        output: What it estimates, or None to take it from the name.
        vae: ComfyUI's VAE, or None.
        prompt_embeds: (1, T, C), or None.
        progress: Hears of a download.

    Raises:
        CheckpointError: The file cannot be used.
        DownloadError: It could not be fetched.
    """
    source, _ = folders.resolve(choice)
    vae_weights = None if vae is None else vae.get_sd()
    given = (_digest(vae_weights), _digest(None if prompt_embeds is None else {"prompt": prompt_embeds}))
    with _lock:
        model = _loaded.get((fingerprint(choice), precision, output, *given))
        if model is None:
            parts = load_parts(
                source,
                vae=vae_weights,
                prompt_embeds=prompt_embeds,
                spare_prompt=compat.lotus_prompt(),
                output=output,
                folders=folders.search_folders(),
                download_folder=folders.download_folder(),
                vae_folder=folders.vae_folder(),
                progress=progress,
            )
            folders.look_again()
            stamp = fingerprint(choice)  # only now: a download has brought the files
            model = _placed(parts, precision, (stamp, *given))
            _loaded[(stamp, precision, output, *given)] = model
    return model


def _placed(parts: LoadedParts, precision: str, origin: tuple[object, ...]) -> ManagedLotusModel:
    """Return a model of loaded parts, on weights that another model holds already where there is one."""
    types = choose_types(precision, parts.info.unet_parameters)
    weights = (*origin, types)
    alive = list(_loaded.values())
    twin = next((model for model in alive if model.weights == weights), None)
    if twin is not None:  # the same file under another name for its precision or its output
        return replace(twin, info=parts.info)
    siblings = [model for model in alive if model.placement.dtype("vae") == types.vae]

    def place(unet: nn.Module, codec: nn.Module) -> ComfyPlacement:
        lender = next((model.vae_patcher for model in siblings if model.vae is codec), None)
        return ComfyPlacement(unet, codec, types, lender)

    built = build_model(parts, place, (types.unet, types.vae), siblings=siblings)
    model = ManagedLotusModel.of(built, weights)
    logger.info("Lotus: loaded %s (%s) from %s", model.info.name, model.info.output, model.info.source)
    return model


def _digest(tensors: Mapping[str, Tensor] | None) -> str | None:
    """Tell weights that came through a socket apart: by name, shape and the first numbers of each tensor."""
    if tensors is None:
        return None
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        first = tensor.detach().flatten()[:256].to("cpu", torch.float32)
        digest.update(f"{name} {tuple(tensor.shape)}".encode() + first.numpy().tobytes())
    return digest.hexdigest()
