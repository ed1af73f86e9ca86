"""Where the parts of one checkpoint lie on disk: a diffusers folder, or a single UNet file."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
        name: What it is called in messages.
        said_by: Names that may say what it estimates, the most telling first.
        unet: Weights of the UNet.
        vae: Weights file of the VAE, or its diffusers folder.
        unet_config: The UNet's config.json, where it does not lie beside the weights.
        text_encoder: Folder of the text encoder; `tokenizer` lies beside it.
        prompt_embeds: File of the empty prompt's embedding.
        prompt_folder: Folder beside the weights in which a computed embedding is kept.
    """

    name: str
    said_by: tuple[str, ...]
    unet: Path
    vae: Path | None
    prompt_folder: Path
    unet_config: Path | None = None
    text_encoder: Path | None = None
    prompt_embeds: Path | None = None


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
        folder = path.absolute().parent
        if folder.name == "unet" and path.name.startswith(WEIGHTS_STEM):
            return replace(checkpoint_files(folder), unet=path)
        return _single(path, folder)
    unet_folder = path / "unet" if (path / "unet").is_dir() else path
    unet = weights_in(unet_folder)
    if unet is None:
        raise CheckpointError(
            f"the folder {path} holds no UNet",
            path=path,
            found=", ".join(sorted(item.name for item in path.iterdir())[:6]) or "an empty folder",
            remedy="choose a diffusers folder with unet/ and vae/, or a UNet's .safetensors file",
        )
    unet_folder = unet_folder.absolute()
    root = unet_folder.parent if unet_folder.name == "unet" else unet_folder
    name = root.parent.parent.name if root.parent.name == "snapshots" else root.name
    name = _repository(name) or root.name
    vae, text_encoder, prompt = root / "vae", root / "text_encoder", root / PROMPT_FILE
    return CheckpointFiles(
        name=name,
        said_by=(name,),
        unet=unet,
        vae=vae if vae.is_dir() else None,
        text_encoder=text_encoder if text_encoder.is_dir() else None,
        prompt_embeds=prompt if prompt.is_file() else None,
        prompt_folder=root,
    )


def _single(file: Path, folder: Path) -> CheckpointFiles:
    prompt = folder / PROMPT_FILE
    return CheckpointFiles(
        name=file.stem,
        said_by=(file.name, folder.name),
        unet=file,
        vae=None,
        prompt_embeds=prompt if prompt.is_file() else None,
        prompt_folder=folder,
    )


def _repository(cache_folder: str) -> str | None:
    """Return the Hub id that a folder of the Hub's cache stands for, ``models--owner--name``."""
    kind, _, repository = cache_folder.partition("--")
    return repository.replace("--", "/", 1) if kind == "models" and repository else None


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
