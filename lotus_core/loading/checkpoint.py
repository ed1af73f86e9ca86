"""From a name, a folder or a file to the parts of a model, on the CPU, memory-mapped."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..conventions import OutputKind
from ..errors import ArchitectureError, CheckpointError, DownloadError
from ..types import ModelInfo
from . import catalog
from .architecture import SD2_CHANNELS, SD2_CONTEXT
from .catalog import SHARED_VAE
from .entry import CatalogEntry
from .files import PROMPT_FILE, CheckpointFiles, weights_in
from .locate import Folder, Located, Progress, locate
from .modules import build_unet, build_vae
from .networks import UNetFile, read_unet, read_vae, vae_of_tensors
from .output_kind import METADATA_KEY as OUTPUT_KEY
from .output_kind import output_from_name, require_output, unknown_output
from .prompt import prompt_embedding, require_width
from .store import Places

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from torch import Tensor

Source = str | os.PathLike[str]
VaeSource = Source | Mapping[str, Any]
"""A VAE's file or diffusers folder, or its state dict (str to Tensor)."""


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


def load_parts(
    source: Source,
    *,
    vae: VaeSource | None = None,
    prompt_embeds: Tensor | None = None,
    spare_prompt: Tensor | None = None,
    output: str | None = None,
    revision: str | None = None,
    folders: Sequence[Folder] | None = None,
    download_folder: Folder | None = None,
    vae_folder: Folder | None = None,
    progress: Progress | None = None,
) -> LoadedParts:
    """Load a Lotus checkpoint.

    Args:
        source: Catalogue name, Hub id, diffusers folder (or its unet/), or UNet-only .safetensors in diffusers'
            or LDM's keys.
        vae: VAE to use in place of the checkpoint's own: a file, a diffusers VAE folder, or a state dict.
        prompt_embeds: (1, T, C) embedding of the empty prompt, in place of the checkpoint's own.
        spare_prompt: (1, T, C) embedding of the empty prompt for a checkpoint that has neither one nor a text
            encoder beside it, so that none need be fetched; left alone if its width is another.
        output: "depth", "disparity" or "normal", where neither catalogue nor name says it.
        revision: Commit, tag or branch of a Hub repository.
        folders: Folders in which files are looked for, before LOTUS_HOME and the Hub's cache.
        download_folder: Where fetched files go; None for LOTUS_HOME, else the Hub's cache.
        vae_folder: Where a fetched VAE goes; None for `download_folder`.
        progress: Called with (bytes done, bytes in all) while files are fetched.

    Raises:
        UnknownModelError: Nothing has this name.
        CorruptFileError: A file that is no well-formed safetensors file.
        UnsafeFormatError: Pickled weights.
        ArchitectureError: Another network than a Lotus UNet, or than its kind of VAE.
        StateDictError: Tensors missing, unexpected, or of another shape.
        OutputKindError: Nothing says what it estimates, or the name contradicts itself.
        CheckpointError: No VAE or no prompt embedding is at hand.
        ShapeError: A prompt embedding of another width than the UNet's.
        DownloadError: It is not on disk and could not be fetched.
    """
    chosen = None if output is None else require_output(output)
    places = _places(folders or (), download_folder, vae_folder)
    located = locate(source, places, revision=revision, with_vae=vae is None, progress=progress)
    files = located.files
    unet_file = read_unet(files.unet, files.unet_config)
    kind = chosen or _stated_output(located, unet_file)
    _require_mode(located, unet_file, chosen)
    unet = build_unet(unet_file)  # first: what does not fit is told before anything is fetched for it
    loaded_vae, vae_source = _load_vae(located, unet_file, vae, places, progress)
    width = unet_file.architecture.cross_attention_dim
    embeds = (
        _own_prompt(located, width, places, progress, spare_prompt)
        if prompt_embeds is None
        else require_width(prompt_embeds, width)
    )
    info = ModelInfo(
        name=files.name,
        mode=unet_file.architecture.mode,
        output=kind,
        default_resolution=located.default_resolution,
        source=str(files.unet),
        vae_source=vae_source,
        unet_parameters=sum(parameter.numel() for parameter in unet.parameters()),
        cross_attention_dim=width,
    )
    return LoadedParts(unet=unet, vae=loaded_vae, prompt_embeds=embeds, info=info)


def _places(search: Sequence[Folder], folder: Folder | None, vae_folder: Folder | None) -> Places:
    return Places(
        search=tuple(Path(path) for path in search),
        folder=None if folder is None else Path(folder).expanduser(),
        vae_folder=None if vae_folder is None else Path(vae_folder).expanduser(),
    )


def _stated_output(located: Located, file: UNetFile) -> OutputKind:
    stated = file.stored.header.metadata.get(OUTPUT_KEY)
    if located.output is not None:
        return located.output
    if stated is not None:
        return require_output(stated)
    for name in located.files.said_by:
        kind = output_from_name(name)
        if kind is not None:
            return kind
    raise unknown_output(located.files.name)


def _require_mode(located: Located, file: UNetFile, chosen: OutputKind | None) -> None:
    """Refuse a file under the catalogue name of another one: what it estimates would be taken from that name."""
    mode = file.architecture.mode
    if chosen is None and located.mode is not None and located.mode != mode:
        words = {"g": "generative (8 input channels)", "d": "discriminative (4 input channels)"}
        raise ArchitectureError(
            f"{located.files.unet.name} is not the checkpoint that its name says",
            path=located.files.unet,
            found=f"a {words[mode]} UNet under the name of a {words[located.mode]} one",
            remedy="give the file its own name, or pass output",
        )


def _load_vae(
    located: Located,
    unet: UNetFile,
    given: VaeSource | None,
    places: Places,
    progress: Progress | None,
) -> tuple[AutoencoderKL, str]:
    if isinstance(given, Mapping):
        vae_file = vae_of_tensors(given, "the given VAE")
        return build_vae(vae_file, {key: tensor.detach().cpu() for key, tensor in given.items()}), _GIVEN
    path = Path(given).expanduser() if given is not None else _own_vae(located, unet, places, progress)
    file = weights_in(path) if path.is_dir() else path
    if file is None:
        raise CheckpointError(
            f"the folder {path} holds no VAE",
            path=path,
            found=", ".join(sorted(item.name for item in path.iterdir())[:6]) or "an empty folder",
            remedy="choose a diffusers vae folder, or a VAE's .safetensors file",
        )
    return build_vae(read_vae(file)), str(file)


_GIVEN: Final = "given by the caller"


def _own_vae(located: Located, unet: UNetFile, places: Places, progress: Progress | None) -> Path:
    files = located.files
    if files.vae is not None:
        return files.vae
    if unet.architecture.block_out_channels != SD2_CHANNELS:
        # A UNet of other widths was not trained on Stable Diffusion's latents: the shared VAE would fit, and be wrong.
        raise CheckpointError(
            f"{files.name} is a UNet alone, and not of Stable Diffusion 2's size, so its VAE is not known",
            path=files.unet,
            found="no vae folder beside it",
            remedy="pass vae, the file or folder of the VAE it was trained with",
        )
    from .hub import ensure_shared_vae

    try:
        folder = places.vae_folder or places.folder
        return ensure_shared_vae(folder=folder, search=places.search, progress=progress)
    except DownloadError as error:
        raise CheckpointError(
            f"{files.name} is a UNet alone and needs a VAE",
            path=files.unet,
            found=f"none beside it, and the shared one could not be fetched: {error.problem}",
            remedy=f"pass vae, or put {SHARED_VAE.filename} of {SHARED_VAE.repository} in a folder that is searched",
        ) from error


def _own_prompt(
    located: Located, width: int, places: Places, progress: Progress | None, spare: Tensor | None
) -> Tensor:
    files = located.files
    if (
        files.prompt_embeds is None
        and files.text_encoder is None
        and spare is not None
        and spare.shape[-1] == width
    ):
        return require_width(spare, width)
    lender = located.entry or _any_published()
    if lender is not None and lender.mode is not None and width != SD2_CONTEXT:
        lender = None  # a file of another width under a catalogue name: the catalogue's text encoder cannot be its own
    if files.prompt_embeds is None and files.text_encoder is None and lender is not None:
        files = replace(files, text_encoder=_fetched_text_encoder(files, lender, places, progress))
    return prompt_embedding(files, width)


def _any_published() -> CatalogEntry | None:
    """Return an entry whose text encoder serves: all Lotus checkpoints were trained with the same frozen one."""
    return next((entry for entry in catalog.models() if entry.text_encoder_repository), None)


def _fetched_text_encoder(
    files: CheckpointFiles, lender: CatalogEntry, places: Places, progress: Progress | None
) -> Path:
    from .hub import ensure_text_encoder

    try:
        return ensure_text_encoder(lender, folder=places.folder, search=places.search, progress=progress)
    except DownloadError as error:
        raise CheckpointError(
            f"{files.name} comes without the embedding of the empty prompt",
            path=files.unet,
            found=f"none beside it, and the text encoder could not be fetched: {error.problem}",
            remedy=f"pass prompt_embeds, or put the {PROMPT_FILE} of another Lotus checkpoint beside the weights",
        ) from error
