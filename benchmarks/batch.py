"""How fast an image set is worked on, and how idle its model is: `python -m benchmarks batch`.

The set is made of the photographs that come with the repository, cropped and turned so that no two files are alike, as
JPEG of camera quality. Every format is written to a folder of its own. Idle is the share of the time in which the
thread of the model waits for a decoded picture or for results to be taken.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image, ImageOps

from lotus_core.batch.estimator import Estimator
from lotus_core.batch.job import BATCH_FORMATS, BatchFormat, Job
from lotus_core.batch.pipeline import Workers
from lotus_core.batch.run import Summary, begin, run_local
from lotus_core.batch.storage import Store
from lotus_core.inference.model import LotusModel
from lotus_core.inference.options import InferenceOptions

from . import report
from .joint import random_model

PHOTOS = Path(__file__).parents[1] / "assets" / "photos"
IDLE_BAR = 0.10
BUNDLED, RANDOM = "lotus-tiny-depth-d", "random"


@dataclass(frozen=True)
class Measured:
    """One run over the set.

    Attributes:
        form: Format of the results.
        summary: How it ended.
        stored_mb: Size of the shards in 1e6 bytes.
    """

    form: BatchFormat
    summary: Summary
    stored_mb: float

    def __str__(self) -> str:
        return (
            f"{self.form}: {self.summary.images_per_second:.2f} images a second, model idle {self.idle:.1%}, "
            f"{self.summary.failed} of {self.summary.images} failed, {self.stored_mb:.0f} MB written"
        )

    @property
    def idle(self) -> float:
        """Share of the time in which the model had nothing to do."""
        return 1.0 if self.summary.idle is None else self.summary.idle


def main(argv: list[str]) -> int:
    """Run the benchmark; 1 where the model was idle for more than a tenth of the time, or an image failed."""
    parser = report.parser("batch", __doc__ or "")
    parser.add_argument(
        "--model",
        default=BUNDLED,
        help="default: the bundled one; random: a published one's size, random weights",
    )
    parser.add_argument("--resolution", type=int, default=None, help="default: the checkpoint's")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--size", type=int, nargs=2, default=(1280, 960), metavar=("W", "H"))
    parser.add_argument("--formats", nargs="+", choices=BATCH_FORMATS, default=BATCH_FORMATS)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(argv)
    facts = report.start(options)
    with tempfile.TemporaryDirectory() as folder:
        photographs = write_set(Path(folder) / "in", options.images, tuple(options.size))
        loading = {"device": options.device}
        job = Job(options.model, options=InferenceOptions(resolution=options.resolution), loading=loading)
        estimator = Estimator(job, _random(options.device) if options.model == RANDOM else None)
        print(f"{options.images} JPEG of {options.size[0]}x{options.size[1]}, {options.model}", flush=True)
        found: list[Measured] = []
        for form in options.formats:
            found.append(measure(photographs, Path(folder) / form, replace(job, format=form), estimator))
            print(f"  {found[-1]}", flush=True)
    results = [{"format": m.form, "idle": m.idle, "per_second": m.summary.images_per_second} for m in found]
    report.finish(options, {"machine": facts, "runs": results})
    return int(any(m.idle > IDLE_BAR or m.summary.failed for m in found))


def _random(device: str) -> LotusModel:
    return random_model("depth", torch.device("cpu" if device == "auto" else device), "auto", 0)


def measure(photographs: Path, out: Path, job: Job, estimator: Estimator) -> Measured:
    """Return how a run over the set went."""
    store = Store(str(out))
    workers = Workers(decoders=2, encoders=2)
    summary, _ = run_local(begin(str(photographs), store, job), store, job, estimator, workers=workers)
    stored = sum(file.stat().st_size for file in (out / "shards").rglob("*") if file.is_file())
    return Measured(job.format, summary, stored / 1e6)


def write_set(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """Write a set of photographs, each another crop of those in the repository, and return its folder."""
    folder.mkdir(parents=True)
    sources = [Image.open(path).convert("RGB") for path in sorted(PHOTOS.glob("*.jpg"))]
    for index in range(count):
        source = sources[index % len(sources)]
        share = 0.6 + 0.4 * (index * 37 % 101) / 101
        width, height = round(source.width * share), round(source.height * share)
        left, top = (source.width - width) * (index % 3) // 2, (source.height - height) * (index % 5) // 4
        picture = source.crop((left, top, left + width, top + height)).resize(size)
        if index % 2:
            picture = ImageOps.mirror(picture)
        picture.save(folder / f"{index:05d}.jpg", quality=92)
    return folder
