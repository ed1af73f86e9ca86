"""One network of a file under diffusers' keys, whatever keys the file itself has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .header import Header, Shape

if TYPE_CHECKING:
    from torch import Tensor

KeyFormat = Literal["diffusers", "ldm", "ldm-prefixed"]
"""Whose names a file's keys have: diffusers' (``down_blocks...``), those of the original latent diffusion code
(``input_blocks...``), or the latter with the prefix of a full checkpoint (``model.diffusion_model...``)."""


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a file, as diffusers shapes it.

    Attributes:
        key: The file's own key.
        shape: Shape in diffusers' layout; the same numbers in the same order as in the file.
    """

    key: str
    shape: Shape


@dataclass(frozen=True)
class StoredNetwork:
    """A UNet or a VAE inside a file.

    Attributes:
        header: The file's checked header.
        keys: Whose names the file uses.
        tensors: By diffusers key. A key that belongs to no known layer stands under its own name, so that a
            strict load lists it.
    """

    header: Header
    keys: KeyFormat
    tensors: Mapping[str, StoredTensor]

    @property
    def shapes(self) -> dict[str, Shape]:
        """Shape of every tensor by diffusers key."""
        return {key: tensor.shape for key, tensor in self.tensors.items()}

    def arrange(self, mapped: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a file's tensors under diffusers' keys and shapes, as views: nothing is copied."""
        return {key: mapped[tensor.key].view(tensor.shape) for key, tensor in self.tensors.items()}
