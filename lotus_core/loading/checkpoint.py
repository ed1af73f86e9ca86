"""From a name, a folder or a file to the parts of a model, on the CPU, memory-mapped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..conventions import DEFAULT_RESOLUTION, OutputKind
from ..errors import CheckpointError
from ..types import ModelInfo
from .architecture import UNetArchitecture, unet_architecture
from .bundled import BUNDLED, BUNDLED_RESOLUTION, bundled_files
from .files import CheckpointFiles, checkpoint_files, weights_in
from .header import read_header
from .mapping import map_tensors
from .modules import build_unet, build_vae
from .output_kind import output_from_path, require_output, unknown_output
from .prompt import prompt_embedding, require_width
from .settings import read_config, unet_settings, vae_settings
from .vae_architecture import vae_architecture

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from torch import Tensor

Source = str | PathLike[str]


@dataclass(frozen=True)
class LoadedParts:
    """A checkpoint's parts, as stored: on the CPU, memory-mapped, eval mode, without gradients.

    Attributes:
        unet: diffusers' UNet, in the stored dtype.
        vae: diffusers' VAE, in the stored dtype.
        prompt_embeds: (1, T, C) float32, the constant context.
        info: What the checkpoint is.
    """

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    prompt_embeds: Tensor
    info: ModelInfo


@dataclass(frozen=True)
class _Located:
    files: CheckpointFiles
    output: OutputKind | None
    default_resolution: int


def load_parts(
    source: Source,
    *,
    vae: Source | None = None,
    prompt_embeds: Tensor | None = None,
    output: str | None = None,
    revision: str | None = None,
    folders: Sequence[Path] | None = None,
    progress: Callable[..., None] | None = None,
) -> LoadedParts:
    """Load a Lotus checkpoint.

    Args:
        source: Catalogue name, Hub id, diffusers folder, or UNet-only .safetensors file.
        vae: VAE file or folder to use in place of the checkpoint's own.
        prompt_embeds: (1, T, C) embedding of the empty prompt, in place of the checkpoint's own.
        output: "depth", "disparity" or "normal", where neither catalogue nor name says it.
        revision: Commit, tag or branch of a Hub repository.
        folders: Folders in which files are looked for, before the library's own.
        progress: Told how far a download is.

    Raises:
        CheckpointError: And its subclasses, each saying what was found and what to do.
        DownloadError: The checkpoint is not on disk and could not be fetched.
    """
    chosen = None if output is None else require_output(output)
    located = _locate(source)
    files = located.files
    kind = chosen or located.output or output_from_path(files.unet)
    if kind is None:
        raise unknown_output(files.name)
    unet, architecture = _load_unet(files)
    loaded_vae, vae_source = _load_vae(files, vae)
    embeds = (
        prompt_embedding(files, architecture.cross_attention_dim)
        if prompt_embeds is None
        else require_width(prompt_embeds, architecture.cross_attention_dim)
    )
    info = ModelInfo(
        name=files.name,
        mode=architecture.mode,
        output=kind,
        default_resolution=located.default_resolution,
        source=str(files.unet),
        vae_source=vae_source,
        unet_parameters=sum(parameter.numel() for parameter in unet.parameters()),
        cross_attention_dim=architecture.cross_attention_dim,
    )
    return LoadedParts(unet=unet, vae=loaded_vae, prompt_embeds=embeds, info=info)


def _locate(source: Source) -> _Located:
    name = fspath(source)
    if name in BUNDLED:
        return _Located(bundled_files(name), BUNDLED[name], BUNDLED_RESOLUTION)
    return _Located(checkpoint_files(Path(name)), None, DEFAULT_RESOLUTION)


def _load_unet(files: CheckpointFiles) -> tuple[UNet2DConditionModel, UNetArchitecture]:
    header = read_header(files.unet)
    name = files.unet.name
    architecture = unet_architecture(header.shapes, name)
    settings = unet_settings(architecture, _config(files.unet_config), name)
    return build_unet(architecture.config() | settings, map_tensors(header), name), architecture


def _load_vae(files: CheckpointFiles, given: Source | None) -> tuple[AutoencoderKL, str]:
    path = files.vae if given is None else Path(fspath(given))
    if path is None:
        raise CheckpointError(
            f"{files.name} is a UNet alone",
            path=files.unet,
            found="no vae folder beside it",
            remedy="pass vae",
        )
    file = weights_in(path) if path.is_dir() else path
    if file is None:
        raise CheckpointError(
            f"the folder {path} holds no VAE", path=path, remedy="choose a VAE's .safetensors file"
        )
    header = read_header(file)
    architecture = vae_architecture(header.shapes, file.name)
    config = file.parent / "config.json"
    settings = vae_settings(architecture, _config(config if config.is_file() else None), file.name)
    return build_vae(architecture.config() | settings, map_tensors(header), file.name), str(file)


def _config(path: Path | None) -> Mapping[str, Any] | None:
    return None if path is None else read_config(path)
