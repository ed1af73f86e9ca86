"""One call on a batch: checked pictures, sizes, and painted maps chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from ..conventions import NormalConvention, Task
from ..errors import OptionError
from .chunks import computes_together, map_chunks
from .ensemble import merge_depths, merge_normals
from .image import check_images, resize_map, working_size
from .model import LotusModel, initial_noise
from .options import InferenceOptions
from .side_by_side import side_by_side
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
        latents: dict[str, Tensor] = {}  # by what encodes
        painted: list[list[Tensor]] = [[] for _ in stages]
        done = self._finished
        for together in self._rounds():
            for i, _ in together:
                encoder = self.models[i].vae_digests.encoder
                if encoder not in latents:
                    latents[encoder] = stages[i].encode(images, self.size)
            jobs = [
                partial(self._paint, stages, i, k, latents[self.models[i].vae_digests.encoder])
                for i, k in together
            ]
            maps = side_by_side(jobs, self.models[0].placement.device)
            for (i, _), newest in zip(together, maps, strict=True):
                painted[i].append(newest)
                done += len(images)
                if self._progress is not None:
                    self._progress(done, self._total, newest[-1])
        self._finished = done  # only now: a chunk that ran out of memory is counted again from its start
        return [torch.stack(members) for members in painted]

    def _rounds(self) -> list[list[tuple[int, int]]]:
        """Return pairs (model, member of the ensemble) that are painted at the same time, round by round.

        One after the other all members of a model follow each other: a host may have to load each model.
        """
        members = range(self.options.ensemble_size)
        if computes_together(self.models):
            return [[(i, k) for i in range(len(self.models))] for k in members]
        return [[(i, k)] for i in range(len(self.models)) for k in members]

    def _paint(self, stages: Sequence[Stages], i: int, k: int, latents: Tensor) -> Tensor:
        """Return what model `i` paints from the noise of member `k`, on the CPU."""
        model = self.models[i]
        noise = initial_noise(latents.shape, self.options.seed + k) if model.info.mode == "g" else None
        same_decoder = model.vae_digests.decoder == self.models[0].vae_digests.decoder
        x0 = stages[i].denoise(latents, noise, self.task)
        return stages[0 if same_decoder else i].decode(x0, self.size).cpu()

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
