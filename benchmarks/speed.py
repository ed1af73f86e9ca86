"""Seconds from pixels to a map, stage by stage, contenders in turn, against plain diffusers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from . import report
from .contenders import REFERENCE, Pipeline, builders, find
from .random_weights import Networks, full_size, random_image
from .timing import Sample, interleave, seconds_of

STAGES = ("encode", "step", "decode")
DEFAULT = (REFERENCE, "folds off", "all", "auto")


@dataclass
class Contestant:
    """A contender at one image size: runs the stages in turn and keeps their times.

    Attributes:
        pipeline: Its stages.
        rgb: (1, 3, H, W) pixels in [-1, 1].
        stages: Seconds per stage, one entry per run.
        result: The last map as decoded, (1, 3, H, W) float32.
    """

    pipeline: Pipeline
    rgb: Tensor
    stages: dict[str, list[float]] = field(default_factory=lambda: {stage: [] for stage in STAGES})
    result: Tensor | None = None

    def __call__(self) -> None:
        """Run once."""
        x: Tensor = self.rgb.to(self.pipeline.dtype)
        for stage in STAGES:
            held: list[Tensor] = []
            compute: Callable[[Tensor], Tensor] = getattr(self.pipeline, stage)
            self.stages[stage].append(seconds_of(lambda f=compute, x=x, held=held: held.append(f(x))))
            x = held[0]
        self.result = x.float().cpu()


def build(names: list[str], networks: Networks, device: torch.device) -> dict[str, Pipeline]:
    """Return the named contenders, those with the same memory layout on the same weights."""
    last = networks.laid_out(torch.channels_last)
    contiguous = {REFERENCE, "folds off", *(n for n in builders(device) if n.startswith("only "))}
    contiguous -= {"only channels_last"}
    return {n: find(n, device)(networks if n in contiguous or ":" in n else last) for n in names}


def measure(pipelines: dict[str, Pipeline], rgb: Tensor, repeats: int) -> dict[str, dict[str, Any]]:
    """Return times, ratios and differences from the first contender, for each contender.

    Differences are shares of the range of the first's map: random weights decode to some range of their own,
    where those of a trained model decode to [-1, 1].
    """
    runs = {name: Contestant(pipeline, rgb) for name, pipeline in pipelines.items()}
    samples = interleave(runs, repeats)
    reference = next(iter(runs))
    base, base_map = samples[reference], run_map(runs[reference])
    span = base_map.max() - base_map.min()
    results = {}
    for name, sample in samples.items():
        error = (run_map(runs[name]) - base_map).abs() / span
        stages = {s: Sample(tuple(t[-repeats:])) for s, t in runs[name].stages.items()}
        results[name] = {
            "seconds": list(sample.seconds),
            "median": sample.median,
            "min": sample.best,
            "speedup": sample.speedup_over(base),
            "stages": {s: {"median": t.median, "min": t.best} for s, t in stages.items()},
            "max_difference": error.max().item(),
            "mean_difference": error.mean().item(),
        }
    return results


def run_map(contestant: Contestant) -> Tensor:
    """Return the last map of a contestant that has run."""
    if contestant.result is None:
        raise RuntimeError("this contestant has not run")
    return contestant.result


def show(side: int, results: dict[str, dict[str, Any]]) -> None:
    """Print one size's table."""
    columns = [
        "contender",
        "median s",
        "min s",
        "speedup",
        *(f"{s} s" for s in STAGES),
        "max diff",
        "mean diff",
    ]
    rows = [
        [
            name,
            r["median"],
            r["min"],
            f"{r['speedup']:.2f}x",
            *(r["stages"][s]["median"] for s in STAGES),
            f"{r['max_difference']:.1e}",
            f"{r['mean_difference']:.1e}",
        ]
        for name, r in results.items()
    ]
    report.table(
        f"{side}x{side}, one image; speedup against the first, difference from it as a share of its map's range",
        columns,
        rows,
    )


def main(argv: list[str]) -> int:
    """Run the benchmark."""
    parser = report.parser("speed", __doc__ or "")
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 768], help="image sides in pixels")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--mode", choices="dg", default="d", help="Lotus-D or Lotus-G")
    parser.add_argument(
        "--contender",
        dest="contenders",
        action="append",
        help='a built-in name, "each" for every single fold, or file.py:function; the first one given is the '
        f"reference (default: {', '.join(DEFAULT)})",
    )
    options = parser.parse_args(argv)
    facts = report.start(options)
    device = torch.device(options.device)
    names: list[str] = list(options.contenders or DEFAULT)
    if "each" in names:
        at = names.index("each")
        names[at : at + 1] = [n for n in builders(device) if n.startswith("only ")]
    networks = full_size(options.mode)
    pipelines = with_noise(build(names, networks, device), options.mode)
    results: dict[str, Any] = {"machine": facts, "sizes": {}}
    for side in options.sizes:
        results["sizes"][side] = measure(pipelines, random_image(side).to(device), options.repeats)
        show(side, results["sizes"][side])
    report.finish(options, results)
    return 0


def with_noise(pipelines: dict[str, Pipeline], mode: str) -> dict[str, Pipeline]:
    """Return pipelines whose step appends noise to the latents, for Lotus-G."""
    if mode == "d":
        return pipelines

    def noisy(step: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
        return step(torch.cat([x, noise.to(x)], dim=1))

    return {
        name: Pipeline(p.encode, lambda x, p=p: noisy(p.step, x), p.decode, p.dtype)
        for name, p in pipelines.items()
    }
