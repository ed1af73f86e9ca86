import json

import pytest

from lotus_core.batch.job import Job, has_job, open_job
from lotus_core.batch.plan import Unit
from lotus_core.batch.storage import Store
from lotus_core.conventions import NormalConvention
from lotus_core.errors import OptionError
from lotus_core.inference.options import InferenceOptions

UNITS = [Unit(0, "files", ("a.png", "b.png")), Unit(1, "files", ("c.png",))]


def job(**changes):
    values = {"options": InferenceOptions(resolution=64, seed=3), "loading": {"device": "cpu"}}
    return Job("lotus", **{**values, **changes})


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "out"))


def test_a_job_survives_json():
    given = job(task="normal", format="png16", convention=NormalConvention.OPENGL, chunk=9)
    assert Job.from_json(json.loads(json.dumps(given.to_json()))) == given


def test_a_new_job_is_written_with_its_plan(store):
    assert not has_job(store)
    assert open_job(store, job(), UNITS, "in") == UNITS
    assert has_job(store)
    told = json.loads(store.read("job.json"))
    assert (told["input"], told["model"], told["options"]["seed"]) == ("in", "lotus", 3)


def test_a_job_goes_on_with_its_own_plan_whatever_is_planned_now(store):
    open_job(store, job(), UNITS, "in")
    assert open_job(store, job(), [Unit(0, "files", ("other.png",))], "in") == UNITS
    assert open_job(store, job(), None, "in") == UNITS


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "other"},
        {"task": "normal"},
        {"format": "webdataset"},
        {"chunk": 8},
        {"options": InferenceOptions(resolution=64, seed=4)},
        {"loading": {"device": "cpu", "precision": "fp16"}},
    ],
)
def test_another_job_is_not_mixed_in(store, changes):
    open_job(store, job(), UNITS, "in")
    other = Job(**{"model": "lotus", **vars(job()), **changes})
    with pytest.raises(OptionError, match="a folder without another job: its input, model or options differ"):
        open_job(store, other, UNITS, "in")


def test_another_input_is_not_mixed_in(store):
    open_job(store, job(), UNITS, "in")
    with pytest.raises(OptionError):
        open_job(store, job(), UNITS, "elsewhere")


def test_another_device_goes_on(store):
    open_job(store, job(), UNITS, "in")
    assert open_job(store, job(loading={"device": "cuda:1"}), None, "in") == UNITS


def test_a_folder_without_a_job_has_nothing_to_go_on_with(store):
    with pytest.raises(OptionError, match="a folder with a job to go on with"):
        open_job(store, job(), None, "in")


def test_a_job_that_was_killed_before_its_plan_is_planned_again(store):
    open_job(store, job(), UNITS, "in")
    (store_path := store.url + "/plan.jsonl")
    from pathlib import Path

    Path(store_path).unlink()
    assert not has_job(store)
    assert open_job(store, job(), UNITS[:1], "in") == UNITS[:1]
