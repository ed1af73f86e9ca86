import json

import pytest

from lotus_core.batch.manifest import Progress
from lotus_core.batch.run import Summary, begin, run_local
from lotus_core.batch.storage import Store
from lotus_core.errors import ImageError, OptionError

from .conftest import estimator, image_bytes, job, write_tar


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "out"))


def manifest(store):
    return [json.loads(line) for line in store.read("manifest.jsonl").splitlines()]


def test_a_whole_job_leaves_a_manifest_and_a_summary(store, photos):
    folder = str(photos(10)[0].parent)
    told = []
    summary, failed = run_local(begin(folder, store, job()), store, job(), estimator(), on_chunk=told.append)
    assert (summary.images, summary.failed, summary.new, failed) == (10, 0, 10, [])
    assert (summary.engine, summary.workers) == ("local", 1)
    assert 0.0 <= summary.idle <= 1.0
    assert sum(chunk.done for chunk in told) == 10
    assert len(manifest(store)) == 10
    assert json.loads(store.read("summary.json"))["images"] == 10
    assert store.names("") == {
        "job.json",
        "plan.jsonl",
        "manifest",
        "manifest.jsonl",
        "shards",
        "summary.json",
    }


def test_images_per_second_are_those_of_this_run():
    assert Summary(100, 0, 20, 4.0, 0.1, "local", 1).images_per_second == 5.0
    assert Summary(100, 0, 0, 0.0, None, "ray", 2).images_per_second == 0.0


def test_a_summary_as_json_tells_every_field_and_the_rate_to_a_thousandth():
    """20 images in 3 seconds are 6.667 a second."""
    assert Summary(100, 2, 20, 3.0, None, "ray", 2).to_json() == {
        "images": 100,
        "failed": 2,
        "new": 20,
        "seconds": 3.0,
        "idle": None,
        "engine": "ray",
        "workers": 2,
        "images_per_second": 6.667,
    }


def test_a_second_run_has_nothing_to_do_and_the_same_manifest(store, photos):
    folder = str(photos(6)[0].parent)
    run_local(begin(folder, store, job()), store, job(), estimator())
    before = store.read("manifest.jsonl")
    summary, _ = run_local(begin(folder, store, job()), store, job(), estimator())
    assert (summary.new, summary.images) == (0, 6)
    assert store.read("manifest.jsonl") == before


def test_images_that_come_later_are_not_slipped_into_a_begun_job(store, photos):
    paths = photos(4)
    units = begin(str(paths[0].parent), store, job())
    (paths[0].parent / "a_new.png").write_bytes(image_bytes())
    assert begin(str(paths[0].parent), store, job()) == units


def test_failures_are_listed_and_stop_nothing(store, photos):
    paths = photos(6)
    paths[2].write_bytes(b"")
    summary, failed = run_local(begin(str(paths[0].parent), store, job()), store, job(), estimator())
    assert (summary.images, summary.failed) == (6, 1)
    assert [row["input"] for row in failed] == [str(paths[2])]


def test_what_a_killed_run_left_half_written_is_swept_away(store, photos, tmp_path):
    folder = str(photos(4)[0].parent)
    units = begin(folder, store, job())
    left = tmp_path / "out" / "shards" / ".00000000-0000-0a1b2c3d.npz"
    left.parent.mkdir()
    left.write_bytes(b"half")
    run_local(units, store, job(), estimator())
    assert not left.exists()


def test_a_chunk_whose_results_came_but_whose_manifest_did_not_is_done_again(store, photos, tmp_path):
    """Killed between the two renames: the shard is there, its part of the manifest is not."""
    folder = str(photos(8)[0].parent)
    run_local(begin(folder, store, job()), store, job(), estimator())
    before = [(row["input"], row["hash"], row["output"]) for row in manifest(store)]
    (tmp_path / "out" / "manifest" / "00000001-0000.jsonl").unlink()
    summary, _ = run_local(begin(folder, store, job()), store, job(), estimator())
    assert summary.new == 4
    assert [(row["input"], row["hash"], row["output"]) for row in manifest(store)] == before


def test_nothing_to_work_on_is_refused_before_anything_is_written(store, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="no image and no shard"):
        begin(str(tmp_path / "empty"), store, job())
    assert not store.exists("job.json")


def test_another_job_in_the_folder_is_refused(store, photos):
    folder = str(photos(2)[0].parent)
    begin(folder, store, job())
    with pytest.raises(OptionError, match="a folder without another job"):
        begin(folder, store, job(chunk=8))


@pytest.mark.parametrize("form", ["npz", "png16", "webdataset"])
def test_any_input_goes_to_any_output_on_any_store(form, tmp_path):
    import fsspec

    shard = write_tar(tmp_path / "s.tar", {f"k{i}.png": image_bytes(i) for i in range(5)})
    memory = Store(f"memory://{tmp_path.name}")
    given = job(form, chunk=2)
    try:
        summary, _ = run_local(begin(str(shard), memory, given), memory, given, estimator(given))
        assert (summary.images, summary.failed) == (5, 0)
        assert len(Progress.of(memory).chunks) == 3
        for row in manifest(memory):
            inner, _, name = row["output"].rpartition("::")
            with fsspec.open(
                f"{inner}::{memory.url}/{name}" if inner else f"{memory.url}/{name}", "rb"
            ) as file:
                assert file.read(6) in (b"\x93NUMPY", b"\x89PNG\r\n")
    finally:
        fsspec.filesystem("memory").rm("/", recursive=True)
