"""The Lotus protocol: which rows are painted back, the doubled batch, and the two losses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..conventions import Mode
from .config import Switcher
from .diffusion import Diffusion
from .latents import LatentBatch


@dataclass(frozen=True)
class DoubledBatch:
    """What goes through the network in one micro-step: A annotations, then R reconstructions.

    Attributes:
        sample: (A + R, 4 | 8, h, w), the network's input.
        times: (A + R,) int64.
        target: (A + R, 4, h, w), what the network is to say.
        known: (A, 1, h, w) bool, cells of the annotation that count.
        annotations: A.
    """

    sample: Tensor
    times: Tensor
    target: Tensor
    known: Tensor
    annotations: int


@dataclass(frozen=True)
class TwoLosses:
    """The two parts of the loss, scalars.

    Attributes:
        annotation: Mean square over the known cells of the annotations.
        reconstruction: Mean square over the reconstructions; zero without any.
    """

    annotation: Tensor
    reconstruction: Tensor


def reconstructed_rows(switcher: Switcher, step: int, first: int, count: int) -> Tensor:
    """Return which rows of this process's part of the batch also take the reconstruction side.

    Args:
        switcher: Its settings.
        step: Optimiser steps done.
        first: Place of the part's first row in the whole batch.
        count: Rows of the part.

    Returns:
        (R,) int64. With a share of 1/4 these are the rows 0, 4, 8, ... of the whole batch.
    """
    if not switcher.enabled:
        return torch.empty(0, dtype=torch.long)
    share = switcher.share if step < switcher.later_step else switcher.later_share
    every = round(1 / share)
    rows = torch.arange(first, first + count)
    return (rows % every == 0).nonzero()[:, 0]


def doubled(
    batch: LatentBatch,
    rows: Tensor,
    mode: Mode,
    diffusion: Diffusion,
    noise: Tensor,
    times: Tensor,
) -> DoubledBatch:
    """Return the network's input and target for annotations and reconstructions.

    Args:
        batch: Scaled latents.
        rows: Of the batch, those that are also reconstructed.
        mode: "g" sees the noisy target beside the picture, "d" the picture alone.
        diffusion: Noise schedule and prediction.
        noise: (B + R, 4, h, w) standard normal.
        times: (B + R,) int64.

    Source: reference train_lotus_g.py and train_lotus_d.py.
    """
    images = torch.cat([batch.images, batch.images[rows]])
    x0 = torch.cat([batch.annotations, batch.images[rows]])
    if mode == "d":
        return DoubledBatch(images, times, x0, batch.known, len(batch.images))
    noisy = diffusion.add_noise(x0, noise, times)
    return DoubledBatch(
        sample=torch.cat([images, noisy], dim=1),  # picture first
        times=times,
        target=diffusion.target(x0, noise, times),
        known=batch.known,
        annotations=len(batch.images),
    )


def two_losses(
    prediction: Tensor, batch: DoubledBatch, sum_over_processes: Callable[[Tensor], Tensor] | None = None
) -> TwoLosses:
    """Return the two losses.

    Args:
        prediction: (A + R, 4, h, w), what the network said.
        batch: What it saw.
        sum_over_processes: Adds a (2,) tensor up over all processes; None for a single one. With it, the mean of the
            losses over the processes is the loss of the whole batch, however the known cells are spread.

    Source: reference train_lotus_g.py: two means, masked for the annotation alone, added.
    """
    square = (prediction.float() - batch.target.float()).square()
    known = batch.known.expand(-1, square.shape[1], -1, -1)
    anno = torch.where(known, square[: batch.annotations], 0.0).sum()
    recon = square[batch.annotations :].sum()
    counts = torch.stack(
        [known.sum(), torch.tensor(square[batch.annotations :].numel()).to(known.device)]
    ).float()
    processes = torch.ones(())
    if sum_over_processes is not None:
        processes = sum_over_processes(torch.ones(2, device=counts.device))[0]
        counts = sum_over_processes(counts)
    scale = processes.to(counts) / counts.clamp_min(1)
    return TwoLosses(anno * scale[0], recon * scale[1])
