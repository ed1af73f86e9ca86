"""Real processes: one that is killed and resumed, and two that share each batch."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from lotus_core.training.state import list_states, load_state
from tests.core.training.small import lotus_settings

ROOT = Path(__file__).parents[3]
PATIENCE_S = 120


def launch(config, folder, *arguments, **environment):
    command = [sys.executable, "-m", "lotus_core.cli", "train", str(config), "-o", str(folder), *arguments]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture
def config(tmp_path, latents, vae):
    def write(name="config", **settings):
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(json.loads(json.dumps(lotus_settings(latents, vae, **settings)))))
        return path

    return write


def finish(process):
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, output


def last_state(folder):
    return load_state(list_states(folder / "states")[-1])


def assert_equal(one, other, tolerance):
    assert one.step == other.step
    for part in ("weights", "moments", "average"):
        first, second = getattr(one, part), getattr(other, part)
        assert first.keys() == second.keys() != set()
        for key in first:
            if tolerance == 0:
                assert torch.equal(first[key], second[key]), key
            else:
                assert torch.allclose(first[key], second[key], rtol=0, atol=tolerance), key


def test_a_run_that_is_killed_goes_on_as_if_nothing_had_happened(config, tmp_path):
    settings = {"mode": "g", "run": {"log_every": 1, "save_every": 1}}
    killed = tmp_path / "killed"
    process = launch(config("long", **settings, schedule={"steps": 100_000}), killed)
    deadline = time.time() + PATIENCE_S
    while len(list_states(killed / "states")) < 2:
        assert process.poll() is None, process.stdout.read()
        assert time.time() < deadline, "no state was written"
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    total = last_state(killed).step + 3
    short = config("short", **settings, schedule={"steps": total})
    finish(launch(short, killed, "--resume"))
    finish(launch(short, tmp_path / "whole"))
    assert_equal(last_state(killed), last_state(tmp_path / "whole"), 0)
    assert not list((killed / "states").glob(".partial-*"))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def test_two_processes_train_like_one(config, tmp_path):
    settings = {
        "mode": "g",
        "switcher": {"share": 0.5, "later_share": 0.5},
        "optimizer": {"learning_rate": 1e-3},
    }
    path = config(**settings, schedule={"steps": 3, "batch_size": 4, "accumulation": 2})
    port = free_port()
    processes = [
        launch(
            path,
            tmp_path / "two",
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            WORLD_SIZE="2",
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=port,
            ACCELERATE_USE_CPU="true",
        )
        for rank in range(2)
    ]
    for process in processes:
        finish(process)
    finish(launch(path, tmp_path / "one"))
    one, two = last_state(tmp_path / "one"), last_state(tmp_path / "two")
    assert (one.facts["processes"], two.facts["processes"]) == (1, 2)
    assert_equal(one, two, 1e-5)
    first_log, second_log = (
        (tmp_path / name / "log.csv").read_text().splitlines() for name in ("one", "two")
    )
    for row, other in zip(first_log[1:], second_log[1:], strict=True):
        assert float(row.split(",")[1]) == pytest.approx(float(other.split(",")[1]), rel=1e-4)
