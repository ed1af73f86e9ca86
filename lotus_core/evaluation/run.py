"""Scores a model on a data set, seed by seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

import numpy as np
from torch import Tensor

from ..conventions import DepthKind
from ..errors import CorruptSampleError, DatasetError, ImageError, OptionError
from ..inference.model import LotusModel
from ..inference.options import InferenceOptions
from ..inference.predict import predict_depth, predict_normals
from ..types import ModelInfo
from .aggregate import mean_metrics, spread_of_metrics
from .alignment import align_depth
from .depth_metrics import DepthMetrics, depth_metrics
from .normal_metrics import AngularErrors, NormalMetrics, angular_error_deg
from .samples import Benchmark, DepthSample, NormalSample, Rules

M = TypeVar("M", DepthMetrics, NormalMetrics)
S = TypeVar("S", DepthSample, NormalSample)

MAX_SEED: Final = 2**32 - 1


@dataclass(frozen=True)
class Skipped:
    """A picture that was left out.

    Attributes:
        name: The picture.
        reason: Why.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Score(Generic[M]):
    """What a model, or a constant guess, reached on a data set.

    Attributes:
        model: What was run, or None for a guess.
        images: Pictures scored.
        skipped: Pictures left out.
        seeds: Seeds of the runs; one for a model without noise.
        by_seed: Metrics of each.
        mean: Their mean.
        spread: Their sample standard deviation, or None for one seed.
    """

    model: ModelInfo | None
    images: int
    skipped: tuple[Skipped, ...]
    seeds: tuple[int, ...]
    by_seed: tuple[M, ...]
    mean: M
    spread: M | None


Progress = Callable[[int, int], None]
"""Hears of every picture: (done, in all)."""


def noise_seed(seed: int, index: int) -> int:
    """Return the seed of the noise of the nth picture under a seed of the evaluation.

    Every picture has a noise of its own, as in the field's code. It has 32 bits: torch's generator on the CPU hears
    no more.
    """
    return int(np.random.SeedSequence([seed, index]).generate_state(1)[0])


def score_depth(values: Tensor, kind: DepthKind, sample: DepthSample, rules: Rules) -> DepthMetrics:
    """Return the errors of one prediction after scale and shift were fitted.

    As in the field's code, pixels whose predicted disparity is 0 take no part in the fit, and the aligned depth is
    clipped to the data set's range.

    Args:
        values: (H, W) float, affine-invariant depth or disparity.
        kind: Which.
        sample: Picture and truth, some pixel of it valid.
        rules: How the data set is scored.
    """
    use = sample.valid
    if kind == "disparity" and bool((use & (values > 0)).any()):
        use = use & (values > 0)
    aligned = align_depth(values, sample.depth, use, kind, max_side=rules.fit_max_side).depth
    return depth_metrics(
        aligned.clamp(max(rules.nearest_m, 1e-6), rules.farthest_m), sample.depth, sample.valid
    )


def evaluate_depth(
    model: LotusModel,
    benchmark: Benchmark[DepthSample],
    options: InferenceOptions,
    seeds: Sequence[int] = (0,),
    *,
    progress: Progress | None = None,
) -> Score[DepthMetrics]:
    """Return the scores of a depth or disparity model: the mean over pictures, for every seed.

    Args:
        model: The model.
        benchmark: The data set.
        options: How the model is run; its seed is replaced by those of `seeds`.
        seeds: One run each; a model without noise is run once.
        progress: Hears of every picture.

    Raises:
        ModelTaskError: A normal model.
        DatasetError: No picture could be scored.
        OptionError: No seed, or one outside its range.
    """
    kind = model.depth_kind()
    seeds = _checked_seeds(seeds, model)
    rows: list[list[DepthMetrics]] = [[] for _ in seeds]

    def score(index: int, sample: DepthSample) -> None:
        for row, seed in zip(rows, seeds, strict=True):
            run = replace(options, seed=noise_seed(seed, index))
            values = predict_depth(model, sample.rgb[None], run).values[0].cpu()
            row.append(score_depth(values, kind, sample, benchmark.rules))

    skipped = for_each_sample(benchmark, score, progress)
    _require_some(len(rows[0]), benchmark, skipped)
    return summarise(model.info, len(rows[0]), skipped, seeds, [mean_metrics(row) for row in rows])


def evaluate_normals(
    model: LotusModel,
    benchmark: Benchmark[NormalSample],
    options: InferenceOptions,
    seeds: Sequence[int] = (0,),
    *,
    progress: Progress | None = None,
) -> Score[NormalMetrics]:
    """Return the scores of a normal model over the pixels of all pictures, for every seed.

    Args:
        model: The model.
        benchmark: The data set.
        options: How the model is run; its seed is replaced by those of `seeds`.
        seeds: One run each; a model without noise is run once.
        progress: Hears of every picture.

    Raises:
        ModelTaskError: A depth model.
        DatasetError: No picture could be scored.
        OptionError: No seed, or one outside its range.
    """
    model.require_normals()
    seeds = _checked_seeds(seeds, model)
    errors = [AngularErrors() for _ in seeds]
    scored = 0

    def score(index: int, sample: NormalSample) -> None:
        nonlocal scored
        for collected, seed in zip(errors, seeds, strict=True):
            run = replace(options, seed=noise_seed(seed, index))
            vectors = predict_normals(model, sample.rgb[None], run).vectors[0].cpu()
            collected.add(angular_error_deg(vectors, sample.normals)[sample.valid])
        scored += 1

    skipped = for_each_sample(benchmark, score, progress)
    _require_some(scored, benchmark, skipped)
    return summarise(model.info, scored, skipped, seeds, [collected.metrics() for collected in errors])


def for_each_sample(
    benchmark: Benchmark[S], score: Callable[[int, S], None], progress: Progress | None = None
) -> tuple[Skipped, ...]:
    """Call a function for every picture that can be read and has a truth; return those left out, with reasons."""
    names = benchmark.names()
    skipped: list[Skipped] = []
    for index, name in enumerate(names):
        try:
            sample = benchmark.load(name)
            if bool(sample.valid.any()):
                score(index, sample)
            else:
                skipped.append(Skipped(name, "no pixel has a truth"))
        except (CorruptSampleError, ImageError) as error:
            skipped.append(Skipped(name, str(error)))
        if progress is not None:
            progress(index + 1, len(names))
    return tuple(skipped)


def summarise(
    model: ModelInfo | None,
    images: int,
    skipped: Sequence[Skipped],
    seeds: Sequence[int],
    by_seed: Sequence[M],
) -> Score[M]:
    """Return a score with its mean and spread over seeds."""
    return Score(
        model,
        images,
        tuple(skipped),
        tuple(seeds),
        tuple(by_seed),
        mean_metrics(by_seed),
        spread_of_metrics(by_seed),
    )


def _checked_seeds(seeds: Sequence[int], model: LotusModel) -> tuple[int, ...]:
    if not seeds or any(not 0 <= seed <= MAX_SEED for seed in seeds):
        raise OptionError("--seeds", list(seeds), "one or more integers from 0 to 2**32 - 1")
    return tuple(dict.fromkeys(seeds)) if model.info.mode == "g" else tuple(seeds[:1])


def _require_some(
    scored: int, benchmark: Benchmark[DepthSample] | Benchmark[NormalSample], skipped: Sequence[Skipped]
) -> None:
    if not scored:
        raise DatasetError(
            f"no picture of {benchmark.rules.dataset} could be scored",
            path=benchmark.rules.dataset,
            found=skipped[0].reason if skipped else None,
            remedy="check the data set",
        )
