"""How the cost of a map grows: with its pixels, with the batch, and from the first image to the next."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional as F

from . import report
from .contenders import Pipeline, find
from .random_weights import full_size, random_image
from .timing import interleave, seconds_of, synchronise


def main(argv: list[str]) -> int:
    """Run the benchmark."""
    parser = report.parser("scaling", __doc__ or "")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 768, 1024])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--batch-size-px", type=int, default=256, help="image side of the batches")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--contender", default="all")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(argv)
    results: dict[str, Any] = {"machine": report.start(options), "contender": options.contender}
    device = torch.device(options.device)
    pipeline = find(options.contender, device)(full_size().laid_out(torch.channels_last))
    results["pixels"] = pixels(pipeline, options.sizes, device, options.repeats)
    results["batches"] = batches(pipeline, options.batches, options.batch_size_px, device, options.repeats)
    results["repeats"] = repeats(pipeline, options.batch_size_px, device)
    report.finish(options, results)
    return 0


def pixels(
    pipeline: Pipeline, sizes: list[int], device: torch.device, count: int
) -> dict[int, dict[str, float]]:
    """Return the shortest times by side, in total and in attention, and the growth beyond the pixels' own."""
    results: dict[int, dict[str, float]] = {}
    for side in sizes:
        rgb = random_image(side).to(device)
        run(pipeline, rgb)
        best, attention = min(_with_attention(pipeline, rgb) for _ in range(count))
        per_pixel = (best - attention) / side**2 * 1e6
        results[side] = {"seconds": best, "attention": attention, "outside_per_megapixel": per_pixel}
    first = results[sizes[0]]["outside_per_megapixel"]
    rows = [
        [
            s,
            r["seconds"],
            r["attention"],
            r["outside_per_megapixel"],
            f"{r['outside_per_megapixel'] / first:.2f}x",
        ]
        for s, r in results.items()
    ]
    columns = ["side", "min s", "attention s", "rest, s per megapixel", "of the first"]
    report.table("Growth with the pixels", columns, rows)
    return results


def batches(
    pipeline: Pipeline, sizes: list[int], side: int, device: torch.device, count: int
) -> dict[int, dict[str, float]]:
    """Return the times per image by batch size."""
    images = {size: random_image(side, size).to(device) for size in sizes}
    work: dict[str, Callable[[], object]] = {
        str(size): lambda rgb=rgb: run(pipeline, rgb) for size, rgb in images.items()
    }
    times = interleave(work, count)
    results = {s: {"median": times[str(s)].median / s, "min": times[str(s)].best / s} for s in sizes}
    first = results[sizes[0]]["min"]
    rows = [[s, r["median"], r["min"], f"{r['min'] / first:.2f}x"] for s, r in results.items()]
    report.table(f"{side}x{side}, per image", ["batch", "median s", "min s", "of the first (min)"], rows)
    return results


def repeats(pipeline: Pipeline, side: int, device: torch.device, count: int = 8) -> list[float]:
    """Return the times of one image after another, all of the same size."""
    rgb = random_image(side).to(device)
    seconds = [seconds_of(lambda: run(pipeline, rgb)) for _ in range(count)]
    rest = sorted(seconds[1:])[(count - 1) // 2]
    title = f"{side}x{side}, one after another: later ones take {rest / seconds[0]:.2f} of the first (median)"
    report.table(title, [str(i + 1) for i in range(count)], [[f"{s:.2f} s" for s in seconds]])
    return seconds


def run(pipeline: Pipeline, rgb: Tensor) -> Tensor:
    """Return the map of a batch."""
    return pipeline.decode(pipeline.step(pipeline.encode(rgb.to(pipeline.dtype))))


def _with_attention(pipeline: Pipeline, rgb: Tensor) -> tuple[float, float]:
    """Return the seconds of a run, and those of them spent in attention."""
    with _timed_attention() as spent:
        total = seconds_of(lambda: run(pipeline, rgb))
    return total, sum(spent)


@contextmanager
def _timed_attention() -> Iterator[list[float]]:
    spent: list[float] = []
    real = F.scaled_dot_product_attention

    def timed(*tensors: Any, **options: Any) -> Tensor:
        synchronise()
        start = time.perf_counter()
        mixed = real(*tensors, **options)
        synchronise()
        spent.append(time.perf_counter() - start)
        return mixed

    with mock.patch.object(F, "scaled_dot_product_attention", timed):
        yield spent
