"""The objective of stage "lotus": a denoiser that paints the annotation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor, nn

from ..conventions import OutputKind
from .config import LotusConfig
from .denoiser import Denoiser
from .diffusion import Diffusion
from .export import write_checkpoint
from .feed import Feed, readable
from .latents import LatentBatch, LatentExample, encode_pictures, known_cells, stacked
from .networks import StartingParts
from .objective import Losses, MicroStep
from .order import Order, draws
from .pictures import PictureBatch, annotated, mirrored_half
from .posterior import decoded
from .protocol import doubled, reconstructed_rows, two_losses
from .sample import Sample
from .sheets import rows_of_pictures
from .sources import Sources

_NOISE_DRAWS, _TIME_DRAWS, _POSTERIOR_DRAWS = 31, 32, 33
_SHOWN = 6


class LotusObjective:
    """Trains a `Denoiser`.

    Args:
        config: Settings.
        sources: Examples: pictures or latents.
        parts: Networks to start from.
    """

    def __init__(
        self, config: LotusConfig, sources: Sources[Sample | LatentExample], parts: StartingParts
    ) -> None:
        self._config = config
        self._sources = sources
        self._parts = parts
        self._diffusion = Diffusion(config.noise)
        if config.accelerator.gradient_checkpointing:
            parts.unet.enable_gradient_checkpointing()
        if config.accelerator.mixed_precision == "bf16" and not torch.cuda.is_available():
            # torch's fused attention runs backwards slowly in bf16 on the CPU: a quarter of a small model's step
            parts.unet.set_attn_processor(AttnProcessor())
        self.module = Denoiser(parts.unet.train().requires_grad_(True), parts.prompt_embeds)

    @property
    def output(self) -> OutputKind:
        """What the model estimates."""
        if self._config.target == "normal":
            return "normal"
        return "disparity" if self._config.depth_map.startswith("disparity") else "depth"

    def feed(self, rank: int, processes: int) -> Feed[Sample | LatentExample, PictureBatch | LatentBatch]:
        """Return the batches of this process."""
        config, sources = self._config, self._sources
        order = Order(sources.sizes, sources.shares, config.schedule.batch_size, config.seed)
        workers = config.accelerator.workers
        return Feed(sources.datasets, order, self._collate, rank=rank, processes=processes, workers=workers)

    def losses(self, model: nn.Module, batch: PictureBatch | LatentBatch, where: MicroStep) -> Losses:
        """Return the annotation's and the reconstruction's loss, added."""
        config = self._config
        latents = self._on_device(batch, where)
        count, first = len(latents.images), where.rank * len(latents.images)
        rows = reconstructed_rows(config.switcher, where.step, first, count)
        noise, times = self._draw(latents, rows, where)
        doubled_batch = doubled(latents, rows.to(noise.device), config.mode, self._diffusion, noise, times)
        prediction = model(doubled_batch.sample, doubled_batch.times, doubled_batch.annotations)
        parts = two_losses(prediction, doubled_batch, _all_sum if where.processes > 1 else None)
        total = parts.annotation + parts.reconstruction
        return Losses(total, {"annotation": parts.annotation, "reconstruction": parts.reconstruction})

    def names(self, batch: PictureBatch | LatentBatch) -> Sequence[str]:
        """Return what messages call the examples of a batch."""
        return batch.names

    @torch.no_grad()
    def pictures(self) -> Tensor:
        """Return pictures, their annotations, and what the denoiser makes of them, below each other."""
        dataset = self._sources.datasets[0]
        batch = self._collate(
            [readable(dataset, index, []) for index in range(min(_SHOWN, len(dataset)))], 0, 0
        )
        latents = self._on_device(batch, MicroStep(0, 0))
        noise = torch.randn(latents.images.shape, generator=draws(self._config.seed, 0, _NOISE_DRAWS))
        found = self.predict(latents.images, noise.to(latents.images))
        return rows_of_pictures(
            [self.decode(x0).cpu() for x0 in (latents.images, latents.annotations, found)]
        )

    @torch.no_grad()
    def predict(self, images: Tensor, noise: Tensor, *, reconstruct: bool = False) -> Tensor:
        """Return x0 as inference finds it, by as many steps as the config says.

        Args:
            images: (B, 4, h, w) scaled latents of pictures.
            noise: (B, 4, h, w) standard normal; unused by "d".
            reconstruct: The task switcher's other side.
        """
        annotations = 0 if reconstruct else len(images)

        def network(latents: Tensor, time: int) -> Tensor:
            sample = images if self._config.mode == "d" else torch.cat([images, latents], dim=1)
            times = torch.full((len(images),), time, device=images.device)
            return self.module(sample, times, annotations).float()

        return self._diffusion.denoise(network, noise)

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """Return scaled latents of pictures, (B, 3, H, W) in [-1, 1], on the module's device: the posterior's mode."""
        return encode_pictures(self._vae(next(self.module.parameters()).device), pictures)

    @torch.no_grad()
    def decode(self, x0: Tensor) -> Tensor:
        """Return the pictures of scaled latents, (B, 3, 8h, 8w), about [-1, 1]."""
        vae = self._vae(x0.device)
        return decoded(vae, x0 / float(vae.config["scaling_factor"]))

    def export(self, folder: Path) -> None:
        """Write a diffusers folder that every Lotus loader opens."""
        start = self._config.start.checkpoint
        source = None if start is None else Path(start).expanduser()
        write_checkpoint(folder, self._parts, self._config.mode, self.output, source)

    def _collate(
        self, items: Sequence[Sample | LatentExample], micro_step: int, first: int
    ) -> PictureBatch | LatentBatch:
        pictures = [item for item in items if isinstance(item, Sample)]
        if not pictures:
            return stacked([item for item in items if isinstance(item, LatentExample)])
        config = self._config
        if config.mirror:
            pictures = mirrored_half(pictures, config.seed, micro_step, first)
        return annotated(pictures, config.target, config.depth_map)

    def _on_device(self, batch: PictureBatch | LatentBatch, where: MicroStep) -> LatentBatch:
        """Return the latents of a batch, on the module's device."""
        device = next(self.module.parameters()).device
        if isinstance(batch, LatentBatch):
            images, annotations = batch.images.to(device), batch.annotations.to(device)
            return LatentBatch(images, annotations, batch.known.to(device), batch.names)
        vae = self._vae(device)
        generator = None
        if self._config.posterior == "sample":
            generator = draws(self._config.seed, where.index, _POSTERIOR_DRAWS + 100 * (1 + where.rank))
        return LatentBatch(
            images=encode_pictures(vae, batch.images, generator),
            annotations=encode_pictures(vae, batch.annotations, generator),
            known=known_cells(batch.known).to(device),
            names=batch.names,
        )

    def _draw(self, latents: LatentBatch, rows: Tensor, where: MicroStep) -> tuple[Tensor, Tensor]:
        """Return noise and times of this process's rows, cut from those of the whole batch."""
        count = len(latents.images)
        whole = count * where.processes
        part = slice(where.rank * count, (where.rank + 1) * count)
        generator = draws(self._config.seed, where.index, _NOISE_DRAWS)
        noise = torch.randn((2, whole, *latents.images.shape[1:]), generator=generator)[:, part]
        times = self._diffusion.draw_times(2 * whole, draws(self._config.seed, where.index, _TIME_DRAWS))
        times = times.view(2, whole)[:, part]
        device = latents.images.device
        return torch.cat([noise[0], noise[1][rows]]).to(device), torch.cat([times[0], times[1][rows]]).to(
            device
        )

    def _vae(self, device: torch.device) -> AutoencoderKL:
        nn.Module.to(self._parts.vae, device)
        return self._parts.vae


def _all_sum(values: Tensor) -> Tensor:
    values = values.clone()
    torch.distributed.all_reduce(values)
    return values
