"""diffusers' two model classes, built without memory and given the tensors of a file as they lie on disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import StateDictError

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from torch import Tensor, nn

_M = TypeVar("_M", bound="nn.Module")


def build_unet(config: Mapping[str, Any], tensors: Mapping[str, Tensor], name: str) -> UNet2DConditionModel:
    """Return diffusers' UNet around the given tensors: not copied, in their dtype, eval mode, without gradients.

    Raises:
        StateDictError: Keys missing or unexpected, or tensors of another shape.
    """
    import torch
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(**config)
    return _adopt(unet, tensors, name)


def build_vae(config: Mapping[str, Any], tensors: Mapping[str, Tensor], name: str) -> AutoencoderKL:
    """Return diffusers' VAE around the given tensors: not copied, in their dtype, eval mode, without gradients.

    Raises:
        StateDictError: Keys missing or unexpected, or tensors of another shape.
    """
    import torch
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    with torch.device("meta"):
        vae = AutoencoderKL(**config)
    return _adopt(vae, tensors, name)


def _adopt(module: _M, tensors: Mapping[str, Tensor], name: str) -> _M:
    expected = module.state_dict()
    mismatched = [
        f"{key}: {_size(tensors[key])}, expected {_size(tensor)}"
        for key, tensor in expected.items()
        if key in tensors and (tensors[key].shape != tensor.shape or not tensors[key].is_floating_point())
    ]
    missing, unexpected = _differences(expected, tensors)
    if missing or unexpected or mismatched:
        raise StateDictError(
            f"the tensors of {name} do not fit its architecture",
            path=name,
            missing=missing,
            unexpected=unexpected,
            mismatched=mismatched,
        )
    module.load_state_dict(tensors, strict=True, assign=True)
    return module.eval().requires_grad_(False)


def _differences(expected: Iterable[str], found: Iterable[str]) -> tuple[list[str], list[str]]:
    wanted, present = set(expected), set(found)
    return sorted(wanted - present), sorted(present - wanted)


def _size(tensor: Tensor) -> str:
    return f"{list(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
