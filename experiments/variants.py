"""Which runs an experiment is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

SEEDS: Final = (0, 1, 2)
RANDOM_WEIGHTS: Final[Mapping[str, Any]] = {
    "start.checkpoint": None,
    "start.channels": [48, 80, 96],
    "start.attention": [False, True, True],
}
"""In the place of the checkpoint, a network of its size; the VAE stays."""


@dataclass(frozen=True)
class Variant:
    """One curve or row of an experiment, run once for every seed.

    Attributes:
        name: Of the row.
        changes: Settings in place of the base's, by dotted key.
        scenes: Training scenes, about; None for all.
    """

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    scenes: int | None = None


@dataclass(frozen=True)
class Experiment:
    """One finding of the paper.

    Attributes:
        name: On the command line.
        claim: What the paper says.
        variants: Its rows.
        columns: Figures that the claim is about.
    """

    name: str
    claim: str
    variants: tuple[Variant, ...]
    columns: tuple[str, ...]


def _predictions() -> tuple[Variant, ...]:
    """Return x0, epsilon and v with many steps; x0 and epsilon also from weights that never predicted any x0."""
    pretrained = [
        Variant(f"{kind}, 50 steps", {"noise.prediction": kind, "noise.steps": 50})
        for kind in ("x0", "epsilon", "v")
    ]
    scratch = [
        Variant(f"{variant.name}, from scratch", {**variant.changes, **RANDOM_WEIGHTS})
        for variant in pretrained[:2]
    ]
    return (*pretrained, *scratch)


def _steps() -> tuple[Variant, ...]:
    return tuple(
        Variant(f"{steps} step{'s' if steps > 1 else ''}, {scenes} scenes", {"noise.steps": steps}, scenes)
        for scenes in (512, 2048, 8192)
        for steps in (1, 10, 50)
    )


EXPERIMENTS: Final = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            "prediction",
            "Predicting the annotation (x0) has less error and less variance over noise than predicting noise "
            "(section 4.1).",
            _predictions(),
            ("abs_rel", "delta1", "noise_spread"),
        ),
        Experiment(
            "steps",
            "With little data one step is more accurate than many, and quicker (section 4.2).",
            _steps(),
            ("abs_rel", "delta1", "seconds"),
        ),
        Experiment(
            "detail",
            "The detail preserver keeps edges and thin structures (section 4.3).",
            (
                Variant("with detail preserver", {"switcher.enabled": True, "switcher.share": 1.0}),
                Variant("without", {"switcher.enabled": False}),
            ),
            ("abs_rel", "edge_error", "thin_error", "reconstruction_db"),
        ),
    )
}
