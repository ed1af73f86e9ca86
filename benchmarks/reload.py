"""Seconds until the loader node of ComfyUI has a full-size model: the first time, and while it is alive."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from tests.nodes.host.checkouts import open_checkout
from tests.nodes.host.process import run_inside

from . import report
from .startup import write_checkpoint
from .timing import Sample

SCRIPT = Path(__file__).parents[1] / "tests" / "nodes" / "inside" / "reload.py"


def main(argv: list[str]) -> int:
    """Run the benchmark."""
    parser = report.parser("reload", __doc__ or "")
    parser.add_argument(
        "--comfyui", type=Path, required=True, help="folder of a ComfyUI with its requirements"
    )
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args(argv)
    results: dict[str, Any] = {"machine": report.start(options)}
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = write_checkpoint(Path(folder) / "random-lotus-depth-d")
        results |= ask(options, checkpoint)
    again = Sample(tuple(results["again"]))
    rows = [["first", results["first"], results["first"]], ["again", again.median, max(again.seconds)]]
    report.table("Load Lotus Model, fp16 file, fp32 networks", ["time", "median s", "longest s"], rows)
    report.finish(options, results)
    return 0 if results["same"] else 1


def ask(options: argparse.Namespace, checkpoint: Path) -> dict[str, Any]:
    """Return what the script in ComfyUI measured."""
    checkout = open_checkout(options.comfyui.expanduser())
    return run_inside(checkout, SCRIPT, str(checkpoint), str(options.repeats), timeout_s=1800.0)
