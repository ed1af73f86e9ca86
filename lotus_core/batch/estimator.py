"""The model of a job, and what it makes of a few images of one size."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import LotusError
from ..inference.model import LotusModel, load_model
from ..inference.predict import predict_depth, predict_normals
from .job import Job


@dataclass(frozen=True)
class Estimate:
    """What became of one image.

    Attributes:
        values: (H, W) float32 in [0, 1], or (H, W, 3) OpenCV unit vectors; None where it failed.
        ms: Milliseconds of the model.
        error: Why it failed, or None.
    """

    values: Tensor | None
    ms: float
    error: Exception | None


class Estimator:
    """A loaded model with the options of a job.

    Args:
        job: What is done.
        model: The model, or None to load the job's.

    Attributes:
        kind: "depth", "disparity" or "normal".
        model_name: Name of the model.
        options: How it is run, as JSON values.

    Raises:
        CheckpointError: The model cannot be loaded.
        ModelTaskError: It estimates something else than the job says.
    """

    def __init__(self, job: Job, model: LotusModel | None = None) -> None:
        self._model = model or load_model(job.model, **job.loading)  # type: ignore[arg-type]
        self._job = job
        if job.task == "normal":
            self._model.require_normals()
        else:
            self._model.depth_kind()
        self.kind: str = self._model.info.output
        self.model_name: str = self._model.info.name
        self.options: dict[str, Any] = asdict(job.options)

    def run(self, images: Sequence[Tensor]) -> list[Estimate]:
        """Return what becomes of images of one size; one that fails does not take the others with it.

        Args:
            images: Each (1, H, W, 3) float in [0, 1].
        """
        start = time.perf_counter()
        try:
            values = self._predict(torch.cat(list(images)))
        except (LotusError, RuntimeError, ValueError) as error:
            if len(images) == 1:
                return [Estimate(None, _ms(start), error)]
            return [estimate for image in images for estimate in self.run([image])]
        ms = _ms(start) / len(images)
        return [Estimate(value, ms, None) for value in values]

    def _predict(self, images: Tensor) -> Tensor:
        if self._job.task == "normal":
            return predict_normals(self._model, images, self._job.options).vectors
        return predict_depth(self._model, images, self._job.options).values


def _ms(start: float) -> float:
    return (time.perf_counter() - start) * 1e3
