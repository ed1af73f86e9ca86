"""What a run tells: to a person on stderr and stdout, or to a program as one JSON document."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from .. import __version__
from ..errors import LotusError
from .exit_codes import BAD_USAGE, DONE, INTERRUPTED, SOME_FAILED

if TYPE_CHECKING:
    from tqdm import tqdm

T = TypeVar("T")


class Report:
    """Collects what happened to every item; says it at the end.

    With `as_json`, stdout gets one JSON document and nothing else. Else it gets one line of summary. Warnings,
    failures and the progress bar go to stderr in both cases.

    Args:
        command: Name of the command.
        as_json: Print JSON.
        quiet: Draw no progress bar (it is never drawn where stderr is not a terminal).
    """

    def __init__(self, command: str, *, as_json: bool, quiet: bool) -> None:
        self._command = command
        self._json = as_json
        self._quiet = quiet
        self._bar: tqdm[Any] | None = None
        self._items: list[dict[str, Any]] = []
        self._facts: dict[str, Any] = {}

    def state(self, **facts: Any) -> None:
        """Add facts about the whole run to the document: models, options, output."""
        self._facts.update(facts)

    def progress(self, items: Sequence[T]) -> Iterator[T]:
        """Yield the items, with a progress bar on stderr."""
        from tqdm import tqdm

        disable = True if self._quiet else None  # None: off where stderr is not a terminal
        with tqdm(items, desc=self._command, unit="image", file=sys.stderr, disable=disable) as bar:
            self._bar = bar
            yield from bar
        self._bar = None

    def done(self, text: str, **facts: Any) -> None:
        """Note an item that is done."""
        for message in facts.get("warnings", ()):
            self._say(f"warning: {text}: {message}")
        self._items.append({"input": text, "status": "done", **facts})

    def failed(self, text: str, error: Exception) -> None:
        """Note an item that failed, and why; an error that is none of ours is shown with its traceback."""
        if not isinstance(error, LotusError):
            self._say("".join(traceback.format_exception(error)).rstrip())
        self._say(f"failed: {text}: {_words(error)}")
        self._items.append({"input": text, "status": "failed", "error": _described(error)})

    def refuse(self, error: LotusError) -> int:
        """Tell why nothing was started, and return the exit code."""
        self._say(f"lotus {self._command}: {error}")
        if self._json:
            self._print({"error": _described(error)})
        return BAD_USAGE

    def finish(self, *, interrupted: bool = False) -> int:
        """Tell how the run ended, list what failed, and return the exit code."""
        failures = [item for item in self._items if item["status"] == "failed"]
        done = len(self._items) - len(failures)
        if self._json:
            counts = {"done": done, "failed": len(failures), "interrupted": interrupted}
            self._print({**self._facts, **counts, "items": self._items})
        else:
            print(self._summary(done, len(failures), interrupted))
            if failures:
                print("failed:\n" + "\n".join(f"  {item['input']}" for item in failures), file=sys.stderr)
        if interrupted:
            return INTERRUPTED
        return SOME_FAILED if failures else DONE

    def _summary(self, done: int, failed: int, interrupted: bool) -> str:
        text = f"{done} done, {failed} failed; results in {self._facts.get('output', '.')}"
        return f"stopped: {text}" if interrupted else text

    def _print(self, facts: dict[str, Any]) -> None:
        print_json(self._command, facts)

    def _say(self, text: str) -> None:
        if self._bar is None:
            print(text, file=sys.stderr)
        else:
            self._bar.write(text, file=sys.stderr)


def print_json(command: str, facts: Mapping[str, Any]) -> None:
    """Print one JSON document about a command: its name, the version, and the facts."""
    print(json.dumps({"command": command, "version": __version__, **facts}, indent=2))


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, LotusError) else f"unexpected {type(error).__name__}: {error}"


def _described(error: Exception) -> dict[str, str | None]:
    described: dict[str, str | None] = {"type": type(error).__name__, "message": _words(error)}
    if isinstance(error, LotusError):
        described.update(problem=error.problem, found=error.found, remedy=error.remedy)
    return described
