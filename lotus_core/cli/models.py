"""`lotus models`: the catalogue, fetching, checking, finding and removing checkpoints."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from . import models_actions
from .arguments import add_quiet_argument

_DESCRIPTION = """The checkpoints of the catalogue: what each estimates, its size and licence, and whether it is on this
machine. Nothing is fetched but by `pull`, or by running a command with a model that is named. Files go to --folder,
else to the folder that the environment variable LOTUS_HOME names, else to the Hub's cache. HF_TOKEN, HF_HUB_OFFLINE,
HF_ENDPOINT, HF_HOME and the proxy settings are respected."""


def add_parser(subparsers: Any) -> None:
    """Add the command and its actions."""
    parser = subparsers.add_parser(
        "models", help="list, fetch, check, find or remove checkpoints", description=_DESCRIPTION
    )
    _add_common(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    _add_action(actions, "list", "what there is: on this machine or to fetch (the default)")
    pull = _add_action(actions, "pull", "fetch checkpoints, or go on with a download that was cut")
    pull.add_argument("names", nargs="+", metavar="NAME", help="name, file name or Hub id (owner/name)")
    pull.add_argument("--revision", help="branch, tag or commit on the Hub")
    pull.add_argument("--no-vae", action="store_true", help="the UNet alone")
    add_quiet_argument(pull)
    check = _add_action(actions, "check", "compare files with their records and networks; look for NaN")
    check.add_argument("names", nargs="*", metavar="NAME", help="default: everything on this machine")
    add_quiet_argument(check)
    where = _add_action(actions, "where", "where the files lie")
    where.add_argument("names", nargs="*", metavar="NAME", help="default: everything on this machine")
    prune = _add_action(actions, "prune", "remove what was fetched and is not needed; asks first")
    prune.add_argument("names", nargs="*", metavar="NAME", help="also these checkpoints")
    prune.add_argument(
        "--replaced", action="store_true", help="also checkpoints whose replacement is here too"
    )
    prune.add_argument("-y", "--yes", action="store_true", help="do not ask")


def run(args: argparse.Namespace) -> int:
    """Run an action, and return the exit code: 1 where some of it failed, 2 where nothing could be started."""
    return models_actions.ACTIONS[args.action or "list"](args)


def _add_action(actions: Any, name: str, text: str) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    _add_common(parser, default=argparse.SUPPRESS)  # what stands before the action is kept
    return parser


def _add_common(parser: argparse.ArgumentParser, default: Any = None) -> None:
    parser.add_argument(
        "--folder", type=Path, default=default, help="where fetched files go, and are looked for first"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        default=default or False,
        help="print one JSON document, for programs",
    )
