"""Scores the bundled models on rendered scenes that were never trained on, against their bars.

`python -m benchmarks tiny_models [--folder FOLDER] [--count 500]`
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.report import parser, start
from lotus_core.evaluation.baselines import mean_map_score, mean_normal_score
from lotus_core.evaluation.rendered import SceneDepth, SceneNormals, SceneRange
from lotus_core.evaluation.round_trip import vae_round_trip
from lotus_core.evaluation.run import evaluate_depth, evaluate_normals
from lotus_core.inference.model import LotusModel, load_model
from lotus_core.inference.options import InferenceOptions

FIRST_SEED = 500_000
"""Training starts at seed 1,000,000."""


@dataclass(frozen=True)
class Bar:
    """One figure and what it has to reach.

    Attributes:
        name: What it is.
        value: What was measured.
        bar: The bar.
        at_least: Whether higher is better.
    """

    name: str
    value: float
    bar: float
    at_least: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the bar is reached."""
        return self.value >= self.bar if self.at_least else self.value <= self.bar


def main(argv: Sequence[str]) -> int:
    """Measure, print, and return 1 where a bar is missed."""
    options = _options(argv)
    facts = start(options)
    height, width = options.size
    scenes = SceneRange(FIRST_SEED, options.count, height, width)
    bars = [*_depth_bars(options, scenes), *_normal_bars(options, scenes)]
    print(f"{options.count} scenes of {width}x{height}, seeds from {FIRST_SEED}")
    for bar in bars:
        sign = ">=" if bar.at_least else "<="
        print(f"{'met   ' if bar.is_met else 'MISSED'} {bar.name:46s} {bar.value:8.3f}  ({sign} {bar.bar:g})")
    if options.json:
        document = {"machine": facts, "scenes": asdict(scenes), "bars": [asdict(bar) for bar in bars]}
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0 if all(bar.is_met for bar in bars) else 1


def _options(argv: Sequence[str]) -> argparse.Namespace:
    made = parser("tiny_models", __doc__ or "")
    made.add_argument("--folder", type=Path, help="a bundle in place of the one that comes with the package")
    made.add_argument("--count", type=int, default=500, help="scenes (default 500)")
    made.add_argument("--size", type=int, nargs=2, default=(144, 192), metavar=("H", "W"), help="pixels")
    made.add_argument("--seeds", type=int, default=4, help="noise seeds of the generative model (default 4)")
    return made.parse_args(argv)


def _model(options: argparse.Namespace, name: str) -> LotusModel | None:
    """Return a model in fp32, or None where the bundle has none of that name."""
    if options.folder is None:
        from lotus_core.loading.bundled import BUNDLED

        return load_model(name, precision="fp32", device="cpu") if name in BUNDLED else None
    if not (options.folder / name).is_dir():
        return None
    from lotus_core.loading.prompt import read_prompt

    return load_model(
        options.folder / name,
        vae=options.folder / "vae",
        prompt_embeds=read_prompt(options.folder / "prompt_embeds.safetensors"),
        precision="fp32",
        device="cpu",
        output="disparity" if "depth" in name else "normal",
    )


def _depth_bars(options: argparse.Namespace, scenes: SceneRange) -> list[Bar]:
    """Return the bars of the depth models."""
    data, run = SceneDepth(scenes), InferenceOptions(resolution=0)
    bars: list[Bar] = []
    model = _model(options, "lotus-tiny-depth-d")
    if model is None:
        return bars
    score = evaluate_depth(model, data, run).mean
    guess = mean_map_score(data, "disparity").mean
    bars += [
        Bar("depth-d AbsRel", score.abs_rel, 0.13),
        Bar("depth-d AbsRel over the mean map's", score.abs_rel / guess.abs_rel, 0.48),
        Bar("depth-d delta1 %", score.delta1, 84, at_least=True),
    ]
    generative = _model(options, "lotus-tiny-depth-g")
    if generative is not None:
        seeds = evaluate_depth(generative, data, run, range(options.seeds))
        spread = seeds.spread.abs_rel if seeds.spread is not None else 0.0
        print(f"depth-g AbsRel {seeds.mean.abs_rel:.4f}, spread over {options.seeds} seeds {spread:.4f}")
        bars.append(Bar("depth-g AbsRel over depth-d's", seeds.mean.abs_rel / score.abs_rel, 1.15))
    return bars


def _normal_bars(options: argparse.Namespace, scenes: SceneRange) -> list[Bar]:
    """Return the bars of the normal model and of the VAE."""
    model = _model(options, "lotus-tiny-normal-d")
    if model is None:
        return []
    data = SceneNormals(scenes)
    score = evaluate_normals(model, data, InferenceOptions(resolution=0)).mean
    guess = mean_normal_score(data).mean
    trip = vae_round_trip(model, data)
    return [
        Bar("normal-d mean angle, degrees", score.mean, 16),
        Bar("normal-d median angle, degrees", score.median, 9.5),
        Bar("normal-d mean over the mean normal's", score.mean / guess.mean, 0.42),
        Bar("VAE round trip of normals, degrees", trip.normals_mean_deg, 6),
        Bar("VAE round trip of pictures, dB", trip.rgb_psnr_db, 28, at_least=True),
        Bar("VAE mean shift of a colour channel", trip.rgb_mean_shift, 0.01),
    ]
