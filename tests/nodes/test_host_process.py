"""Finding ComfyUI, starting it, and running scripts in its interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.nodes.host import checkouts
from tests.nodes.host.checkouts import Checkout, find_checkouts, open_checkout
from tests.nodes.host.process import REPOSITORY, ComfyServer, host_environment, run_inside

INSIDE = Path(__file__).with_name("inside")


def make_checkout(root: Path, version: str) -> Path:
    root.mkdir()
    (root / "main.py").touch()
    (root / "comfyui_version.py").write_text(f'__version__ = "{version}"\n', encoding="utf-8")
    return root


def test_checkouts_of_the_variable_are_sorted_by_version_as_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = [make_checkout(tmp_path / name, name) for name in ("0.33.0", "0.3.64", "0.8.0")]
    monkeypatch.setenv(checkouts.SEARCH_VARIABLE, os.pathsep.join(str(root) for root in roots))
    assert [found.version for found in find_checkouts()] == ["0.3.64", "0.8.0", "0.33.0"]


def test_empty_variable_means_no_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(checkouts.SEARCH_VARIABLE, "")
    assert find_checkouts() == []


def test_folder_in_the_variable_that_is_no_checkout_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(checkouts.SEARCH_VARIABLE, str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"is not a ComfyUI checkout: it has no main\.py"):
        find_checkouts()


def test_checkouts_own_interpreter_is_preferred(tmp_path: Path) -> None:
    root = make_checkout(tmp_path / "comfy", "0.33.0")
    assert open_checkout(root).python == Path(sys.executable)
    (root / ".venv" / "bin").mkdir(parents=True)
    (root / ".venv" / "bin" / "python").touch()
    assert open_checkout(root).python == root / ".venv" / "bin" / "python"


def test_host_environment_hides_our_modules_and_keeps_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    environment = host_environment({"HF_HUB_OFFLINE": "1"})
    assert "PYTHONPATH" not in environment
    assert environment["HF_HUB_OFFLINE"] == "1"


def test_missing_comfyui_is_announced_in_the_summary() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-k", "interpreter_of_comfyui", __file__]
    environment = os.environ | {checkouts.SEARCH_VARIABLE: ""}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True
    )
    assert "TESTS IN A REAL ComfyUI DID NOT RUN" in done.stdout
    assert "1 test skipped, comfy: no ComfyUI checkout: set COMFYUI_PATH" in done.stdout


@pytest.mark.comfy
def test_script_runs_in_the_interpreter_of_comfyui(checkout: Checkout) -> None:
    seen = run_inside(checkout, INSIDE / "report_host.py", "one", "two")
    assert seen["version"] == checkout.version
    assert Path(seen["nodes"]) == checkout.root / "nodes.py"
    assert seen["device"] == "cpu"
    assert seen["arguments"] == ["one", "two"]
    assert seen["probe"].endswith("probe_pack.nodes")
    assert seen["loaded_twice"]


@pytest.mark.comfy
@pytest.mark.parametrize(
    ("how", "message"),
    [("raise", r"exit code 1.*ValueError: told to fail"), ("end", r"exit code 0 and reported nothing")],
)
def test_script_without_a_report_is_an_error_with_its_output(
    checkout: Checkout, how: str, message: str
) -> None:
    with pytest.raises(
        RuntimeError, match=rf"(?s)fail\.py in ComfyUI {checkout.version} ended with {message}"
    ):
        run_inside(checkout, INSIDE / "fail.py", how)


@pytest.mark.comfy
def test_server_that_ends_at_once_shows_its_log(checkout: Checkout) -> None:
    server = ComfyServer(checkout, arguments=["--no-such-argument"])
    with pytest.raises(RuntimeError, match=r"(?s)ended with exit code 2; its log.*--no-such-argument"):
        server.start()
    server.stop()
    assert not server.base.exists()


@pytest.mark.comfy
def test_stopped_server_leaves_no_process_and_no_files(checkout: Checkout) -> None:
    with ComfyServer(checkout, packs={}) as server:
        pid, base = server.pid, server.base
        assert server.is_alive()
        assert server.api.get_json("/workflow_templates") == {}
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not base.exists()
    assert not server.is_alive()
