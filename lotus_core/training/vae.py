"""Trains a small VAE that carries pictures, normals and depth maps through the same latents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional

from ..conventions import LATENT_CHANNELS
from .annotation import annotation, flipped
from .appearance import vary_appearance
from .config import VaeConfig
from .export import write_network
from .feed import Feed, readable
from .latents import latent_shape
from .networks import load_vae, seeded
from .objective import Losses, MicroStep
from .order import Order, draws
from .posterior import Posterior, decoded, posterior
from .sample import Sample
from .sheets import rows_of_pictures
from .sources import Sources

_KIND_DRAWS, _LATENT_DRAWS, _WINDOW_DRAWS = 21, 22, 23
_CALIBRATION = 256
"""Pictures by which the scaling factor is measured."""


@dataclass(frozen=True)
class VaeBatch:
    """Pictures of any kind, to be carried through the VAE.

    Attributes:
        pictures: (B, 3, H, W) float32 in [-1, 1].
        is_normal: (B,) bool, which of them are normal maps.
        valid: (B, 1, H, W) bool, where a normal map holds a unit vector.
        names: What messages call them.
    """

    pictures: Tensor
    is_normal: Tensor
    valid: Tensor
    names: tuple[str, ...]


class RoundTrip(nn.Module):
    """Pictures to latents and back.

    Args:
        vae: The autoencoder.
    """

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, pictures: Tensor, noise: Tensor, latent_noise: float) -> tuple[Tensor, Posterior]:
        """Return the decoded pictures, and what the encoder said of their latents.

        Args:
            pictures: (B, 3, H, W) float in [-1, 1].
            noise: (B, 4, H/8, W/8) standard normal.
            latent_noise: Its amplitude relative to the latents' own spread.
        """
        found = posterior(self.vae, pictures)
        spread = found.mean.detach().std() * latent_noise
        latents = found.mean + noise.to(found.mean) * (found.std**2 + spread**2).sqrt()
        return decoded(self.vae, latents), found


class VaeObjective:
    """The objective of stage "vae".

    Args:
        config: Its settings.
        sources: Examples.
    """

    def __init__(self, config: VaeConfig, sources: Sources[Sample]) -> None:
        self._config = config
        self._sources = sources
        vae = _starting_vae(config)
        self.module = RoundTrip(vae)
        if config.accelerator.gradient_checkpointing:
            vae.enable_gradient_checkpointing()

    def feed(self, rank: int, processes: int) -> Feed[Sample, VaeBatch]:
        """Return the batches of this process."""
        config, sources = self._config, self._sources
        order = Order(sources.sizes, sources.shares, config.schedule.batch_size, config.seed)
        workers = config.accelerator.workers
        return Feed(sources.datasets, order, self._batch, rank=rank, processes=processes, workers=workers)

    def losses(self, model: nn.Module, batch: VaeBatch, where: MicroStep) -> Losses:
        """Return the error of the round trip and the posterior's divergence; see `VaeConfig` for the weights."""
        config = self._config
        device = next(model.parameters()).device
        truth = batch.pictures.to(device)
        count, _, height, width = truth.shape
        shape = latent_shape(count * where.processes, height, width)
        noise = torch.randn(shape, generator=draws(config.seed, where.index, _LATENT_DRAWS))
        noise = noise[where.rank * count : (where.rank + 1) * count].to(device)
        if config.accelerator.channels_last:
            truth = truth.contiguous(memory_format=torch.channels_last)
        found, latents = model(truth, noise, config.latent_noise)
        error = found.float() - truth
        pixel = error.abs().mean() + 2 * error.square().mean()
        edge = (error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()) / 2
        angle = _angle_error(found.float(), truth, batch)
        divergence = latents.divergence()
        total = (
            pixel + config.edge_weight * edge + config.angle_weight * angle + config.kl_weight * divergence
        )
        return Losses(total, {"pixel": pixel, "edge": edge, "angle": angle, "divergence": divergence})

    def names(self, batch: VaeBatch) -> Sequence[str]:
        """Return what messages call the pictures of a batch."""
        return batch.names

    @torch.no_grad()
    def pictures(self) -> Tensor:
        """Return pictures, normals and depth maps above what the VAE makes of them."""
        dataset = self._sources.datasets[0]
        samples = [readable(dataset, index, []) for index in range(min(4, len(dataset)))]
        kinds = ("picture", "normal", "depth")
        truth = torch.stack([_picture(sample, kind, self._config) for sample in samples for kind in kinds])
        device = next(self.module.parameters()).device
        vae = self.module.vae
        return rows_of_pictures([truth, decoded(vae, posterior(vae, truth.to(device)).mean).cpu()])

    @torch.no_grad()
    def export(self, folder: Path) -> None:
        """Write a diffusers VAE folder whose scaling factor brings latents to unit spread."""
        vae = self.module.vae
        if not self._config.decoder_only:
            vae.register_to_config(scaling_factor=self._measured_scale())
        write_network(folder / "vae", vae, torch.float32)

    def _measured_scale(self) -> float:
        vae = self.module.vae
        feed = self.feed(0, 1)
        count = max(1, _CALIBRATION // self._config.schedule.batch_size)
        device = next(vae.parameters()).device
        latents = [
            posterior(vae, feed.at(step).batch.pictures.to(device)).mean.flatten() for step in range(count)
        ]
        return float(1 / torch.cat(latents).float().std())

    def _batch(self, samples: Sequence[Sample], micro_step: int, first: int) -> VaeBatch:
        config = self._config
        generator = draws(config.seed, micro_step, _KIND_DRAWS)
        coins = torch.rand((config.schedule.batch_size, 2), generator=generator)
        rows, columns = self._window(samples, micro_step)
        chosen: list[Tensor] = []
        normal: list[bool] = []
        valid: list[Tensor] = []
        for row, sample in enumerate(samples):
            kind_coin, mirror_coin = coins[first + row].tolist()
            sample = flipped(sample) if mirror_coin < 0.5 else sample
            kind = "picture"
            if kind_coin >= config.picture_share:
                kind = "normal" if kind_coin < config.picture_share + config.normal_share else "depth"
            picture = _picture(sample, kind, config)
            if kind == "picture":
                looks = draws(config.seed, micro_step, 1000 + first + row)
                picture = vary_appearance(picture, config.appearance, looks)
            chosen.append(picture[:, rows, columns])
            normal.append(kind == "normal")
            valid.append(sample.valid[rows, columns])
        return VaeBatch(
            torch.stack(chosen),
            torch.tensor(normal),
            torch.stack(valid)[:, None],
            tuple(sample.name for sample in samples),
        )

    def _window(self, samples: Sequence[Sample], micro_step: int) -> tuple[slice, slice]:
        """Return the rows and columns that a batch is cut to."""
        crop = self._config.crop
        coin, down, across = torch.rand(
            3, generator=draws(self._config.seed, micro_step, _WINDOW_DRAWS)
        ).tolist()
        height, width = samples[0].depth.shape
        if crop is None or coin >= self._config.crop_share:
            return slice(0, height), slice(0, width)
        top, left = int(down * max(1, height - crop[0] + 1)), int(across * max(1, width - crop[1] + 1))
        return slice(top, top + crop[0]), slice(left, left + crop[1])


def _starting_vae(config: VaeConfig) -> AutoencoderKL:
    if config.start is None:
        with seeded(config.seed):  # every process starts from the same weights
            return _random_vae(config)
    vae = load_vae(Path(config.start)).requires_grad_(True)
    if config.decoder_only:
        vae.encoder.requires_grad_(False)
        if vae.quant_conv is not None:
            vae.quant_conv.requires_grad_(False)
    return vae


def _random_vae(config: VaeConfig) -> AutoencoderKL:
    # diffusers annotates these tuples as being of length one
    settings: dict[str, Any] = {
        "block_out_channels": config.channels,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": config.layers_per_block,
        "norm_num_groups": config.norm_groups,
        "latent_channels": LATENT_CHANNELS,
        "mid_block_add_attention": False,
        "scaling_factor": 1.0,
        "sample_size": 128,
    }
    return AutoencoderKL(**settings)


def _picture(sample: Sample, kind: str, config: VaeConfig) -> Tensor:
    if kind == "picture":
        return sample.image
    return annotation(sample, "normal" if kind == "normal" else "depth", config.depth_map)


def _angle_error(found: Tensor, truth: Tensor, batch: VaeBatch) -> Tensor:
    """Return one minus the cosine between true and decoded normals, averaged over all pixels of the batch."""
    chosen = batch.is_normal.to(truth.device)[:, None, None] & batch.valid[:, 0].to(truth.device)
    cosine = functional.cosine_similarity(found, truth, dim=1, eps=1e-4)
    return torch.where(chosen, 1 - cosine, 0.0).mean()
