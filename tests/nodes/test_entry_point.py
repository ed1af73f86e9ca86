"""Starting ComfyUI with the pack costs no library that only a loaded model needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.nodes.host.process import run_inside

pytestmark = pytest.mark.comfy


def test_the_entry_point_imports_no_diffusers_and_nothing_else_heavy(checkout):
    report = run_inside(checkout, Path(__file__).with_name("inside") / "entry_point.py")
    assert report["by_root"] == []
    assert report["by_entry_point"] == []
    assert report["nodes"] >= 7
