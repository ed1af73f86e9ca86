"""The progress bar of what tells how much is done of how much."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(
    text: str, unit: str, *, quiet: bool, total: int | None = None
) -> Iterator[Callable[[int, int], None]]:
    """Yield what hears (done, total) and draws it on stderr, where that is a terminal.

    Args:
        text: What stands before the bar.
        unit: Of what is counted; "B" gets prefixes, such as 2.00M.
        quiet: Draw nothing.
        total: How much there is, where that is known before the first call; a call with 0 says that it is not known.
    """
    from tqdm import tqdm

    disable = True if quiet else None  # None: off where stderr is not a terminal
    with tqdm(
        desc=text, total=total, unit=unit, unit_scale=unit == "B", file=sys.stderr, disable=disable
    ) as bar:

        def update(done: int, total: int) -> None:
            bar.total = total or None
            bar.update(done - bar.n)

        yield update
