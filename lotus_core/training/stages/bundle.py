"""Stage "bundle": trained models that share one VAE and one context, gathered in half precision."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from ...conventions import OutputKind
from ...errors import CheckpointError, OptionError
from ...loading.checkpoint import LoadedParts, load_parts
from ...loading.files import PROMPT_FILE
from ...loading.output_kind import METADATA_KEY
from ..config import BundleConfig
from ..export import write_network, write_prompt
from ..networks import load_vae

_ENCODER = ("encoder.", "quant_conv.")

_log = logging.getLogger("lotus_geometry")


def write_bundle(config: BundleConfig, folder: Path) -> None:
    """Write ``vae/``, ``prompt_embeds.safetensors`` and ``NAME/unet/`` of every model, in fp16.

    Args:
        config: Which models.
        folder: Where; files of an earlier bundle are replaced.

    Raises:
        CheckpointError: Models that do not share the VAE's encoder or the context.
        OptionError: More bytes than the config allows; nothing is written then.
        StorageError: The disk refuses.
    """
    vae = load_vae(Path(config.vae))
    models = {name: load_parts(Path(path).expanduser()) for name, path in config.models.items()}
    first = next(iter(models.values()))
    for name, parts in models.items():
        _require_shared(name, parts, first, vae)
    networks = [vae, *(parts.unet for parts in models.values())]
    size = sum(2 * tensor.numel() for network in networks for tensor in network.state_dict().values())
    if size > config.max_bytes:
        raise OptionError("max_bytes", config.max_bytes, f"at least {size}, what the models take in fp16")
    write_network(folder / "vae", vae, torch.float16)
    write_prompt(folder / PROMPT_FILE, first.prompt_embeds)
    for name, parts in models.items():
        kind: OutputKind = parts.info.output
        write_network(folder / name / "unet", parts.unet, torch.float16, {METADATA_KEY: kind})
    _log.info("%d models, %.1f MB", len(models), size / 1e6)


def _require_shared(name: str, parts: LoadedParts, first: LoadedParts, vae: AutoencoderKL) -> None:
    # the decoder may have been polished since: latents, which the encoder makes, are what a denoiser was trained on
    own, shared = (
        {key: value.float() for key, value in network.state_dict().items() if key.startswith(_ENCODER)}
        for network in (parts.vae, vae)
    )
    same_vae = own.keys() == shared.keys() and all(torch.equal(own[key], shared[key]) for key in own)
    same_vae &= parts.vae.config["scaling_factor"] == vae.config["scaling_factor"]
    if not same_vae or not torch.equal(parts.prompt_embeds, first.prompt_embeds):
        raise CheckpointError(
            f"{name} does not share the bundle's {'context' if same_vae else 'encoder'}",
            path=parts.info.source,
            found="other weights",
            remedy="train all models of a bundle with the same vae and the same seed or prompt_embeds",
        )
