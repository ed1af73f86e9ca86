"""What every `lotus` command returns to the shell."""

from __future__ import annotations

from typing import Final

DONE: Final = 0
"""Everything that was asked for is done."""

SOME_FAILED: Final = 1
"""Some items failed; each is listed with its reason, and the others are done."""

BAD_USAGE: Final = 2
"""Nothing was started: an option, a model or the output folder cannot be used."""

INTERRUPTED: Final = 130
"""Stopped by Ctrl-C; what was finished before is whole."""
