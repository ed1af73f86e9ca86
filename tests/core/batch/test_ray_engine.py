"""The engine ray on a cluster of this machine: two workers, of which one is killed midway."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from lotus_core.batch.estimator import Estimator
from lotus_core.batch.job import Job
from lotus_core.batch.ray_engine import Cluster, UnitWorker, run_ray
from lotus_core.batch.run import begin, run_local
from lotus_core.batch.storage import Store
from lotus_core.errors import MissingExtraError, NoSpaceError, OptionError
from lotus_core.inference.options import InferenceOptions

JOB = Job("lotus-tiny-depth-d", options=InferenceOptions(resolution=32), chunk=10, loading={"device": "cpu"})
IMAGES = 200


def facts(store):
    """What the manifest says but for the times."""
    rows = [json.loads(line) for line in store.read("manifest.jsonl").splitlines()]
    return [{name: value for name, value in row.items() if name != "ms"} for row in rows]


def actors():
    """Process ids of Ray's actors that hold a model, below this process."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name = (folder / "cmdline").read_bytes()
        except OSError:  # it ended meanwhile
            continue
        if name.startswith(b"ray::") and b"UnitWorker" in name and os.getpid() in ancestors(int(folder.name)):
            found.append(int(folder.name))
    return found


def ancestors(pid):
    while pid > 1:
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return
        yield pid


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::Warning:ray")  # Ray warns of what Ray does
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds Ray's processes in /proc")
def test_two_workers_make_the_manifest_of_one_machine_though_one_is_killed(tmp_path, photos):
    pytest.importorskip("ray", reason='needs the extra "ray"')
    folder = str(photos(IMAGES, width=32, height=32)[0].parent)
    local, remote = Store(str(tmp_path / "local")), Store(str(tmp_path / "remote"))
    run_local(begin(folder, local, JOB), local, JOB, Estimator(JOB))

    told, seen, killed = [], set(), []

    def on_chunk(chunk):
        told.append(chunk)
        seen.update(actors())
        if len(told) == 5:
            killed.append(actors()[0])
            os.kill(killed[0], signal.SIGKILL)

    cluster = Cluster(min_workers=2, max_workers=2, env={"OMP_NUM_THREADS": "1"})
    summary, failed = run_ray(begin(folder, remote, JOB), remote, JOB, cluster, on_chunk=on_chunk)
    assert killed
    assert len(seen) >= 3, "two workers, and the one that took the place of the killed one"
    assert (summary.images, summary.failed, summary.engine, summary.workers) == (IMAGES, 0, "ray", 2)
    assert failed == []
    assert facts(remote) == facts(local)
    for shard in (tmp_path / "local" / "shards").iterdir():
        assert (tmp_path / "remote" / "shards" / shard.name).read_bytes() == shard.read_bytes()
    assert not list((tmp_path / "remote").glob("**/.*")), "nothing of the killed worker's is left"


def test_a_worker_works_on_units_and_passes_over_what_is_done(tmp_path, photos):
    store = Store(str(tmp_path / "out"))
    units = begin(str(photos(12, width=32, height=32)[0].parent), store, JOB)
    worker = UnitWorker(JOB.to_json(), store.url, 1)
    first = worker({"unit": [units[0].to_json()]})
    assert first == {"chunk": ["00000000-0000"], "done": [10], "failed": [0], "stopped": [""]}
    assert worker({"unit": [units[0].to_json()]}) == {
        "chunk": [""],
        "done": [0],
        "failed": [0],
        "stopped": [""],
    }
    assert worker({"unit": [units[1].to_json()]})["done"] == [2]


def test_a_worker_whose_disk_is_full_says_so_instead_of_failing_again_and_again(
    tmp_path, photos, file_size_limit
):
    store = Store(str(tmp_path / "out"))
    units = begin(str(photos(2, width=32, height=32)[0].parent), store, JOB)
    worker = UnitWorker(JOB.to_json(), store.url, 1)
    with file_size_limit(500):
        told = worker({"unit": [units[0].to_json()]})
    assert told["chunk"] == ["NoSpaceError"]
    assert "the disk is full" in told["stopped"][0]


def test_what_stopped_a_worker_stops_the_job(tmp_path, photos, monkeypatch):
    """Ray is replaced by one worker's answer; the real one is above."""
    from lotus_core.batch import ray_engine

    class Answer:
        def iter_rows(self):
            yield {"chunk": "NoSpaceError", "done": 0, "failed": 0, "stopped": "the disk is full."}

    class NoRay:
        def is_initialized(self):
            return True

    monkeypatch.setattr(ray_engine, "_require_ray", lambda: (NoRay(), None))
    monkeypatch.setattr(ray_engine, "_dataset", lambda *_: Answer())
    store = Store(str(tmp_path / "out"))
    units = begin(str(photos(2)[0].parent), store, JOB)
    with pytest.raises(NoSpaceError, match="a worker stopped: the disk is full"):
        run_ray(units, store, JOB, Cluster())


def test_a_finished_job_starts_no_cluster(tmp_path, photos, monkeypatch):
    pytest.importorskip("ray", reason='needs the extra "ray"')
    import ray

    store = Store(str(tmp_path / "out"))
    units = begin(str(photos(3, width=32, height=32)[0].parent), store, JOB)
    run_local(units, store, JOB, Estimator(JOB))
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("a cluster was started"))
    summary, failed = run_ray(units, store, JOB, Cluster())
    assert (summary.images, summary.new, summary.idle, failed) == (3, 0, None, [])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"min_workers": 0}, "at least 1, and no more at least than at most"),
        ({"min_workers": 3, "max_workers": 2}, "at least 1, and no more at least than at most"),
        ({"cpus_per_worker": -1.0}, "slots per worker must be at least 0"),
        ({"gpus_per_worker": -0.5}, "slots per worker must be at least 0"),
    ],
)
def test_a_senseless_cluster_is_refused(values, message):
    with pytest.raises(OptionError, match=message):
        Cluster(**values)


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"lotus-geometry\[ray\]"):
        run_ray([], Store(str(tmp_path)), JOB, Cluster())
