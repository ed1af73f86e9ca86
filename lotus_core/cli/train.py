"""`lotus train`: scenes, VAEs and Lotus models from a YAML config."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

from ..errors import InputError, LotusError, MissingExtraError, OptionError
from .exit_codes import DONE, INTERRUPTED, SOME_FAILED

_DESCRIPTION = """Run one stage of training, as a config says (see configs/): render scenes, train a VAE, encode
latents, or train a Lotus model. Every stage can be stopped at any time and resumed. To train on several GPUs or
machines: accelerate launch -m lotus_core.cli train CONFIG -o OUT."""


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("train", help="train a model from a YAML config", description=_DESCRIPTION)
    parser.add_argument("config", type=Path, metavar="CONFIG", help="YAML file")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="go on from what OUT holds")
    parser.add_argument(
        "--time-limit",
        type=float,
        metavar="MINUTES",
        help="stop cleanly after so many minutes, to be resumed",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a setting of the config, such as schedule.steps=2000 or data.0.folder=/data/hypersim",
    )
    parser.add_argument("--prediction", choices=("x0", "epsilon", "v"), help="what the network says")
    parser.add_argument(
        "--steps", type=int, metavar="N", help="1 trains at t = 999 alone; N at N times, with DDIM inference"
    )
    parser.add_argument("--detail-preserver", choices=("on", "off"), help="the reconstruction side")
    parser.add_argument(
        "--depth-map",
        choices=("linear", "linear-range", "disparity", "disparity-range"),
        help="how depth becomes a map",
    )


def run(args: argparse.Namespace) -> int:
    """Train, and return the exit code: 1 where it was stopped by what it met, 2 where nothing was started."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        from ..training.config import read_config
        from ..training.run import train
    except ImportError as error:
        raise MissingExtraError(error.name or "a package", "train", "training") from error
    config = read_config(args.config, _changes(args))
    try:
        done = train(config, args.output, resume=args.resume, minutes=args.time_limit)
    except InputError:
        raise
    except LotusError as error:
        print(f"lotus train: {error}", file=sys.stderr)
        return SOME_FAILED
    except KeyboardInterrupt:
        print("lotus train: stopped; go on from the last saved state with --resume", file=sys.stderr)
        return INTERRUPTED
    print(f"{'done' if done else 'not yet done: go on with --resume'}; results in {args.output}")
    return DONE


def _changes(args: argparse.Namespace) -> dict[str, Any]:
    import yaml

    changes: dict[str, Any] = {}
    for text in args.set:
        key, found, value = text.partition("=")
        if not found or not key:
            raise OptionError("--set", text, "KEY=VALUE")
        changes[key] = yaml.safe_load(value)
    named = {
        "noise.prediction": args.prediction,
        "noise.steps": args.steps,
        "switcher.enabled": None if args.detail_preserver is None else args.detail_preserver == "on",
        "depth_map": args.depth_map,
    }
    return {**changes, **{key: value for key, value in named.items() if value is not None}}
