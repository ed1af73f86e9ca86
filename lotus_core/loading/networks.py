"""A UNet's or a VAE's file, read as far as its configuration: nothing is mapped yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..errors import ArchitectureError
from .architecture import SD2_CHANNELS, UNetArchitecture, unet_architecture
from .detect import find_unet, find_vae
from .files import WEIGHTS_STEM
from .header import Header, TensorEntry, read_header
from .settings import METADATA_KEY, parse_config, read_config, unet_settings, vae_settings
from .stored import StoredNetwork
from .vae_architecture import SD_VAE_CHANNELS, VaeArchitecture, vae_architecture

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class UNetFile:
    """A Lotus UNet on disk.

    Attributes:
        stored: Its tensors, by diffusers key.
        architecture: What their shapes say.
        settings: What they cannot say: heads, norm groups and the like.
    """

    stored: StoredNetwork
    architecture: UNetArchitecture
    settings: Mapping[str, Any]

    @property
    def config(self) -> dict[str, Any]:
        """Arguments of diffusers' UNet2DConditionModel."""
        return {**self.architecture.config(), **self.settings}


@dataclass(frozen=True)
class VaeFile:
    """A VAE on disk.

    Attributes:
        stored: Its tensors, by diffusers key.
        architecture: What their shapes say.
        settings: What they cannot say: norm groups, scaling factor and the like.
    """

    stored: StoredNetwork
    architecture: VaeArchitecture
    settings: Mapping[str, Any]

    @property
    def config(self) -> dict[str, Any]:
        """Arguments of diffusers' AutoencoderKL."""
        return {**self.architecture.config(), **self.settings}


def read_unet(file: Path, config: Path | None = None) -> UNetFile:
    """Read a UNet's file in any of the three key formats.

    Args:
        file: The weights.
        config: Its config.json; None: the file's own metadata, else a config beside it, else Stable Diffusion
            2's settings where the widths are its widths.

    Raises:
        CorruptFileError: Not a well-formed safetensors file, or config.
        UnsafeFormatError: A pickle.
        ArchitectureError: Another network than a Lotus UNet, or one whose heads nothing states.
    """
    header = read_header(file)
    stored = find_unet(header)
    architecture = unet_architecture(stored.shapes, file.name)
    known = architecture.block_out_channels == SD2_CHANNELS
    settings = unet_settings(architecture, _config(header, config, known), file.name)
    return UNetFile(stored, architecture, settings)


def read_vae(file: Path, config: Path | None = None) -> VaeFile:
    """Read a VAE's file, in diffusers' or LDM's keys.

    Args:
        file: The weights.
        config: Its config.json; None: as `read_unet` finds it.

    Raises:
        CorruptFileError: Not a well-formed safetensors file, or config.
        UnsafeFormatError: A pickle.
        ArchitectureError: Another network than Stable Diffusion's kind of VAE.
    """
    _refuse_sdxl(file)
    header = read_header(file)
    stored = find_vae(header)
    architecture = vae_architecture(stored.shapes, file.name)
    known = architecture.block_out_channels == SD_VAE_CHANNELS
    settings = vae_settings(architecture, _config(header, config, known), file.name)
    return VaeFile(stored, architecture, settings)


def vae_of_tensors(tensors: Mapping[str, Tensor], name: str) -> VaeFile:
    """Read a VAE that is in memory already, such as a host's, in diffusers' or LDM's keys.

    Args:
        tensors: Its state dict.
        name: What to call it in messages.

    Raises:
        ArchitectureError: Another network than Stable Diffusion's VAE.
    """
    entries = {
        key: TensorEntry(_DTYPES.get(str(tensor.dtype), str(tensor.dtype)), tuple(tensor.shape), 0, 0)
        for key, tensor in tensors.items()
    }
    stored = find_vae(Header(Path(name), entries, {}))
    architecture = vae_architecture(stored.shapes, name)
    return VaeFile(stored, architecture, vae_settings(architecture, None, name))


_DTYPES: Final = {
    "torch.float64": "F64",
    "torch.float32": "F32",
    "torch.float16": "F16",
    "torch.bfloat16": "BF16",
}


def _config(header: Header, given: Path | None, known: bool) -> dict[str, Any] | None:
    if given is None and METADATA_KEY in header.metadata:
        return parse_config(header.metadata[METADATA_KEY], f"the metadata of {header.path.name}")
    path = given or _beside(header.path, known)
    return None if path is None else read_config(path)


def _beside(file: Path, known: bool) -> Path | None:
    own = file.with_suffix(".json")
    if own.is_file():
        return own
    # A config.json in a folder of many models belongs to none of them: it counts in a diffusers model folder, and
    # where nothing else can tell the number of heads.
    shared = file.parent / "config.json"
    if shared.is_file() and (file.stem.startswith(WEIGHTS_STEM) or not known):
        return shared
    return None


_OTHER_LATENTS: Final = ("sdxl", "sd_xl", "xl_vae")


def _refuse_sdxl(file: Path) -> None:
    # The one VAE whose shapes are Stable Diffusion 2's while its latents are others: only its name tells.
    if any(mark in file.name.lower() for mark in _OTHER_LATENTS):
        raise ArchitectureError(
            f"{file.name} is the VAE of another model",
            path=file,
            found="an SDXL VAE by its name; its latents are not Stable Diffusion 2's",
            remedy="choose a Stable Diffusion VAE, such as vae-ft-mse-840000-ema-pruned.safetensors",
        )
