"""The bar that hears how much is done of how much."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from lotus_core.cli.bars import progress_bar


@pytest.fixture
def drawn(capsys, monkeypatch) -> Callable[..., str]:
    """What stands on stderr at the end; tqdm draws over its line with carriage returns."""

    def draw(*calls, unit="image", quiet=False, total=None, terminal=True) -> str:
        monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
        with progress_bar("photos", unit, quiet=quiet, total=total) as update:
            for done, whole in calls:
                update(done, whole)
        captured = capsys.readouterr()
        assert captured.out == ""
        return captured.err.rstrip("\n").rpartition("\r")[2]

    return draw


def test_nothing_is_drawn_off_a_terminal(drawn):
    assert drawn((1, 2), (2, 2), terminal=False) == ""


def test_nothing_is_drawn_when_it_shall_be_quiet(drawn):
    assert drawn((1, 2), (2, 2), quiet=True) == ""


def test_the_last_call_is_what_stands_at_the_end(drawn):
    """Calls tell what is done in all, not what was done since."""
    line = drawn((1, 4), (2, 4), (3, 4))
    assert line.startswith("photos:  75%")
    assert "3/4" in line
    assert "image" in line


def test_a_total_may_come_late_and_change(drawn):
    assert "6/8" in drawn((3, 4), (6, 8))


def test_a_total_of_nothing_is_one_that_is_not_known(drawn):
    line = drawn((5, 0))
    assert line.startswith("photos: 5image")
    assert "%" not in line


def test_a_total_that_is_known_beforehand_is_drawn_before_the_first_call(drawn):
    assert "0/100" in drawn(unit="%", total=100)


def test_bytes_get_prefixes(drawn):
    assert "1.50M/2.00M" in drawn((1_500_000, 2_000_000), unit="B")
