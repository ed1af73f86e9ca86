"""diffusers' two model classes, built without memory and given the tensors of a file as they lie on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from ..errors import DependencyError, StateDictError
from .header import Shape
from .mapping import map_tensors
from .networks import UNetFile, VaeFile

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from torch import Tensor, nn

OLDEST_DIFFUSERS: Final = "0.30.0"
"""Oldest release that builds every VAE: before it, AutoencoderKL has no `mid_block_add_attention`."""

_M = TypeVar("_M", bound="nn.Module")


def build_unet(file: UNetFile) -> UNet2DConditionModel:
    """Return diffusers' UNet around a file's tensors: not copied, in their dtype, eval mode, without gradients.

    Raises:
        StateDictError: Keys missing or unexpected, or tensors of another shape or of whole numbers.
    """
    return _adopt(empty_unet(file), file, map_tensors(file.stored.header))


def build_vae(file: VaeFile, tensors: Mapping[str, Tensor] | None = None) -> AutoencoderKL:
    """Return diffusers' VAE around a file's tensors: not copied, in their dtype, eval mode, without gradients.

    Args:
        file: What was read of it.
        tensors: Its state dict, for a VAE in memory; None to map the file.

    Raises:
        StateDictError: Keys missing or unexpected, or tensors of another shape or of whole numbers.
    """
    vae = empty_vae(file)
    return _adopt(vae, file, map_tensors(file.stored.header) if tensors is None else tensors)


def empty_unet(file: UNetFile) -> UNet2DConditionModel:
    """Return the UNet that a file is for, on the meta device: shapes without memory.

    Raises:
        StateDictError: The file's tensors do not fit it.
        DependencyError: diffusers cannot be imported.
    """
    import torch

    with _explained_import():
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    with torch.device("meta"):
        unet = UNet2DConditionModel(**file.config)
    _require_fit(unet, file)
    return unet


def empty_vae(file: VaeFile) -> AutoencoderKL:
    """Return the VAE that a file is for, on the meta device: shapes without memory.

    Raises:
        StateDictError: The file's tensors do not fit it.
        DependencyError: diffusers cannot be imported.
    """
    import torch

    with _explained_import():
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    with torch.device("meta"):
        vae = AutoencoderKL(**file.config)
    _require_fit(vae, file)
    return vae


@contextmanager
def _explained_import() -> Iterator[None]:
    """Turn a failed import of diffusers into an error that says what to install."""
    try:
        yield
    except (ImportError, RuntimeError) as error:  # diffusers wraps what a lazy import of its own raised
        raise DependencyError(
            "diffusers, which builds the networks, cannot be imported",
            found=str(error).strip().splitlines()[-1][:200] if str(error).strip() else type(error).__name__,
            remedy="install versions that fit each other: "
            f'pip install -U "diffusers>={OLDEST_DIFFUSERS}" huggingface-hub',
        ) from error


def _adopt(module: _M, file: UNetFile | VaeFile, tensors: Mapping[str, Tensor]) -> _M:
    module.load_state_dict(file.stored.arrange(tensors), strict=True, assign=True)
    return module.eval().requires_grad_(False)


def _require_fit(module: nn.Module, file: UNetFile | VaeFile) -> None:
    wanted: Mapping[str, Shape] = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    found = file.stored.tensors
    entries = file.stored.header.tensors
    missing = sorted(wanted.keys() - found.keys())
    unexpected = sorted(found[key].key for key in found.keys() - wanted.keys())
    mismatched = [
        f"{tensor.key}: {entries[tensor.key].dtype} {list(tensor.shape)}, expected {list(wanted[key])}"
        for key, tensor in found.items()
        if key in wanted and (tensor.shape != wanted[key] or entries[tensor.key].dtype not in _FLOATING)
    ]
    if missing or unexpected or mismatched:
        raise StateDictError(
            f"the tensors of {file.stored.header.path.name} do not fit its architecture",
            path=file.stored.header.path,
            missing=missing,
            unexpected=unexpected,
            mismatched=mismatched,
        )


_FLOATING = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
