"""`lotus convert`: the same weights under other keys or in another precision."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, InputError, LotusError
from . import arguments
from .bars import progress_bar
from .report import Report

_KEYS = ("diffusers", "ldm", "ldm-prefixed")
_DTYPES = ("fp32", "fp16", "bf16")

_DESCRIPTION = """Write the weights of a UNet or VAE to a new file, under other keys or in another precision.
The new file states what its shapes cannot (attention heads, norm groups, scaling factor, what the model estimates),
so it loads on its own. Values are the same bits where the precision is kept."""


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "convert", help="a checkpoint under other keys or in another precision", description=_DESCRIPTION
    )
    parser.add_argument("source", type=Path, metavar="IN", help=".safetensors file, or diffusers folder")
    parser.add_argument("target", type=Path, metavar="OUT", help="new .safetensors file")
    parser.add_argument(
        "--keys",
        choices=_KEYS,
        help="diffusers' keys (down_blocks...), those of the original code (input_blocks...), or the latter with the "
        "prefix of a full checkpoint (model.diffusion_model...); default: as they are",
    )
    parser.add_argument("--dtype", choices=_DTYPES, help="precision; default: as it is")
    arguments.add_kind_argument(parser)
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")
    arguments.add_report_arguments(parser, "print one JSON document, for programs")


def run(args: argparse.Namespace) -> int:
    """Convert, and return the exit code: 1 where writing failed, 2 where nothing could be started."""
    report = Report("convert", as_json=args.json, quiet=args.quiet)
    report.state(output=str(args.target))
    try:
        facts = _convert(args)
    except (InputError, CheckpointError) as error:
        return report.refuse(error)
    except LotusError as error:
        report.failed(str(args.source), error)
    else:
        report.done(str(args.source), **facts)
    return report.finish()


def _convert(args: argparse.Namespace) -> dict[str, Any]:
    from ..loading.convert import convert

    if args.target.exists() and not args.force:
        raise InputError(f"{args.target} exists already", remedy="choose a new name, or pass --force")
    with progress_bar("convert", "B", quiet=args.quiet) as progress:
        result = convert(
            args.source,
            args.target,
            keys=args.keys,
            dtype=args.dtype,
            output=args.kind,
            progress=progress,
        )
    return {
        "file": str(result.path),
        "network": result.network,
        "keys": result.keys,
        "tensors": result.tensors,
        "bytes": result.nbytes,
    }
