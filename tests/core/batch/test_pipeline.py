import threading
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch

from lotus_core.batch.committer import ChunkDone
from lotus_core.batch.estimator import Estimator
from lotus_core.batch.manifest import Progress, rows_of
from lotus_core.batch.pipeline import Pipeline, Usage, Workers
from lotus_core.batch.plan import plan_units
from lotus_core.batch.samples import read_picture
from lotus_core.batch.storage import Store
from lotus_core.errors import NoSpaceError
from tests.core.inference.models import passing_model

from .conftest import estimator, image_bytes, job, write_tar


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "out"))


def batches(model):
    """How many images the model got at once, as a list that fills."""
    return model.unet.batches


def rows(store):
    return [row for chunk in sorted(Progress.of(store).chunks) for row in rows_of(store, chunk)]


def values(store, row):
    inner, _, name = row["output"].rpartition("::")
    with np.load(Path(store.url) / name) as archive:
        return archive[inner.removeprefix("zip://").removesuffix(".npy")]


def test_every_image_gets_its_own_result_in_order(store, photos):
    paths = photos(11)
    done = list(Pipeline(job(), store, estimator()).run(plan_units(str(paths[0].parent), 4)))
    assert done == [
        ChunkDone("00000000-0000", 4, 0),
        ChunkDone("00000001-0000", 4, 0),
        ChunkDone("00000002-0000", 3, 0),
    ]
    found = rows(store)
    assert [row["input"] for row in found] == [str(path) for path in paths]
    for index, row in enumerate(found):
        assert values(store, row) == pytest.approx((10 + index) / 255, abs=1e-6)


def test_rows_hold_the_facts_of_their_image(store, photos):
    (path,) = photos(1, width=40, height=24)
    list(Pipeline(job(), store, estimator()).run(plan_units(str(path), 4)))
    (row,) = rows(store)
    assert (row["width"], row["height"], row["kind"], row["model"]) == (40, 24, "disparity", "test")
    assert row["chunk"] == "00000000-0000"
    assert row["hash"].startswith("sha256:")
    assert row["ms"] > 0
    assert row["error"] is None
    assert row["options"]["resolution"] == 0


def test_images_of_one_size_share_a_call_and_others_do_not(tmp_path, store):
    for index, width in enumerate((24, 24, 24, 40, 40, 24)):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{index}.png").write_bytes(image_bytes(10 * index, width=width))
    model = passing_model("d", "depth")
    list(Pipeline(job(), store, Estimator(job(), model)).run(plan_units(str(tmp_path / "in"), 100)))
    assert batches(model) == [3, 2, 1]
    assert [row["width"] for row in rows(store)] == [24, 24, 24, 40, 40, 24]


def test_images_of_two_chunks_share_no_call(store, photos):
    model = passing_model("d", "depth")
    pipeline = Pipeline(job(), store, Estimator(job(), model))
    list(pipeline.run(plan_units(str(photos(4)[0].parent), 2)))
    assert batches(model) == [2, 2]


def test_what_cannot_be_read_fails_alone(store, photos):
    paths = photos(5)
    paths[1].write_bytes(b"text")
    paths[3].unlink()
    listing = paths[0].parent / "set.txt"
    listing.write_text("\n".join(str(path) for path in paths))
    (done,) = Pipeline(job(), store, estimator()).run(plan_units(str(listing), 8))
    assert (done.done, done.failed) == (3, 2)
    found = rows(store)
    assert [row["error"] is None for row in found] == [True, False, True, False, True]
    assert [row["output"] is None for row in found] == [False, True, False, True, False]
    assert found[1]["hash"] is not None
    assert found[3]["hash"] is None
    assert "there is no file" in found[3]["error"]["message"]


def test_what_the_model_refuses_fails_alone(store, photos, tmp_path):
    paths = photos(2)
    (paths[0].parent / "small.png").write_bytes(image_bytes(width=4, height=4))
    (done,) = Pipeline(job(), store, estimator()).run(plan_units(str(paths[0].parent), 8))
    assert (done.done, done.failed) == (2, 1)
    assert "at least 16 pixels" in rows(store)[2]["error"]["message"]


def test_shards_in_and_out(tmp_path, store):
    shards = [
        write_tar(tmp_path / f"s-{n}.tar", {f"k{i}.png": image_bytes(40 * n + i) for i in range(3)})
        for n in range(2)
    ]
    form = job("webdataset", chunk=2)
    done = list(Pipeline(form, store, estimator(form)).run(plan_units(str(tmp_path / "s-{0..1}.tar"), 2)))
    assert [chunk.name for chunk in done] == [f"0000000{n}-000{part}" for n in range(2) for part in range(2)]
    assert Progress.of(store).units == {"00000000", "00000001"}
    assert [row["input"] for row in rows(store)] == [f"{path}::k{i}" for path in shards for i in range(3)]
    assert rows(store)[0]["output"] == "tar://k0.disparity.png::shards/00000000-0000.tar"


def test_done_chunks_and_shards_are_passed_over(tmp_path, store, photos):
    model = passing_model("d", "depth")
    write_tar(tmp_path / "in" / "s.tar", {f"k{i}.png": image_bytes(i) for i in range(5)})
    listing = tmp_path / "in" / "set.txt"
    listing.write_text("\n".join([str(path) for path in photos(5)] + ["s.tar"]))
    units = plan_units(str(listing), 4)
    list(Pipeline(job(), store, Estimator(job(), model)).run(units))
    (Path(store.url) / "manifest" / "00000002-0001.jsonl").unlink()  # the shard's last image
    (Path(store.url) / "manifest" / "00000002.done").unlink()
    model.unet.batches.clear()
    assert list(Pipeline(job(), store, Estimator(job(), model)).run(units)) == [
        ChunkDone("00000002-0001", 1, 0)
    ]
    assert batches(model) == [1]
    (tmp_path / "in" / "s.tar").unlink()  # a finished shard is not even opened
    assert list(Pipeline(job(), store, Estimator(job(), model)).run(units)) == []


def test_a_shard_whose_end_was_not_noted_is_noted_when_it_is_met_again(tmp_path, store):
    units = plan_units(str(write_tar(tmp_path / "s.tar", {"a.png": image_bytes()})), 4)
    list(Pipeline(job(), store, estimator()).run(units))
    mark = Path(store.url) / "manifest" / "00000000.done"
    mark.unlink()
    assert list(Pipeline(job(), store, estimator()).run(units)) == []
    assert mark.exists()


def test_a_full_disk_stops_it_with_the_earlier_chunks_whole(store, photos, file_size_limit):
    units = plan_units(str(photos(16)[0].parent), 4)
    model, limit, seen = passing_model("d", "depth"), ExitStack(), []
    encode = model.vae.encode

    def filling(rgb):
        """The disk is full before the last picture is painted, and after the first chunk is committed."""
        seen.extend(rgb)
        if len(seen) == 16:
            deadline = time.monotonic() + 30
            while "00000000-0000" not in Progress.of(store).chunks:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            limit.enter_context(file_size_limit(500))
        return encode(rgb)

    model.vae.encode = filling
    with limit, pytest.raises(NoSpaceError):
        list(Pipeline(job(), store, Estimator(job(), model)).run(units))
    done = Progress.of(store).chunks
    assert "00000003-0000" not in done
    again = [chunk.name for chunk in Pipeline(job(), store, estimator()).run(units)]
    assert {*done, *again} == {f"{k:08}-0000" for k in range(4)}
    assert [row["error"] for row in rows(store)] == [None] * 16


def test_no_thread_is_left_behind(store, photos):
    running = Pipeline(job(), store, estimator()).run(plan_units(str(photos(20)[0].parent), 4))
    next(running)
    running.close()
    deadline = time.monotonic() + 5
    while any(t.name.startswith("lotus-") for t in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not [t.name for t in threading.enumerate() if t.name.startswith("lotus-")]


def test_decoding_runs_while_the_model_does(store, photos, monkeypatch):
    """The model waits for a later image to be decoded: it would wait for ever if nothing ran beside it."""
    paths = photos(12, width=24)
    opened = threading.Event()
    model = passing_model("d", "depth")
    encode = model.vae.encode
    last = torch.tensor((10 + 11) / 255)

    def waiting(rgb):
        assert opened.wait(30)
        return encode(rgb)

    model.vae.encode = waiting
    pipeline = Pipeline(job(), store, Estimator(job(), model), Workers(decoders=2, encoders=1, ahead=12))

    def noticing(sample):
        picture = read_picture(sample)
        if torch.isclose(picture.pixels.mean(), last):
            opened.set()
        return picture

    monkeypatch.setattr("lotus_core.batch.pipeline.read_picture", noticing)
    done = list(pipeline.run(plan_units(str(paths[0].parent), 12)))
    assert done == [ChunkDone("00000000-0000", 12, 0)]
    assert pipeline.usage.images == 12


def test_idle_is_the_share_of_the_time_spent_waiting():
    assert Usage(busy=3.0, waiting=1.0).idle == 0.25
    assert Usage().idle == 0.0
