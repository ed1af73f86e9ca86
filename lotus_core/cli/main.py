"""The `lotus` command: finds the command modules, and turns their errors into words and exit codes.

A command module has ``add_parser(subparsers)``, which may add one command or several, and
``run(args) -> int``, which returns one of `exit_codes`. It imports nothing heavy until it runs.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from typing import Final

from .. import __version__
from ..errors import LotusError
from ..inference.allocation import keep_freed_memory
from ..inference.placement import available_ram
from .exit_codes import BAD_USAGE, INTERRUPTED

MODULES: Final = ("estimate", "models", "convert", "fuse", "video", "batch", "train", "evaluate")
"""Command modules in the order of the help text; one that is not installed is left out."""

Run = Callable[[argparse.Namespace], int]

_PLENTY: Final = 16 * 2**30
"""Bytes of free memory from which on a process may stay as large as it once was: it takes under 1 GiB more."""

_DESCRIPTION: Final = "Depth and surface normals from one photograph with Lotus."
_EPILOG: Final = (
    "Exit codes: 0 all done; 1 some items failed and are listed; 2 bad usage, nothing started; 130 stopped."
)


def run_process() -> int:
    """Run the command line that this process was started with, and return its exit code.

    Where the machine has memory to spare, freed memory is kept for the next layer: see `keep_freed_memory`.
    """
    if available_ram() >= _PLENTY:
        keep_freed_memory()
    return main()


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code.

    Args:
        argv: Arguments without the program's name; None takes them from the process.

    Raises:
        SystemExit: By argparse, with code 2 for a line that it cannot read, or 0 for --help and --version.
    """
    parser, runs = build_parser()
    args = parser.parse_args(argv)
    try:
        return runs[args.command](args)
    except LotusError as error:
        print(f"lotus {args.command}: {error}", file=sys.stderr)
        return BAD_USAGE
    except KeyboardInterrupt:
        print(f"lotus {args.command}: stopped", file=sys.stderr)
        return INTERRUPTED


def build_parser() -> tuple[argparse.ArgumentParser, dict[str, Run]]:
    """Return the parser of all commands, and what runs each."""
    parser = argparse.ArgumentParser(prog="lotus", description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument("--version", action="version", version=f"lotus {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    runs: dict[str, Run] = {}
    for name in MODULES:
        full_name = f"{__package__}.{name}"
        if importlib.util.find_spec(full_name) is None:
            continue
        module = importlib.import_module(full_name)
        module.add_parser(subparsers)
        for command in subparsers.choices:
            runs.setdefault(command, module.run)
    return parser, runs
