"""Where the parts of one checkpoint lie on disk: a diffusers folder, or a single UNet file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import CheckpointError, UnknownModelError, UnsafeFormatError
from .foreign import PICKLE_SUFFIXES, SAFE_SUFFIXES

WEIGHTS_STEM: Final = "diffusion_pytorch_model"
PROMPT_FILE: Final = "prompt_embeds.safetensors"
"""Name under which the empty prompt's embedding is kept beside the weights."""


@dataclass(frozen=True)
class CheckpointFiles:
    """The files of one checkpoint; a part that is None must come from elsewhere.

    Attributes:
        name: The checkpoint's own name: of its folder, or of its file without extension.
        unet: Weights of the UNet.
        unet_config: Its config.json.
        vae: Weights file of the VAE, or the folder that holds it.
        text_encoder: Folder of the text encoder; `tokenizer` lies beside it.
        prompt_embeds: File of the empty prompt's embedding; where it is None but computed, it is kept in
            `prompt_folder`.
        prompt_folder: Folder beside the weights in which a computed embedding is kept.
    """

    name: str
    unet: Path
    unet_config: Path | None
    vae: Path | None
    text_encoder: Path | None
    prompt_embeds: Path | None
    prompt_folder: Path


def checkpoint_files(path: Path) -> CheckpointFiles:
    """Return the parts of a checkpoint given as a diffusers folder, its unet/ folder, or a UNet file.

    Raises:
        UnknownModelError: There is no such file or folder.
        CheckpointError: A folder without a UNet.
        UnsafeFormatError: A folder whose only weights are pickles.
    """
    path = path.expanduser()
    if not path.exists():
        raise UnknownModelError(str(path), remedy="there is no such file or folder; check the path")
    if path.is_file():
        return _parts(path.stem, path, _beside(path), path.parent)
    unet_folder = path / "unet" if (path / "unet").is_dir() else path
    unet = weights_in(unet_folder)
    if unet is None:
        raise CheckpointError(
            f"the folder {path} holds no UNet",
            path=path,
            found=", ".join(sorted(item.name for item in path.iterdir())[:6]) or "an empty folder",
            remedy="choose a diffusers folder with unet/ and vae/, or a UNet's .safetensors file",
        )
    root = unet_folder.resolve().parent if unet_folder.name == "unet" else unet_folder
    config = unet_folder / "config.json"
    return _parts(root.name, unet, config if config.is_file() else None, root)


def weights_in(folder: Path) -> Path | None:
    """Return the safetensors file of a diffusers model folder, full precision first; None if it has no weights.

    Raises:
        UnsafeFormatError: Its only weights are pickles.
        CheckpointError: Several safetensors files, none of them under diffusers' name.
    """
    if not folder.is_dir():
        return None
    for suffix in (".safetensors", ".fp16.safetensors", ".bf16.safetensors"):
        if (file := folder / (WEIGHTS_STEM + suffix)).is_file():
            return file
    files = sorted(item for item in folder.iterdir() if item.is_file())
    safe = [item for item in files if item.suffix.lower() in SAFE_SUFFIXES and item.name != PROMPT_FILE]
    if len(safe) > 1:
        raise CheckpointError(
            f"the folder {folder} holds several models",
            path=folder,
            found=", ".join(item.name for item in safe[:6]),
            remedy="choose one of the files",
        )
    if not safe and any(item.suffix.lower() in PICKLE_SUFFIXES for item in files):
        raise UnsafeFormatError(
            f"the folder {folder} holds only pickled weights, and reading a pickle can run any code",
            path=folder,
            found=", ".join(item.name for item in files if item.suffix.lower() in PICKLE_SUFFIXES),
            remedy="take the .safetensors version of the same checkpoint",
        )
    return safe[0] if safe else None


def _parts(name: str, unet: Path, config: Path | None, root: Path) -> CheckpointFiles:
    vae, text_encoder, prompt = root / "vae", root / "text_encoder", root / PROMPT_FILE
    return CheckpointFiles(
        name=name,
        unet=unet,
        unet_config=config,
        vae=vae if vae.is_dir() else None,
        text_encoder=text_encoder if text_encoder.is_dir() else None,
        prompt_embeds=prompt if prompt.is_file() else None,
        prompt_folder=root,
    )


def _beside(file: Path) -> Path | None:
    """Return the config of a single file: `<stem>.json`, else `config.json` in its folder."""
    for candidate in (file.with_suffix(".json"), file.parent / "config.json"):
        if candidate.is_file():
            return candidate
    return None
