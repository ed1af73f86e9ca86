"""`lotus batch` in processes of its own, with the bundled model: what a kill costs."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from lotus_core.batch.estimator import Estimator
from lotus_core.batch.job import Job
from lotus_core.batch.run import begin, run_local
from lotus_core.batch.storage import Store
from lotus_core.inference.options import InferenceOptions

pytestmark = pytest.mark.slow

CHUNK = 8
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def command(folder, out):
    words = (
        "batch",
        folder,
        out,
        "--model",
        "lotus-tiny-depth-d",
        "--resolution",
        32,
        "--chunk",
        CHUNK,
        "-q",
    )
    return [sys.executable, "-m", "lotus_core.cli", *map(str, words)]


def manifest(out):
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def facts(out):
    """What every row says but for the time that it took."""
    return [{name: value for name, value in row.items() if name != "ms"} for row in manifest(out)]


def parts(out):
    return {path.stem: path for path in (out / "manifest").glob("*.jsonl")}


def test_a_killed_run_goes_on_with_nothing_lost_and_nothing_done_twice(tmp_path, photos):
    """Chunks that were committed when the kill came are not written again; all others are, once."""
    paths = photos(72, width=48, height=32)
    out = tmp_path / "out"
    process = subprocess.Popen(command(paths[0].parent, out), env=ENVIRONMENT)
    deadline = time.monotonic() + 240
    while len(parts(out)) < 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    committed = {name: path.stat().st_mtime_ns for name, path in parts(out).items()}
    shards = {name: (out / "shards" / f"{name}.npz").stat().st_mtime_ns for name in committed}
    assert 2 <= len(committed) < 9
    assert not (out / "manifest.jsonl").exists()

    subprocess.run(command(paths[0].parent, out), env=ENVIRONMENT, check=True)
    assert {name: parts(out)[name].stat().st_mtime_ns for name in committed} == committed
    assert {name: (out / "shards" / f"{name}.npz").stat().st_mtime_ns for name in committed} == shards
    assert json.loads((out / "summary.json").read_text())["new"] == 72 - CHUNK * len(committed)
    assert [row["input"] for row in manifest(out)] == [str(path) for path in paths]
    assert sorted(path.name for path in (out / "shards").iterdir()) == [f"{i:08d}-0000.npz" for i in range(9)]

    whole = Job("lotus-tiny-depth-d", options=InferenceOptions(resolution=32), chunk=CHUNK)
    store = Store(str(tmp_path / "whole"))
    run_local(begin(str(paths[0].parent), store, whole), store, whole, Estimator(whole))
    assert facts(out) == facts(tmp_path / "whole")
    for row in manifest(out):
        name = row["output"].partition("::")[2]
        with np.load(out / name) as found, np.load(tmp_path / "whole" / name) as expected:
            np.testing.assert_allclose(found[row["key"]], expected[row["key"]], atol=1e-5)
