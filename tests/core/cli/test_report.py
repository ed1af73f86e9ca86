"""What a run says: to people, to programs, and by its exit code."""

from __future__ import annotations

import json
import sys

import pytest

import lotus_core
from lotus_core.cli.report import Report
from lotus_core.errors import ImageError

DAMAGED = ImageError("b.jpg is damaged", found="12 bytes", remedy="copy it again")


def report(*, as_json=False, quiet=False) -> Report:
    made = Report("depth", as_json=as_json, quiet=quiet)
    made.state(output="out")
    return made


def test_all_done_is_0_and_one_line(capsys):
    made = report()
    made.done("a.jpg", files=["out/a_depth.png"])
    assert made.finish() == 0
    captured = capsys.readouterr()
    assert captured.out == "1 done, 0 failed; results in out\n"
    assert captured.err == ""


def test_failures_are_1_said_at_once_and_listed_at_the_end(capsys):
    made = report()
    made.failed("b.jpg", DAMAGED)
    assert "failed: b.jpg: b.jpg is damaged (found: 12 bytes): copy it again." in capsys.readouterr().err
    made.done("a.jpg")
    assert made.finish() == 1
    captured = capsys.readouterr()
    assert captured.out == "1 done, 1 failed; results in out\n"
    assert captured.err == "failed:\n  b.jpg\n"


def test_interruption_has_its_own_code_and_keeps_what_was_done(capsys):
    made = report()
    made.done("a.jpg")
    assert made.finish(interrupted=True) == 130
    assert capsys.readouterr().out == "stopped: 1 done, 0 failed; results in out\n"


def test_json_is_one_document_with_every_item(capsys):
    made = report(as_json=True)
    made.state(options={"seed": 3})
    made.done("a.jpg", files=["out/a_depth.png"], warnings=[])
    made.failed("b.jpg", DAMAGED)
    assert made.finish() == 1
    document = json.loads(capsys.readouterr().out)
    assert document == {
        "command": "depth",
        "version": lotus_core.__version__,
        "output": "out",
        "options": {"seed": 3},
        "done": 1,
        "failed": 1,
        "interrupted": False,
        "items": [
            {"input": "a.jpg", "status": "done", "files": ["out/a_depth.png"], "warnings": []},
            {
                "input": "b.jpg",
                "status": "failed",
                "error": {
                    "type": "ImageError",
                    "message": "b.jpg is damaged (found: 12 bytes): copy it again.",
                    "problem": "b.jpg is damaged",
                    "found": "12 bytes",
                    "remedy": "copy it again",
                },
            },
        ],
    }


@pytest.mark.parametrize("as_json", [False, True])
def test_refusal_is_2_and_says_why(capsys, as_json):
    assert report(as_json=as_json).refuse(DAMAGED) == 2
    captured = capsys.readouterr()
    assert captured.err == "lotus depth: b.jpg is damaged (found: 12 bytes): copy it again.\n"
    assert (json.loads(captured.out)["error"]["type"] if as_json else captured.out) == (
        "ImageError" if as_json else ""
    )


def test_warnings_are_said(capsys):
    report().done("a.jpg", warnings=["pixels were clamped"])
    assert capsys.readouterr().err == "warning: a.jpg: pixels were clamped\n"


def test_error_that_is_none_of_ours_shows_its_traceback(capsys):
    made = report(as_json=True)
    try:
        {}["missing"]
    except KeyError as error:
        made.failed("a.jpg", error)
    made.finish()
    captured = capsys.readouterr()
    assert "test_report.py" in captured.err
    assert "failed: a.jpg: unexpected KeyError: 'missing'" in captured.err
    assert json.loads(captured.out)["items"][0]["error"] == {
        "type": "KeyError",
        "message": "unexpected KeyError: 'missing'",
    }


def test_progress_yields_every_item_and_draws_nothing_off_a_terminal(capsys):
    assert list(report().progress(["a", "b", "c"])) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("quiet", "drawn"), [(False, True), (True, False)])
def test_progress_bar_on_a_terminal_counts_images(capsys, monkeypatch, quiet, drawn):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    made = report(quiet=quiet)
    for item in made.progress(["a", "b"]):
        made.failed(item, DAMAGED)
    captured = capsys.readouterr()
    assert ("2/2" in captured.err) is drawn
    assert captured.err.count("failed: ") == 2
    assert captured.out == ""


def test_accents_in_names_are_kept(capsys):
    made = report(as_json=True)
    made.done("été/写真.jpg")
    made.finish()
    assert json.loads(capsys.readouterr().out)["items"][0]["input"] == "été/写真.jpg"
