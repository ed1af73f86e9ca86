"""What Ray is asked for, seen by a stand-in of Ray Data; the real one runs in test_ray_engine.py."""

import os

import pytest

from lotus_core.batch import ray_engine
from lotus_core.batch.manifest import Progress, commit, finish_unit
from lotus_core.batch.plan import Unit
from lotus_core.batch.ray_engine import Cluster, UnitWorker, run_ray
from lotus_core.batch.run import begin
from lotus_core.batch.storage import Store
from lotus_core.errors import StorageError

from .conftest import job


class Recorder:
    """Stands in for ray and ray.data: notes every call, and gives back the rows that it was told."""

    def __init__(self, rows=(), running=False):
        self.rows, self.running = list(rows), running
        self.calls = {}
        self.DataContext = self
        self.enable_progress_bars = True

    def is_initialized(self):
        return self.running

    def init(self, **values):
        self.calls["init"] = values

    def shutdown(self):
        self.calls["shutdown"] = True

    def get_current(self):
        return self

    def ActorPoolStrategy(self, **values):  # noqa: N802 (Ray's name)
        self.calls["pool"] = values
        return "pool"

    def from_items(self, rows, **values):
        self.calls["items"] = (rows, values)
        return self

    def map_batches(self, worker, **values):
        self.calls["map"] = (worker, values)
        return self

    def iter_rows(self):
        yield from self.rows


@pytest.fixture
def ask(monkeypatch, tmp_path, photos):
    """Return a function that runs a job of twelve images, in three units, on a stand-in, and returns it."""

    def run(cluster, rows=(), running=False, done=()):
        stand_in = Recorder(rows, running)
        monkeypatch.setattr(ray_engine, "_require_ray", lambda: (stand_in, stand_in))
        store = Store(str(tmp_path / "out"))
        units = begin(str(photos(12)[0].parent), store, job())
        for chunk in done:
            commit(store, chunk, [])
        run_ray(units, store, job(), cluster)
        return stand_in

    return run


def row(chunk, done=4, failed=0, stopped=""):
    return {"chunk": chunk, "done": done, "failed": failed, "stopped": stopped}


def test_every_unit_is_a_row_and_a_block_of_its_own(ask):
    rows, values = ask(Cluster()).calls["items"]
    assert [Unit.from_json(r["unit"]).number for r in rows] == [0, 1, 2]
    assert values == {"override_num_blocks": 3}


def test_a_plan_of_many_units_has_blocks_that_ray_can_handle(monkeypatch):
    stand_in = Recorder()
    units = [Unit(number, "tar", (f"{number}.tar",)) for number in range(50_000)]
    ray_engine._dataset(stand_in, units, Store("memory://out"), job(), Cluster())
    rows, values = stand_in.calls["items"]
    assert len(rows) == 50_000
    assert values["override_num_blocks"] == 20_000


def test_actors_take_one_unit_at_a_time_and_load_the_job_themselves(ask):
    worker, values = ask(Cluster(min_workers=2, max_workers=5, cpus_per_worker=3.0)).calls["map"]
    assert worker is UnitWorker
    assert values["batch_size"] == 1
    assert values["num_cpus"] == 3.0
    assert "num_gpus" not in values
    arguments = values["fn_constructor_kwargs"]
    assert arguments["job"] == job().to_json()
    assert arguments["url"].endswith("/out")
    assert arguments["decoders"] == 3


def test_the_pool_scales_within_its_bounds(ask):
    assert ask(Cluster(min_workers=2, max_workers=5)).calls["pool"] == {"min_size": 2, "max_size": 5}


def test_a_share_of_a_gpu_may_be_asked_for(ask):
    assert ask(Cluster(gpus_per_worker=0.5)).calls["map"][1]["num_gpus"] == 0.5


def test_less_than_one_cpu_still_decodes(ask):
    values = ask(Cluster(cpus_per_worker=0.25)).calls["map"][1]
    assert values["fn_constructor_kwargs"]["decoders"] == 1


def test_a_cluster_of_this_machine_has_a_slot_beside_those_of_the_actors(ask):
    """Ray Data's own tasks need one: without it they would wait for ever for an actor to end."""
    given = ask(Cluster(max_workers=3, cpus_per_worker=1.5)).calls["init"]
    assert given["address"] is None
    assert given["num_cpus"] == 6  # 4.5, whole, and one
    assert given["include_dashboard"] is False


def test_a_cluster_elsewhere_is_taken_as_it_is(ask):
    given = ask(Cluster(address="ray://host:10001", env={"HF_HUB_OFFLINE": "1"})).calls["init"]
    assert given == {
        "address": "ray://host:10001",
        "log_to_driver": False,
        "runtime_env": {"env_vars": {"HF_HUB_OFFLINE": "1"}},
    }


def test_a_cluster_that_was_started_is_stopped_and_a_running_one_is_left(ask):
    assert ask(Cluster()).calls["shutdown"]
    again = ask(Cluster(), running=True)
    assert "shutdown" not in again.calls
    assert "init" not in again.calls


def test_ray_is_told_to_report_nothing_unless_its_user_says_otherwise(ask, monkeypatch):
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    ask(Cluster())
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    ask(Cluster())
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "1"


def test_committed_units_are_not_sent_again(ask):
    rows, _ = ask(Cluster(), done=["00000001-0000"]).calls["items"]
    assert [Unit.from_json(r["unit"]).number for r in rows] == [0, 2]


def test_a_shard_is_sent_until_its_end_was_noted(tmp_path):
    """Some of a shard's chunks being there does not say that it was read to its end."""
    store = Store(str(tmp_path))
    units = [Unit(0, "tar", ("a.tar",)), Unit(1, "tar", ("b.tar",)), Unit(2, "files", ("c.png",))]
    commit(store, "00000000-0000", [])
    commit(store, "00000001-0000", [])
    finish_unit(store, "00000001")
    assert ray_engine._left(units, Progress.of(store)) == [units[0], units[2]]


def test_a_storage_error_of_a_worker_stops_the_job_and_the_cluster(ask, monkeypatch):
    stopped = []
    monkeypatch.setattr(Recorder, "shutdown", lambda self: stopped.append(True))
    with pytest.raises(StorageError, match="a worker stopped: the folder is gone"):
        ask(Cluster(), rows=[row("00000000-0000"), row("StorageError", 0, 0, "the folder is gone.")])
    assert stopped == [True]


def test_chunks_are_told_as_they_come_and_empty_rows_are_not(monkeypatch, tmp_path, photos):
    stand_in = Recorder([row("00000000-0000", 3, 1), row("", 0), row("00000002-0000", 4)])
    monkeypatch.setattr(ray_engine, "_require_ray", lambda: (stand_in, stand_in))
    store = Store(str(tmp_path / "out"))
    told = []
    units = begin(str(photos(12)[0].parent), store, job())
    summary, _ = run_ray(units, store, job(), Cluster(max_workers=2), on_chunk=told.append)
    assert [(chunk.name, chunk.done, chunk.failed) for chunk in told] == [
        ("00000000-0000", 3, 1),
        ("00000002-0000", 4, 0),
    ]
    assert (summary.new, summary.workers) == (8, 2)
