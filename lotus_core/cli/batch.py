"""`lotus batch`: a whole set of images, on this machine or on a Ray cluster."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, Final

from ..errors import LotusError, OptionError, StorageError
from . import arguments
from .exit_codes import DONE, INTERRUPTED, SOME_FAILED
from .report import Report, print_json

if TYPE_CHECKING:
    from ..batch.committer import ChunkDone
    from ..batch.job import Job
    from ..batch.plan import Unit
    from ..batch.ray_engine import Cluster
    from ..batch.run import Summary
    from ..batch.storage import Store

_FORMATS: Final = ("npz", "png16", "webdataset")  # batch.job.BATCH_FORMATS, which needs torch
_FAILURES_SHOWN: Final = 50

_TEXT = """depth or normals of a set of images, in chunks

Results come as shards with a manifest (manifest.jsonl: input, hash, output, model, options, time, error). The same
command goes on where it was stopped, also after a kill or a full disk; images that fail are listed and stop
nothing."""


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("batch", help=_TEXT.splitlines()[0], description=_TEXT)
    parser.add_argument(
        "input",
        metavar="IN",
        help="folder (with its sub-folders), pattern, list of paths (.txt), or WebDataset shards "
        "('set-{000000..000099}.tar'); local or any fsspec URL",
    )
    parser.add_argument(
        "output", metavar="OUT", help="folder for shards and manifest; local or any fsspec URL"
    )
    arguments.add_task_arguments(parser)
    parser.add_argument(
        "--format",
        choices=_FORMATS,
        default="npz",
        help="npz: float32, one file per chunk; png16: 16-bit files in one folder per chunk; webdataset: one .tar "
        "of 16-bit PNG per chunk",
    )
    parser.add_argument(
        "--chunk", type=_positive, default=64, metavar="N", help="images committed together; default 64"
    )
    parser.add_argument(
        "--threads",
        type=_positive,
        default=2,
        metavar="N",
        help="that decode, and as many that encode; default 2",
    )
    _add_cluster_arguments(parser)
    arguments.add_model_arguments(parser)
    arguments.add_kind_argument(parser)
    arguments.add_inference_arguments(parser, ensemble=True)
    arguments.add_normal_style(parser)
    arguments.add_report_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    report = Report("batch", as_json=args.json, quiet=args.quiet)
    try:
        store, job, units = _begin(args)
        cluster = _cluster(args)
        work = _local(args, store, job, units) if cluster is None else _remote(store, job, units, cluster)
    except LotusError as error:
        return report.refuse(error)
    try:
        with _Bar(sum(len(unit.inputs) for unit in units), args.quiet) as bar:
            summary, failed = work(bar.advance)
    except KeyboardInterrupt:
        print("lotus batch: stopped; the same command goes on here", file=sys.stderr)
        return INTERRUPTED
    except StorageError as error:
        print(f"lotus batch: stopped: {error} The same command goes on here.", file=sys.stderr)
        return SOME_FAILED
    _tell(args, store, job, summary, failed)
    return SOME_FAILED if failed else DONE


def _add_cluster_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("engine")
    group.add_argument(
        "--engine", choices=("local", "ray"), default="local", help='ray: on a cluster; needs the extra "ray"'
    )
    group.add_argument("--ray-address", metavar="A", help="auto or ray://host:port; default: start one here")
    group.add_argument(
        "--workers",
        default="1",
        metavar="N[:M]",
        help="ray: actors to keep, and up to which to scale; default 1",
    )
    group.add_argument("--cpus-per-worker", type=float, default=1.0, metavar="X", help="ray: default 1")
    group.add_argument(
        "--gpus-per-worker", type=float, default=0.0, metavar="X", help="ray: default 0; may be a fraction"
    )


def _begin(args: argparse.Namespace) -> tuple[Store, Job, list[Unit]]:
    from ..batch.job import Job
    from ..batch.run import begin
    from ..batch.storage import Store
    from . import choice

    source = choice.chosen_source(args.model, args.task, "--model")
    loading = {
        "precision": args.precision,
        "device": args.device,
        "vae": args.vae,
        "output": args.kind,
        "revision": args.revision,
    }
    job = Job(
        source,
        args.task,
        arguments.inference_options(args),
        args.format,
        args.chunk,
        arguments.style(args).convention,
        loading,
    )
    store = Store(args.output)
    return store, job, begin(args.input, store, job)


def _local(args: argparse.Namespace, store: Store, job: Job, units: list[Unit]) -> Any:
    """Load the model, and return what runs the job here."""
    from ..batch.estimator import Estimator
    from ..batch.pipeline import Workers
    from ..batch.run import run_local
    from . import choice

    loading = choice.Loading.of_line(args)
    estimator = Estimator(job, choice.load(job.model, loading, args.kind))
    workers = Workers(decoders=args.threads, encoders=args.threads)
    return lambda on_chunk: run_local(units, store, job, estimator, workers=workers, on_chunk=on_chunk)


def _remote(store: Store, job: Job, units: list[Unit], cluster: Cluster) -> Any:
    """Return what runs the job on a cluster."""
    from ..batch.ray_engine import run_ray

    return lambda on_chunk: run_ray(units, store, job, cluster, on_chunk=on_chunk)


def _cluster(args: argparse.Namespace) -> Cluster | None:
    if args.engine == "local":
        return None
    from ..batch.ray_engine import Cluster

    low, _, high = args.workers.partition(":")
    try:
        bounds = int(low), int(high or low)
    except ValueError:
        raise OptionError("--workers", args.workers, "N or N:M, such as 2 or 1:8") from None
    return Cluster(args.ray_address, *bounds, args.cpus_per_worker, args.gpus_per_worker)


def _tell(
    args: argparse.Namespace, store: Store, job: Job, summary: Summary, failed: list[dict[str, Any]]
) -> None:
    """Tell how the job stands, and list what failed."""
    for row in failed[:_FAILURES_SHOWN]:
        print(f"failed: {row['input']}: {row['error']['message']}", file=sys.stderr)
    if len(failed) > _FAILURES_SHOWN:
        print(f"and {len(failed) - _FAILURES_SHOWN} more: see manifest.jsonl", file=sys.stderr)
    if args.json:
        print_json("batch", {"output": store.url, "job": job.to_json(), "summary": summary.to_json()})
        return
    idle = "" if summary.idle is None else f", the model idle {summary.idle:.1%} of the time"
    print(
        f"{summary.images} images in the manifest, {summary.failed} of them failed; {summary.new} now, "
        f"{summary.images_per_second:.2f} a second{idle}; results in {store.url}"
    )


def _positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"choose a whole number of at least 1, not {text!r}")
    return value


class _Bar:
    """A progress bar over images; shards tell their number only as they go."""

    def __init__(self, total: int, quiet: bool) -> None:
        self._total = total
        self._quiet = quiet

    def __enter__(self) -> _Bar:
        from tqdm import tqdm

        disable = True if self._quiet else None
        self._bar = tqdm(total=self._total, desc="batch", unit="image", file=sys.stderr, disable=disable)
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.close()

    def advance(self, chunk: ChunkDone) -> None:
        """Count a chunk."""
        self._bar.update(chunk.done + chunk.failed)
