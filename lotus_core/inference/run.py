"""One call on a batch: checked pictures, sizes, and painted maps chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from ..conventions import NormalConvention, Task
from ..errors import OptionError
from .chunks import map_chunks
from .ensemble import merge_depths, merge_normals
from .image import check_images, resize_map, working_size
from .model import LotusModel, initial_noise
from .options import InferenceOptions
from .stages import Stages

Merged = tuple[Tensor, "Tensor | None"]
"""Values at the input's size, (B, H, W) or (B, H, W, 3), and their spread over the ensemble, (B, H, W)."""


class Progress(Protocol):
    """Hears of every finished map.

    Called with the number of maps done, the number in all, and the newest map as the model painted it,
    (3, h, w) float in [0, 1] on the CPU. It may raise, to stop the run.
    """

    def __call__(self, done: int, total: int, preview: Tensor) -> None:
        """Take note."""
        ...


class Run:
    """One call of a `predict_` function.

    Args:
        models: Models that see the same pictures; those whose VAE is that of the first share its work.
        images: (B, H, W, 3) float RGB in [0, 1]; grey and RGBA too.
        options: How to run; the defaults if None.
        task: Position of the task switcher.
        progress: Called after every map.

    Attributes:
        images: The checked pictures, (B, H, W, 3).
        size: Sizes of the run.

    Raises:
        InputError: Pictures or options that cannot be used.
    """

    def __init__(
        self,
        models: Sequence[LotusModel],
        images: Tensor,
        options: InferenceOptions | None = None,
        task: Task = "annotation",
        progress: Progress | None = None,
    ) -> None:
        self.options = options or InferenceOptions()
        self.models = models
        self.images = check_images(images)
        self.task: Task = task
        resolution = self.options.resolution
        resolution = models[0].info.default_resolution if resolution is None else resolution
        self.size = working_size(self.images.shape[1], self.images.shape[2], resolution)
        self._progress = progress
        self._finished = 0  # maps of the chunks that are done
        self._total = len(self.images) * len(models) * self.options.ensemble_size
        for model in models:
            if model.info.mode == "d" and self.options.ensemble_size != 1:
                raise OptionError(
                    "ensemble_size",
                    self.options.ensemble_size,
                    f"1 for {model.info.name}: a discriminative model gives the same map every time",
                )

    def chunks(self) -> Iterator[list[Tensor]]:
        """Yield, chunk by chunk and for every model, (N, B, 3, h, w) painted maps in [0, 1] on the CPU.

        Raises:
            NonFiniteError: NaN also in fp32.
            MemoryLimitError: Not even one picture fits.
        """
        stages = [Stages(model) for model in self.models]
        yield from map_chunks(
            self.images,
            lambda part: self._chunk(stages, part),
            self.models,
            self.size,
            self.options.batch_size,
        )

    def _chunk(self, stages: Sequence[Stages], images: Tensor) -> list[Tensor]:
        first = self.models[0]
        latents = stages[0].encode(images, self.size)
        results: list[Tensor] = []
        done = self._finished
        for stage in stages:
            digests = stage.model.vae_digests
            own = latents if digests.encoder == first.vae_digests.encoder else stage.encode(images, self.size)
            decoder = stages[0] if digests.decoder == first.vae_digests.decoder else stage
            members: list[Tensor] = []
            for k in range(self.options.ensemble_size):
                noise = (
                    initial_noise(own.shape, self.options.seed + k) if stage.model.info.mode == "g" else None
                )
                members.append(decoder.decode(stage.denoise(own, noise, self.task), self.size).cpu())
                done += len(images)
                if self._progress is not None:
                    self._progress(done, self._total, members[-1][-1])
            results.append(torch.stack(members))
        self._finished = done  # only now: a chunk that ran out of memory is counted again from its start
        return results

    def merge_depths(self, maps: Tensor) -> Merged:
        """Return the depth of painted maps (N, B, 3, h, w): the mean channel at the input's size, merged."""
        resized = resize_map(maps.flatten(0, 1), self.size.height, self.size.width, self.options.upsample)
        depths = resized.mean(1).clamp(0.0, 1.0).reshape(*maps.shape[:2], self.size.height, self.size.width)
        return (depths[0], None) if len(depths) == 1 else merge_depths(depths)

    def merge_normals(self, maps: Tensor) -> Merged:
        """Return the OpenCV unit normals of painted maps (N, B, 3, h, w) at the input's size, merged."""
        vectors = F.normalize(maps.flatten(0, 1) * 2.0 - 1.0, dim=1)  # Lotus's colours -> directions
        resized = resize_map(vectors, self.size.height, self.size.width, self.options.upsample)
        signs = resized.new_tensor(NormalConvention.LOTUS.signs_from_opencv)
        unit = unit_normals(resized.movedim(1, -1) * signs)
        stacked = unit.reshape(*maps.shape[:2], self.size.height, self.size.width, 3)
        return (stacked[0], None) if len(stacked) == 1 else merge_normals(stacked)


class Collected:
    """Results of all chunks, written into place so that a long batch is held once."""

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._at = 0
        self._values: Tensor | None = None
        self._spread: Tensor | None = None

    def add(self, merged: Merged) -> None:
        """Append one chunk's result."""
        values, spread = merged
        if self._values is None:
            self._values = values.new_empty((self._batch, *values.shape[1:]))
            self._spread = None if spread is None else spread.new_empty((self._batch, *spread.shape[1:]))
        stop = self._at + len(values)
        self._values[self._at : stop] = values
        if self._spread is not None and spread is not None:
            self._spread[self._at : stop] = spread
        self._at = stop

    def result(self) -> Merged:
        """Return what was collected, the whole batch long."""
        if self._values is None or self._at != self._batch:
            raise RuntimeError(f"{self._at} of {self._batch} results were collected")
        return self._values, self._spread


def unit_normals(vectors: Tensor) -> Tensor:
    """Return (..., 3) unit vectors; one without a direction faces the camera, (0, 0, -1)."""
    length = vectors.norm(dim=-1, keepdim=True)
    facing = vectors.new_tensor((0.0, 0.0, -1.0))
    return torch.where(length > 1e-6, vectors / length.clamp_min(1e-6), facing)
