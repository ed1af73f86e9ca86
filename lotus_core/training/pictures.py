"""Batches of pictures, for the VAE and for training without kept latents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .annotation import DepthMap, Target, annotation, flipped, known
from .order import draws
from .sample import Sample

_MIRROR = 11


@dataclass(frozen=True)
class PictureBatch:
    """Pictures with their annotation.

    Attributes:
        images: (B, 3, H, W) float32 in [-1, 1].
        annotations: (B, 3, H, W) float32 in [-1, 1].
        known: (B, 1, H, W) bool, where the annotation counts.
        names: What messages call them.
    """

    images: Tensor
    annotations: Tensor
    known: Tensor
    names: tuple[str, ...]


def annotated(samples: Sequence[Sample], target: Target, depth_map: DepthMap) -> PictureBatch:
    """Return examples with their annotation as a batch; all must be of one size."""
    return PictureBatch(
        images=torch.stack([sample.image for sample in samples]),
        annotations=torch.stack([annotation(sample, target, depth_map) for sample in samples]),
        known=torch.stack([known(sample, target) for sample in samples])[:, None],
        names=tuple(sample.name for sample in samples),
    )


def mirrored_half(samples: Sequence[Sample], seed: int, micro_step: int, first: int) -> list[Sample]:
    """Return the examples, each mirrored with probability 1/2.

    Args:
        samples: This process's part of a micro-batch.
        seed: Of the run.
        micro_step: Counted from 0.
        first: Place of the first example in the whole micro-batch.
    """
    coins = torch.rand(first + len(samples), generator=draws(seed, micro_step, _MIRROR))[first:]
    return [flipped(sample) if coin < 0.5 else sample for sample, coin in zip(samples, coins, strict=True)]
