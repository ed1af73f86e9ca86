"""What a full-size Lotus takes of a graphics card under ComfyUI: with plenty of room, and under caps.

Weights are random: memory does not depend on them. Without a card, ``--card simulated`` counts every tensor of a
card that main memory stands in for; what kernels allocate for themselves is not seen there.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from tests.nodes.host.checkouts import Checkout, open_checkout
from tests.nodes.host.process import run_inside

from . import report

SCRIPT = Path(__file__).parents[1] / "tests" / "nodes" / "inside" / "full_size_card.py"
GIB = 2**30
MIB = 2**20
HOURS = 3600.0


def main(argv: list[str]) -> int:
    """Run the benchmark."""
    parser = report.parser("card_memory", __doc__ or "")
    parser.add_argument(
        "--comfyui", type=Path, required=True, help="folder of a ComfyUI with its requirements"
    )
    parser.add_argument("--card", choices=("cuda", "simulated"), default="cuda")
    parser.add_argument("--caps", type=float, nargs="*", default=[4.0, 2.0], help="caps in GiB, beside none")
    parser.add_argument("--size", type=int, default=768, help="side of the picture in pixels")
    parser.add_argument("--precision", default="fp16", choices=["auto", "fp32", "fp16", "bf16"])
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--small", action="store_true", help="narrow networks, to try the benchmark itself")
    options = parser.parse_args(argv)
    results: dict[str, Any] = {"machine": report.start(options), "caps": {}}
    checkout = open_checkout(options.comfyui.expanduser())
    rows: list[list[object]] = []
    for cap in (None, *options.caps):
        found = under_cap(checkout, cap, options)
        results["caps"]["none" if cap is None else cap] = found
        rows += table_rows("none" if cap is None else f"{cap:g} GiB", found)
    columns = [
        "cap",
        "stage",
        "peak MiB",
        "of it activations",
        "estimate",
        "UNet / VAE loaded",
        "seconds",
        "finite",
    ]
    title = (
        f"ComfyUI {checkout.version}, {found['device']}, {options.size}x{options.size}, {options.precision}"
    )
    report.table(title, columns, rows)
    report.finish(options, results)
    return 0


def under_cap(checkout: Checkout, cap: float | None, options: argparse.Namespace) -> dict[str, Any]:
    """Return what the script found with a cap in GiB, or with none."""
    settings = {
        "card": options.card,
        "cap": None if cap is None else int(cap * GIB),
        "side": options.size,
        "precision": options.precision,
        "small": options.small,
        "runs": options.runs,
    }
    return run_inside(
        checkout,
        SCRIPT,
        json.dumps(settings),
        comfy_arguments=comfy_arguments(checkout, options.card),
        timeout_s=HOURS,
    )


def comfy_arguments(checkout: Checkout, card: str) -> tuple[str, ...]:
    """Return ComfyUI's own arguments: a simulated card stands on its CPU mode, and pins no memory."""
    if card == "cuda":
        return ()
    return ("--cpu", "--disable-pinned-memory") if checkout.version_tuple >= (0, 8) else ("--cpu",)


def table_rows(cap: str, found: dict[str, Any]) -> list[list[object]]:
    """Return a row for each stage: its highest peak, what of a peak was gone afterwards, and the quickest run."""
    rows: list[list[object]] = []
    loaded = " / ".join(f"{found['loaded'][part] / found['weights'][part]:.0%}" for part in ("unet", "vae"))
    for stage in ("encode", "denoise", "decode"):
        runs = [run[stage] for run in found["runs"]]
        worst = max(runs, key=lambda run: run["peak"])
        rows.append(
            [
                cap,
                stage,
                worst["peak"] / MIB,
                min(run["peak"] - run["after"] for run in runs) / MIB,
                worst["estimate"] / MIB,
                loaded,
                min(run["seconds"] for run in runs),
                all(run["finite"] for run in runs),
            ]
        )
    return rows
