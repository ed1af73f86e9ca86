"""The diffusion around the denoiser: noise in, targets, and the way back to the annotation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor

from ..conventions import TIMESTEP
from .config import Noise

TRAIN_TIMESTEPS: Final = TIMESTEP + 1
BETA_START: Final = 0.00085
BETA_END: Final = 0.012
BETA_SCHEDULE: Final = "scaled_linear"
"""The noise schedule. Source: scheduler/scheduler_config.json of Stable Diffusion 2."""

MAX_DDIM_STEPS: Final = 50
"""More trained times than this are inferred in this many. Source: Lotus (arXiv 2409.18124), figure 6."""


class Diffusion:
    """Stable Diffusion 2's noise schedule with one of three predictions, at one time or many.

    Args:
        settings: Prediction and number of times.
    """

    def __init__(self, settings: Noise) -> None:
        self.settings = settings
        self._scheduler = DDPMScheduler(
            num_train_timesteps=TRAIN_TIMESTEPS,
            beta_start=BETA_START,
            beta_end=BETA_END,
            beta_schedule=BETA_SCHEDULE,
        )

    @property
    def times(self) -> Tensor:
        """The times of training, (N,) int64, falling from 999; evenly spaced."""
        return self._times(self.settings.steps)

    def draw_times(self, count: int, generator: torch.Generator) -> Tensor:
        """Return random times of training, (count,) int64."""
        times = self.times
        return times[torch.randint(len(times), (count,), generator=generator)]

    def add_noise(self, x0: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Return ``sqrt(a) * x0 + sqrt(1 - a) * noise``; at t = 999 sqrt(a) is 0.0683.

        Args:
            x0: (B, 4, h, w) scaled latents.
            noise: (B, 4, h, w) standard normal.
            times: (B,) int64.
        """
        return self._scheduler.add_noise(x0, noise, times)  # type: ignore[arg-type]

    def target(self, x0: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Return what the network is to say: x0, the noise, or ``sqrt(a) * noise - sqrt(1 - a) * x0``."""
        if self.settings.prediction == "x0":
            return x0
        if self.settings.prediction == "epsilon":
            return noise
        share = self._scheduler.alphas_cumprod.to(x0)[times.to(x0.device)][:, None, None, None]
        return share.sqrt() * noise - (1 - share).sqrt() * x0

    def denoise(self, predict: Callable[[Tensor, int], Tensor], noise: Tensor) -> Tensor:
        """Return x0 by deterministic DDIM, in as many steps as there are times, 50 at most.

        With one step and prediction x0 this is what inference does: the network's output is the answer.

        Args:
            predict: The network: (B, 4, h, w) noisy latents and the time to its prediction.
            noise: (B, 4, h, w) standard normal, the start.
        """
        times = self._times(min(self.settings.steps, MAX_DDIM_STEPS)).tolist()
        latents = noise
        for time, following in zip(times, [*times[1:], None], strict=True):
            share = self._scheduler.alphas_cumprod[time].item()
            x0 = self._x0(predict(latents, time), latents, share)
            if following is None:
                return x0
            implied_noise = (latents - share**0.5 * x0) / (1 - share) ** 0.5
            ahead = self._scheduler.alphas_cumprod[following].item()
            latents = ahead**0.5 * x0 + (1 - ahead) ** 0.5 * implied_noise
        return latents

    def _x0(self, prediction: Tensor, latents: Tensor, share: float) -> Tensor:
        """Return what a prediction says of x0, where `share` of the latents' variance is signal."""
        if self.settings.prediction == "x0":
            return prediction
        if self.settings.prediction == "epsilon":
            return (latents - (1 - share) ** 0.5 * prediction) / share**0.5
        return share**0.5 * latents - (1 - share) ** 0.5 * prediction

    def _times(self, count: int) -> Tensor:
        spacing = TRAIN_TIMESTEPS / count
        return (torch.arange(TRAIN_TIMESTEPS, 0, -spacing, dtype=torch.float64).round().long() - 1)[:count]
