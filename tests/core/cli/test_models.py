"""`lotus models`, in this process; pulling in a process of its own, from a Hub on loopback."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lotus_core.cli import models_actions
from lotus_core.loading.bundled import bundled_files
from lotus_core.loading.catalog import SHARED_VAE, models
from lotus_core.loading.lock import LockRecord, lock_path, sha256_of, write_lock
from tests.core.loading.conftest import AUTHORS, hub, hub_home, hub_server
from tests.core.loading.hub_client import client_environment

__all__ = ["hub", "hub_home", "hub_server"]

NAME = "lotus-depth-d-v1-0"
SINGLE = "lotus-depth-g-v1-0-fp16.safetensors"


@pytest.fixture
def folder(monkeypatch, tmp_path: Path) -> Path:
    """An empty folder for models, and no other place that holds any."""
    monkeypatch.delenv("LOTUS_HOME", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def put_single(folder: Path, *, fetched: bool = True) -> Path:
    """Put the bundled model's files there under the names of a published single file and its VAE."""
    files = bundled_files("lotus-tiny-depth-d")
    assert files.vae is not None
    vae = files.vae if files.vae.is_file() else files.vae / "diffusion_pytorch_model.safetensors"
    for source, name in ((files.unet, SINGLE), (vae, SHARED_VAE.filename)):
        shutil.copyfile(source, folder / name)
        if fetched:
            path = folder / name
            status = path.stat()
            write_lock(
                path,
                LockRecord("owner/name", "b" * 40, name, status.st_size, sha256_of(path), status.st_mtime_ns),
            )
    return folder / SINGLE


class TestList:
    def test_every_checkpoint_has_a_line_with_size_state_and_licence(self, lotus, folder) -> None:
        ran = lotus("models", "list", "--folder", folder)
        assert ran.code == 0
        lines = ran.out.splitlines()
        assert " ".join(lines[0].split()) == "NAME ESTIMATES MODE WEIGHTS SIZE STATE LICENCE REPLACED BY"
        assert [line.split()[0] for line in lines[1 : 1 + len(models())]] == [
            entry.name for entry in models()
        ]
        row = next(line for line in lines if line.startswith("lotus-depth-g-v1-0 "))
        assert " ".join(row.split()) == (
            "lotus-depth-g-v1-0 depth g fp16 2.07 GB to fetch Apache-2.0 lotus-depth-g-v2-1-disparity"
        )
        assert lines[-1] == f"Fetched files go to {folder}. Fetch one with: lotus models pull NAME"

    def test_columns_are_aligned(self, lotus, folder) -> None:
        lines = lotus("models", "--folder", folder).out.splitlines()[: 1 + len(models())]
        at = lines[0].index("ESTIMATES")
        assert {line[at - 1] for line in lines} == {" "}
        assert {line[at:].split()[0] for line in lines[1:]} == {"depth", "disparity", "normal"}

    def test_list_is_what_a_bare_command_does(self, lotus, folder) -> None:
        assert lotus("models", "--folder", folder).out == lotus("models", "list", "--folder", folder).out

    def test_json_tells_a_program_the_same(self, lotus, folder) -> None:
        unet = put_single(folder)
        ran = lotus("models", "list", "--json", "--folder", folder)
        document = ran.document
        assert document["command"] == "models list"
        assert document["folder"] == str(folder)
        by_name = {model["name"]: model for model in document["models"]}
        assert set(by_name) == {entry.name for entry in models()}
        here = by_name["lotus-depth-g-v1-0"]
        assert here["state"] == "on disk"
        assert here["files"] == [str(unet), str(folder / SHARED_VAE.filename)]
        assert here["bytes"] == unet.stat().st_size + (folder / SHARED_VAE.filename).stat().st_size
        assert by_name["lotus-tiny-depth-d"]["state"] == "bundled"
        assert by_name["jingheya/lotus-depth-g-v1-0"]["state"] == "download"

    def test_lotus_home_is_where_files_go(self, lotus, folder, monkeypatch) -> None:
        monkeypatch.setenv("LOTUS_HOME", str(folder))
        assert f"Fetched files go to {folder}." in lotus("models").out


class TestWhere:
    def test_the_files_of_a_checkpoint(self, lotus, folder) -> None:
        unet = put_single(folder)
        ran = lotus("models", "where", "lotus-depth-g-v1-0", "--folder", folder)
        assert ran.code == 0
        assert ran.out.splitlines() == [
            "lotus-depth-g-v1-0",
            f"  {unet}",
            f"  {folder / SHARED_VAE.filename}",
        ]

    def test_one_that_is_not_here_is_said_and_counts_as_failed(self, lotus, folder) -> None:
        ran = lotus("models", "where", NAME, "lotus-tiny-depth-d", "--folder", folder)
        assert ran.code == 1
        assert f"{NAME} is not on this machine: fetch it with `lotus models pull {NAME}`" in ran.err
        assert ran.out.startswith("lotus-tiny-depth-d\n")

    def test_without_names_everything_that_was_fetched(self, lotus, folder) -> None:
        assert (
            lotus("models", "where", "--folder", folder).out.strip()
            == "nothing of the catalogue was fetched yet"
        )
        put_single(folder)
        assert lotus("models", "where", "--json", "--folder", folder).document["models"].keys() == {
            "lotus-depth-g-v1-0"
        }

    def test_an_unknown_name_is_bad_usage_with_the_nearest(self, lotus, folder) -> None:
        ran = lotus("models", "where", "lotus-dept-d-v1-0", "--folder", folder)
        assert ran.code == 2
        assert "did you mean lotus-depth-d-v1-0" in ran.err


class TestCheck:
    def test_sound_files_pass(self, lotus, folder) -> None:
        ran = lotus("models", "check", "lotus-tiny-depth-d", "--folder", folder)
        assert ran.code == 0
        assert [line.split()[:2] for line in ran.out.splitlines()] == [["ok", "lotus-tiny-depth-d:"]] * 2

    def test_a_damaged_file_is_named_with_what_is_wrong(self, lotus, folder) -> None:
        path = put_single(folder)
        path.write_bytes(path.read_bytes()[:-10])
        ran = lotus("models", "check", "--folder", folder)
        assert ran.code == 1
        assert "BAD   lotus-depth-g-v1-0:" in ran.out
        assert "is not the file that was recorded" in ran.out

    def test_altered_content_is_found(self, lotus, folder) -> None:
        path = put_single(folder)
        raw, times = bytearray(path.read_bytes()), path.stat()
        raw[-1] ^= 1
        path.write_bytes(raw)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        ran = lotus("models", "check", "lotus-depth-g-v1-0", "--json", "--folder", folder)
        assert ran.code == 1
        unet = next(item for item in ran.document["files"] if item["file"] == str(path))
        assert any("sha256" in problem for problem in unet["problems"])

    def test_one_that_is_not_here_fails(self, lotus, folder) -> None:
        ran = lotus("models", "check", NAME, "--folder", folder)
        assert ran.code == 1
        assert f"BAD   {NAME}: it is not on this machine" in ran.out

    def test_an_empty_machine_has_nothing_to_check(self, lotus, folder) -> None:
        ran = lotus("models", "check", "--folder", folder)
        assert (ran.code, ran.out.strip()) == (0, "nothing of the catalogue is on this machine")


class TestPrune:
    @pytest.fixture
    def answering(self, monkeypatch):
        """Let a person at a terminal give this answer."""

        def answer(text: str) -> None:
            monkeypatch.setattr(sys, "stdin", io.StringIO(text + "\n"))
            monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)

        return answer

    def part(self, folder: Path) -> Path:
        path = folder / f"{SINGLE}.0123456789ab.part"
        path.write_bytes(bytes(2_000_000))
        return path

    def test_it_asks_and_a_no_removes_nothing(self, lotus, folder, answering) -> None:
        part = self.part(folder)
        answering("n")
        ran = lotus("models", "prune", "--folder", folder)
        assert ran.code == 0
        assert f"2.0 MB  {part}  (part of a download)" in ran.out
        assert "Remove these 1 (2.0 MB)? [y/N]" in ran.out
        assert "nothing removed" in ran.out
        assert part.exists()

    @pytest.mark.parametrize("answer", ["y", "Yes"])
    def test_a_yes_removes(self, lotus, folder, answering, answer) -> None:
        part = self.part(folder)
        answering(answer)
        ran = lotus("models", "prune", "--folder", folder)
        assert "2.0 MB freed" in ran.out
        assert not part.exists()

    def test_an_empty_answer_is_a_no(self, lotus, folder, answering) -> None:
        part = self.part(folder)
        answering("")
        lotus("models", "prune", "--folder", folder)
        assert part.exists()

    @pytest.mark.parametrize("words", [[], ["--json"]])
    def test_without_anybody_to_ask_nothing_is_removed(self, lotus, folder, monkeypatch, words) -> None:
        part = self.part(folder)
        monkeypatch.setattr(sys, "stdin", io.StringIO(""))
        ran = lotus("models", "prune", *words, "--folder", folder)
        assert ran.code == 2
        assert "prune asks before it removes, and there is nobody to ask: pass --yes" in ran.err
        assert part.exists()

    def test_a_named_checkpoint_goes_with_its_records(self, lotus, folder) -> None:
        unet = put_single(folder)
        ran = lotus("models", "prune", "lotus-depth-g-v1-0", "--yes", "--json", "--folder", folder)
        assert ran.code == 0
        vae = folder / SHARED_VAE.filename
        assert set(ran.document["removed"]) == {
            str(path) for path in (unet, lock_path(unet), vae, lock_path(vae))
        }
        assert list(folder.iterdir()) == []

    def test_a_checkpoint_that_the_user_put_there_is_not_removed(self, lotus, folder) -> None:
        unet = put_single(folder, fetched=False)
        ran = lotus("models", "prune", "lotus-depth-g-v1-0", "--yes", "--folder", folder)
        assert ran.code == 2
        assert "nothing of lotus-depth-g-v1-0 was fetched to" in ran.err
        assert unet.exists()

    def test_replaced_checkpoints_go_when_told(self, lotus, folder) -> None:
        old = put_single(folder)
        shutil.copyfile(old, folder / "lotus-depth-g-v2-1-disparity-fp16.safetensors")
        ran = lotus("models", "prune", "--replaced", "--yes", "--folder", folder)
        assert ran.code == 0
        assert not old.exists()
        assert (folder / SHARED_VAE.filename).exists()  # the newer one needs it


class TestPull:
    @pytest.fixture
    def pulling(self, hub, hub_home, tmp_path):
        """Run ``lotus models pull`` in a process that knows this Hub only."""

        def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-m", "lotus_core.cli", "models", "pull", *words],
                env=client_environment(hub.endpoint, hub_home) | environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )

        return run

    def test_a_checkpoint_comes_to_the_folder(self, pulling, hub, tmp_path) -> None:
        done = pulling(NAME, "--folder", str(tmp_path / "models"))
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == f"1 done, 0 failed; results in {tmp_path / 'models'}"
        served = hub.repositories[AUTHORS].files["unet/diffusion_pytorch_model.safetensors"]
        assert (tmp_path / "models" / f"{NAME}.safetensors").read_bytes() == served

    def test_a_failed_one_does_not_stop_the_others(self, pulling, hub, tmp_path) -> None:
        words = ["lotus-normal-d-v1-1", NAME, "--folder", str(tmp_path), "--json"]
        done = pulling(*words)
        assert done.returncode == 1
        document = json.loads(done.stdout)
        assert (document["done"], document["failed"]) == (1, 1)
        first, second = document["items"]
        assert first["error"]["type"] == "AccessError"
        assert "there is no repository jingheya/lotus-normal-d-v1-1, or it is private" in done.stderr
        assert second["revision"] == "a" * 40
        assert all(Path(path).is_file() for path in second["files"])

    def test_an_unknown_name_starts_nothing(self, pulling, hub, tmp_path) -> None:
        done = pulling("lotus-dept-d-v1-0", NAME, "--folder", str(tmp_path / "models"))
        assert done.returncode == 2
        assert "no Lotus model is called 'lotus-dept-d-v1-0': did you mean lotus-depth-d-v1-0" in done.stderr
        assert hub.requests == []
        assert not (tmp_path / "models").exists()


def test_a_table_of_one_row_needs_no_padding() -> None:
    assert models_actions.table([["a", "b"]]) == "a  b"
    assert models_actions.table([["NAME", "SIZE"], ["lotus", "1"]]) == "NAME   SIZE\nlotus  1"


def test_the_command_imports_nothing_heavy_until_it_runs() -> None:
    heavy = "'torch', 'diffusers', 'huggingface_hub', 'numpy', 'tqdm'"
    code = f"import sys, lotus_core.cli.models; print([name for name in ({heavy}) if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
