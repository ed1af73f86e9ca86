"""The actions of `lotus models`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from ..errors import InputError, LotusError
from ..loading import catalog
from ..loading.choices import Choice, choices
from ..loading.store import Places, hub_cache
from .bars import progress_bar
from .choice import DownloadBar
from .exit_codes import DONE, SOME_FAILED
from .report import Report, print_json

if TYPE_CHECKING:
    from ..loading.entry import LocalCheckpoint
    from ..loading.prune import Removal

_HEAD: Final = ("NAME", "ESTIMATES", "MODE", "WEIGHTS", "SIZE", "STATE", "LICENCE", "REPLACED BY")


def list_models(args: argparse.Namespace) -> int:
    """Print the catalogue."""
    every = _choices(args)
    if args.json:
        print_json(
            "models list", {"folder": _destination(args), "models": [_facts(choice) for choice in every]}
        )
        return DONE
    print(table([_HEAD, *(_row(choice) for choice in every)]))
    print(f"\nFetched files go to {_destination(args)}. Fetch one with: lotus models pull NAME")
    return DONE


def pull(args: argparse.Namespace) -> int:
    """Fetch checkpoints, one after the other; a failed one does not stop the others."""
    from ..loading.hub import ensure

    report = Report("models pull", as_json=args.json, quiet=args.quiet)
    report.state(output=_destination(args))
    try:
        entries = [catalog.for_repository(name) for name in args.names]
    except LotusError as error:
        return report.refuse(error)
    for entry in entries:
        try:
            with DownloadBar(entry.name, args.quiet) as progress:
                local = ensure(
                    entry,
                    folder=args.folder,
                    with_vae=not args.no_vae,
                    revision=args.revision,
                    progress=progress,
                )
        except LotusError as error:
            report.failed(entry.name, error)
        except KeyboardInterrupt:
            return report.finish(interrupted=True)
        else:
            report.done(entry.name, files=[str(path) for path in _paths(local)], revision=local.revision)
    return report.finish()


def check(args: argparse.Namespace) -> int:
    """Look at every number of checkpoints on this machine."""
    from ..loading.verify import check_checkpoint

    found, missing = _on_disk(args)
    items: list[dict[str, Any]] = [
        {"name": name, "problems": ["it is not on this machine"]} for name in missing
    ]
    for choice in found:
        name = choice.entry.name
        if choice.local is None:
            items.append({"name": name, "problems": [_altered(choice, args)]})
            continue
        with progress_bar(f"check {name}", "B", quiet=args.quiet) as progress:
            checks = check_checkpoint(choice.local, progress=progress)
        items += [
            {"name": name, "file": str(one.path), "recorded": one.recorded, "problems": list(one.problems)}
            for one in checks
        ]
    bad = [item for item in items if item["problems"]]
    if args.json:
        print_json("models check", {"files": items})
    else:
        print("\n".join(_check_line(item) for item in items) or "nothing of the catalogue is on this machine")
    return SOME_FAILED if bad else DONE


def where(args: argparse.Namespace) -> int:
    """Print the paths of checkpoints on this machine."""
    found, missing = _on_disk(args)
    here = {
        choice.entry.name: [str(path) for path in _paths(choice.local)] for choice in found if choice.local
    }
    absent = [*missing, *(choice.entry.name for choice in found if choice.local is None)]
    if args.json:
        print_json("models where", {"models": here, "missing": absent})
    else:
        for name, paths in here.items():
            print("\n".join([name, *(f"  {path}" for path in paths)]))
        for name in absent:
            print(f"{name} is not on this machine: fetch it with `lotus models pull {name}`", file=sys.stderr)
        if not here and not absent:
            print("nothing of the catalogue was fetched yet")
    return SOME_FAILED if absent else DONE


def prune(args: argparse.Namespace) -> int:
    """Remove leftovers and named checkpoints, after asking."""
    from ..loading.prune import fetched_files, leftovers, remove, replaced

    places = Places(folder=args.folder)
    entries = [catalog.require(name) for name in args.names]
    if args.replaced:
        entries += [entry for entry in replaced(places) if entry not in entries]
    removals = list(leftovers(places))
    for entry in entries:
        removals += fetched_files(entry, places)
    if not args.json:
        for removal in removals:
            print(f"{_size(removal.bytes):>9}  {removal.path}  ({removal.reason})")
    removed: list[Removal] = []
    failed: list[str] = []
    for removal in removals if removals and (args.yes or _confirmed(args, removals)) else ():
        try:
            remove(removal)
        except LotusError as error:
            failed.append(str(error))
        else:
            removed.append(removal)
    size = sum(one.bytes for one in removed)
    if args.json:
        paths = [str(one.path) for one in removed]
        print_json("models prune", {"removed": paths, "bytes": size, "failed": failed})
    else:
        print(f"{_size(size)} freed" if removed else "nothing removed")
        for error in failed:
            print(f"failed: {error}", file=sys.stderr)
    return SOME_FAILED if failed else DONE


ACTIONS: Final = MappingProxyType[str, Callable[[argparse.Namespace], int]](
    {"list": list_models, "pull": pull, "check": check, "where": where, "prune": prune}
)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as lines of aligned columns, two spaces apart."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _choices(args: argparse.Namespace) -> tuple[Choice, ...]:
    return choices(folder=args.folder)


def _destination(args: argparse.Namespace) -> str:
    return str(Places(folder=args.folder).target or hub_cache())


def _on_disk(args: argparse.Namespace) -> tuple[list[Choice], list[str]]:
    """Return the named choices, else all that are here and not bundled; and the names that mean nothing here."""
    every = {choice.entry.name: choice for choice in _choices(args)}
    if not args.names:
        return [choice for choice in every.values() if choice.state in ("on disk", "altered")], []
    named = [every[catalog.require(name).name] for name in args.names]
    return [one for one in named if one.state != "download"], [
        one.entry.name for one in named if one.state == "download"
    ]


def _altered(choice: Choice, args: argparse.Namespace) -> str:
    from ..loading.store import find

    try:
        find(choice.entry, Places(folder=args.folder), same_weights_too=False)
    except LotusError as error:
        return str(error)
    return "it changed while it was looked at"


def _paths(local: LocalCheckpoint) -> list[Path]:
    parts = (local.unet, local.unet_config, local.vae, local.vae_config, local.prompt_embeds)
    return [path for path in parts if path is not None]


def _row(choice: Choice) -> tuple[str, ...]:
    entry = choice.entry
    state = {"download": "to fetch"}.get(choice.state, choice.state)
    size = _size(choice.bytes)
    return (
        entry.name,
        entry.output or "?",
        entry.mode or "?",
        entry.precision,
        size,
        state,
        entry.licence,
        entry.replaced_by or "",
    )


def _facts(choice: Choice) -> dict[str, Any]:
    entry = choice.entry
    return {
        "name": entry.name,
        "output": entry.output,
        "mode": entry.mode,
        "precision": entry.precision,
        "layout": entry.layout,
        "repository": entry.repository,
        "licence": entry.licence,
        "default_resolution": entry.default_resolution,
        "replaced_by": entry.replaced_by,
        "state": choice.state,
        "bytes": choice.bytes,
        "files": [] if choice.local is None else [str(path) for path in _paths(choice.local)],
    }


def _check_line(item: dict[str, Any]) -> str:
    what = f"{item['name']}: {item['file']}" if "file" in item else item["name"]
    if not item["problems"]:
        return f"ok    {what}" + ("" if item["recorded"] else "  (no record of its hash)")
    return "\n".join(f"BAD   {what}: {problem}" for problem in item["problems"])


def _confirmed(args: argparse.Namespace, removals: Sequence[Removal]) -> bool:
    if args.json or not sys.stdin.isatty():
        raise InputError("prune asks before it removes, and there is nobody to ask", remedy="pass --yes")
    size = sum(one.bytes for one in removals)
    answer = input(f"Remove these {len(removals)} ({_size(size)})? [y/N] ")
    return answer.strip().lower() in ("y", "yes")


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
