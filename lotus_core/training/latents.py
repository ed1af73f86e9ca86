"""Examples as latents: batches of them, and a set of them on disk, written once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor
from torch.nn import functional

from ..conventions import LATENT_CHANNELS, LATENT_STRIDE
from ..errors import CorruptSampleError, StorageError
from ..io.atomic import write_bytes
from .annotation import Target
from .posterior import posterior
from .shards import shards_by_size

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

_NAME = re.compile(r"latents-(?P<height>\d+)x(?P<width>\d+)-.*\.safetensors")


@dataclass(frozen=True)
class LatentExample:
    """One example, encoded.

    Attributes:
        image: (4, h, w) float32, scaled latents of the picture.
        annotation: (4, h, w) float32, of its annotation.
        known: (h, w) bool, cells in which every pixel of the annotation counts.
        name: What messages call it.
    """

    image: Tensor
    annotation: Tensor
    known: Tensor
    name: str


@dataclass(frozen=True)
class LatentBatch:
    """Examples of one size, encoded.

    Attributes:
        images: (B, 4, h, w) float32, scaled latents of the pictures.
        annotations: (B, 4, h, w) float32, of their annotations.
        known: (B, 1, h, w) bool, cells in which every pixel of the annotation counts.
        names: What messages call them.
    """

    images: Tensor
    annotations: Tensor
    known: Tensor
    names: tuple[str, ...]


def stacked(examples: Sequence[LatentExample]) -> LatentBatch:
    """Return examples of one size as a batch."""
    return LatentBatch(
        images=torch.stack([example.image for example in examples]),
        annotations=torch.stack([example.annotation for example in examples]),
        known=torch.stack([example.known for example in examples])[:, None],
        names=tuple(example.name for example in examples),
    )


def known_cells(known: Tensor) -> Tensor:
    """Return the latent cells whose 8x8 pixels are all known.

    Args:
        known: (B, 1, H, W) bool.

    Returns:
        (B, 1, H/8, W/8) bool. One unknown pixel makes its whole cell unknown.

    Source: reference train_lotus_g.py, valid_mask_down_anno.
    """
    return functional.max_pool2d((~known).float(), LATENT_STRIDE) == 0


@torch.no_grad()
def encode_pictures(vae: AutoencoderKL, pictures: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return scaled latents.

    Args:
        vae: On the device and in the type in which it computes.
        pictures: (B, 3, H, W) float in [-1, 1].
        generator: Draws from the posterior; None takes its mode.

    Returns:
        (B, 4, H/8, W/8) float32 on the VAE's device.
    """
    parameter = next(vae.parameters())
    found = posterior(vae, pictures.to(parameter.device, parameter.dtype))
    latents = found.mean
    if generator is not None:
        noise = torch.randn(latents.shape, generator=generator).to(latents.device)
        latents = latents + found.std * noise
    return latents * float(vae.config["scaling_factor"])


def write_latents(path: Path, tensors: dict[str, Tensor], names: Sequence[str]) -> None:
    """Write one shard.

    Args:
        path: Of its file.
        tensors: image, depth and normal, (N, 4, h, w) float scaled latents, kept as float16; known_depth and
            known_normal, (N, h, w) bool, kept as uint8.
        names: What messages call the N examples.

    Raises:
        StorageError: The disk refuses the file.
    """
    kept = {
        key: (tensor.half() if tensor.is_floating_point() else tensor.to(torch.uint8)).contiguous()
        for key, tensor in tensors.items()
    }
    write_bytes(path, save(kept, {"names": "\n".join(names)}))


class LatentSet:
    """The shards of a set that have one size, for one target.

    Args:
        files: Shards of one size.
        target: Which annotation is learned.
    """

    def __init__(self, files: tuple[Path, ...], target: Target) -> None:
        self._target = target
        self._rows: list[tuple[int, int]] = []
        self._shards: list[dict[str, Tensor]] = []
        self._files = files
        for number, file in enumerate(files):
            try:
                self._shards.append(load_file(file))  # mapped: only what is used is read
            except (SafetensorError, OSError) as error:
                raise StorageError(
                    f"the shard {file} cannot be read",
                    found=str(error),
                    remedy="delete it and encode it again",
                ) from error
            self._rows += [(number, row) for row in range(len(self._shards[-1]["image"]))]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> LatentExample:
        """Return one example.

        Raises:
            CorruptSampleError: Its latents are not finite.
        """
        shard, row = self._rows[index]
        tensors, name = self._shards[shard], f"{self._files[shard].name}[{row}]"
        image, annotation = tensors["image"][row].float(), tensors[self._target][row].float()
        if not (image.isfinite().all() and annotation.isfinite().all()):
            raise CorruptSampleError(
                f"the latents {name} are not finite",
                path=self._files[shard],
                found="NaN or infinity",
                remedy="encode them again",
            )
        return LatentExample(image, annotation, tensors[f"known_{self._target}"][row].bool(), name)


def open_latent_sets(folder: Path, target: Target) -> tuple[LatentSet, ...]:
    """Return the sets of a folder, one for each size.

    Raises:
        StorageError: The folder holds no latents, or a damaged file.
    """
    groups = shards_by_size(folder, _NAME)
    if not groups:
        raise StorageError(
            f"{folder} holds no latents",
            found="no file latents-*.safetensors",
            remedy="encode them first with a config whose stage is latents",
        )
    return tuple(LatentSet(files, target) for files in groups)


def latent_shape(batch: int, height: int, width: int) -> tuple[int, int, int, int]:
    """Return the shape of the latents of pictures."""
    return batch, LATENT_CHANNELS, height // LATENT_STRIDE, width // LATENT_STRIDE
