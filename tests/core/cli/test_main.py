"""The command itself: start-up, help, exit codes, and commands that plug in."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import lotus_core.cli
from lotus_core.cli import exit_codes
from lotus_core.cli import main as main_module
from lotus_core.cli.main import build_parser, main

ROOT = Path(__file__).parents[3]
HEAVY = ("torch", "diffusers", "transformers", "numpy", "PIL", "huggingface_hub", "safetensors", "tqdm")


def python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize("words", [["--help"], ["joint", "--help"], ["--version"]])
def test_help_and_version_import_nothing_heavy(words):
    code = (
        "import sys\nfrom lotus_core.cli.main import main\n"
        f"try: main({words!r})\nexcept SystemExit as e: assert e.code == 0\n"
        f"print('loaded:', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    result = python("-c", code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "loaded: []"


def test_module_can_be_run_without_its_script():
    result = python("-m", "lotus_core.cli", "--version")
    assert (result.returncode, result.stdout.strip()) == (0, f"lotus {lotus_core.__version__}")


def test_help_lists_the_commands_and_the_exit_codes(lotus):
    ran = lotus("--help")
    assert ran.code == 0
    for command in ("depth", "normal", "joint", "reconstruct"):
        assert f"\n    {command}" in ran.out
    assert "1 some items failed and are listed" in " ".join(ran.out.split())


def test_no_command_is_bad_usage(lotus):
    ran = lotus()
    assert ran.code == exit_codes.BAD_USAGE
    assert "the following arguments are required: COMMAND" in ran.err
    assert ran.out == ""


def test_unknown_command_is_bad_usage_and_lists_the_known_ones(lotus):
    ran = lotus("paint")
    assert ran.code == exit_codes.BAD_USAGE
    assert "invalid choice: 'paint'" in ran.err
    assert "joint" in ran.err


def test_exit_codes_are_the_documented_ones():
    assert (exit_codes.DONE, exit_codes.SOME_FAILED, exit_codes.BAD_USAGE) == (0, 1, 2)
    assert exit_codes.INTERRUPTED == 128 + 2  # as a shell reports SIGINT


@pytest.fixture
def plug(monkeypatch, tmp_path):
    """Return a function that puts a command module with one command, "shout", beside the others."""
    name = "lotus_core.cli.shout"

    def put(body: str) -> None:
        text = "def add_parser(subparsers): subparsers.add_parser('shout').add_argument('word')\n"
        (tmp_path / "shout.py").write_text(f"{text}{body}\n")
        monkeypatch.setattr(lotus_core.cli, "__path__", [*lotus_core.cli.__path__, str(tmp_path)])
        monkeypatch.setattr(main_module, "MODULES", (*main_module.MODULES, "shout"))
        importlib.invalidate_caches()

    yield put
    sys.modules.pop(name, None)
    vars(lotus_core.cli).pop("shout", None)


def test_command_module_plugs_in_by_its_name(plug):
    plug("def run(args): return len(args.word)")
    assert main(["shout", "heyheyh"]) == 7


def test_module_that_is_not_installed_is_left_out(monkeypatch):
    monkeypatch.setattr(main_module, "MODULES", ("estimate", "there_is_no_such_module"))
    _, runs = build_parser()
    assert sorted(runs) == ["depth", "joint", "normal", "reconstruct"]


def test_module_that_is_there_but_broken_is_not_left_out_in_silence(plug):
    plug("import a_package_that_is_not_there")
    with pytest.raises(ModuleNotFoundError, match="a_package_that_is_not_there"):
        build_parser()


def test_error_of_a_command_becomes_words_and_bad_usage(plug, capsys):
    plug(
        "def run(args):\n"
        "    from lotus_core.errors import OptionError\n"
        "    raise OptionError('volume', 11, '1 to 10')"
    )
    assert main(["shout", "hey"]) == exit_codes.BAD_USAGE
    assert "lotus shout: volume must be 1 to 10 (found: 11)" in capsys.readouterr().err


def test_ctrl_c_of_a_command_has_its_own_code(plug, capsys):
    plug("def run(args): raise KeyboardInterrupt")
    assert main(["shout", "hey"]) == exit_codes.INTERRUPTED
    assert "lotus shout: stopped" in capsys.readouterr().err


@pytest.mark.parametrize(("free", "kept"), [(16 * 2**30, True), (16 * 2**30 - 1, False)])
def test_a_process_keeps_freed_memory_where_there_is_plenty(monkeypatch, free, kept):
    asked: list[bool] = []
    monkeypatch.setattr(main_module, "available_ram", lambda: free)
    monkeypatch.setattr(main_module, "keep_freed_memory", lambda: asked.append(True))
    monkeypatch.setattr(main_module, "main", lambda: 3)
    assert main_module.run_process() == 3
    assert asked == [True] * kept


def test_a_command_called_from_python_leaves_memory_alone(lotus, monkeypatch):
    monkeypatch.setattr(main_module, "keep_freed_memory", lambda: pytest.fail("this process is not ours"))
    assert lotus("models").code == 0
