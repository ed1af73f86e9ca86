"""The same weights under other keys or in another precision, as a new file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from ..conventions import OutputKind
from ..errors import CheckpointError, InputError
from .detect import UNET_PREFIX, holds_vae
from .files import checkpoint_files, weights_in
from .foreign import SAFE_SUFFIXES
from .header import read_header
from .keys_unet import ldm_from_diffusers
from .keys_vae import PREFIX as VAE_PREFIX
from .keys_vae import is_ldm_projection, ldm_vae_key
from .mapping import map_tensors
from .modules import empty_unet, empty_vae
from .networks import UNetFile, VaeFile, read_unet, read_vae
from .output_kind import METADATA_KEY as OUTPUT_KEY
from .output_kind import output_from_name
from .settings import METADATA_KEY as CONFIG_KEY
from .stored import KeyFormat, StoredTensor
from .writer import PlannedTensor, write_safetensors

if TYPE_CHECKING:
    from torch import Tensor

Dtype = Literal["fp32", "fp16", "bf16"]

_DTYPES: Final[Mapping[Dtype, str]] = {"fp32": "F32", "fp16": "F16", "bf16": "BF16"}


@dataclass(frozen=True)
class Conversion:
    """What a conversion wrote.

    Attributes:
        network: "unet" or "vae".
        keys: Key format of the new file.
        tensors: How many tensors it holds.
        nbytes: Bytes of its tensors.
        path: Where it is.
    """

    network: Literal["unet", "vae"]
    keys: KeyFormat
    tensors: int
    nbytes: int
    path: Path


def convert(
    source: Path,
    target: Path,
    *,
    keys: KeyFormat | None = None,
    dtype: Dtype | None = None,
    output: OutputKind | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Conversion:
    """Write a UNet's or VAE's weights under other keys or in another precision.

    The values are the same bits where the precision is kept, and rounded to nearest where it is lowered. The new
    file states in its metadata what shapes cannot (heads, norm groups, scaling factor) and what the model
    estimates, so that it loads on its own. It appears whole or not at all.

    Args:
        source: A weights file, or a diffusers folder (its UNet is converted).
        target: The new file, ``.safetensors`` or ``.sft``.
        keys: Key format of the new file; None keeps the source's.
        dtype: Precision of the new file; None keeps each tensor's.
        output: What the UNet estimates, where neither the source nor its name says it.
        progress: Called with (bytes written, bytes in all).

    Raises:
        InputError: The target is the source, or has another extension.
        CheckpointError: The source cannot be used.
        NonFiniteError: A finite value is too large for fp16.
        StateDictError: The source is not complete.
        NoSpaceError: The disk is too full.
        NotWritableError: The target cannot be written.
    """
    _require_target(target)
    file = _read(source)
    origin = file.stored.header.path
    if target.exists() and target.samefile(origin):
        raise InputError(f"{target} is the source itself", remedy="choose another name for the new file")
    form = keys or file.stored.keys
    mapped = map_tensors(file.stored.header)
    planned = [_plan(name, tensor, file, mapped, dtype) for name, tensor in _renamed(file, form)]
    metadata = {"format": "pt", CONFIG_KEY: json.dumps(dict(file.settings), sort_keys=True)}
    kind = output or _stated_output(source, file)
    if isinstance(file, UNetFile) and kind is not None:
        metadata[OUTPUT_KEY] = kind
    write_safetensors(target, planned, metadata, progress=progress)
    network = "unet" if isinstance(file, UNetFile) else "vae"
    return Conversion(network, form, len(planned), sum(tensor.nbytes for tensor in planned), target)


def _read(source: Path) -> UNetFile | VaeFile:
    """Read the network of a source and require it to be complete."""
    path = source.expanduser()
    weights = path
    if not path.is_file() and (path / "unet").is_dir():
        weights = checkpoint_files(path).unet
    elif path.is_dir():
        found = weights_in(path)
        if found is None:
            raise CheckpointError(
                f"the folder {path} holds no weights", path=path, remedy="choose a .safetensors file"
            )
        weights = found
    if holds_vae(read_header(weights)):
        vae = read_vae(weights)
        empty_vae(vae)
        return vae
    unet = read_unet(weights)
    empty_unet(unet)
    return unet


def _renamed(file: UNetFile | VaeFile, keys: KeyFormat) -> Iterator[tuple[str, StoredTensor]]:
    """Yield each tensor under its key in the new file, in its shape there."""
    tensors = file.stored.tensors
    if keys == "diffusers":
        yield from tensors.items()
        return
    if isinstance(file, UNetFile):
        prefix = UNET_PREFIX if keys == "ldm-prefixed" else ""
        names = ldm_from_diffusers(tensors.keys())
        for key, tensor in tensors.items():
            yield prefix + names[key], tensor
        return
    prefix = VAE_PREFIX if keys == "ldm-prefixed" else ""
    levels = len(file.architecture.block_out_channels)
    for key, tensor in tensors.items():
        name = ldm_vae_key(key, levels)
        shape = (*tensor.shape, 1, 1) if is_ldm_projection(name) else tensor.shape
        yield prefix + name, StoredTensor(tensor.key, shape)


def _plan(
    name: str,
    tensor: StoredTensor,
    file: UNetFile | VaeFile,
    mapped: Mapping[str, Tensor],
    dtype: Dtype | None,
) -> PlannedTensor:
    stored = file.stored.header.tensors[tensor.key].dtype
    target = stored if dtype is None else _DTYPES[dtype]
    return PlannedTensor(name, target, tensor.shape, lambda: mapped[tensor.key])


def _stated_output(source: Path, file: UNetFile | VaeFile) -> str | None:
    stated = file.stored.header.metadata.get(OUTPUT_KEY)
    if stated is not None:
        return stated
    name = source.resolve()
    return output_from_name(name.stem if name.is_file() else name.name)


def _require_target(target: Path) -> None:
    if target.suffix.lower() not in SAFE_SUFFIXES:
        raise InputError(
            "a converted checkpoint is a safetensors file",
            found=f"the name {target.name}",
            remedy="choose a name that ends in .safetensors or .sft",
        )
