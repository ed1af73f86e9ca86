"""`python -m experiments NAME -o OUT [--set KEY=VALUE ...] [--time-limit MINUTES]`: runs what is missing, reports."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from .report import write_report
from .run import run_experiment
from .variants import EXPERIMENTS


def main(argv: Sequence[str] | None = None) -> int:
    """Run one experiment as far as the time allows; return 0 when it is complete."""
    parser = argparse.ArgumentParser(prog="python -m experiments", description=__doc__)
    parser.add_argument("name", choices=[*EXPERIMENTS, "report"])
    parser.add_argument("-o", "--output", type=Path, default=Path("out/experiments"))
    parser.add_argument("--latents", type=Path, default=Path("out/latents"), help="of the stage latents")
    parser.add_argument(
        "--start",
        type=Path,
        default=Path("out/normal-d/model"),
        help="checkpoint that training starts from, on the latents' VAE",
    )
    parser.add_argument("--time-limit", type=float, help="stop cleanly after so many minutes")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change the base config"
    )
    parser.add_argument("--report", type=Path, default=Path("docs/findings.md"), help="where the tables go")
    options = parser.parse_args(argv)
    if options.name == "report":
        write_report(options.output, options.report)
        return 0
    changes = {key: yaml.safe_load(value) for key, _, value in (text.partition("=") for text in options.set)}
    changes = {
        "data.0.folder": str(options.latents),
        "start.checkpoint": str(options.start),
        "start.vae": str(options.start / "vae"),
        **changes,
    }
    done = run_experiment(EXPERIMENTS[options.name], options.output, changes, options.time_limit)
    print("complete" if done else "not yet complete: run it again")
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
