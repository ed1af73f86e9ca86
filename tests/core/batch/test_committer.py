import json
from concurrent.futures import Future

import pytest

from lotus_core.batch.committer import ChunkDone, Committer, Finished
from lotus_core.batch.manifest import Progress, Row, rows_of
from lotus_core.batch.samples import Chunk, Sample
from lotus_core.batch.storage import Store
from lotus_core.errors import NoSpaceError


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "out"))


def chunk(name="00000000-0000", count=2, closes=None):
    return Chunk(name, tuple(Sample(f"{i}.png", f"k{i}", bytes) for i in range(count)), closes)


def row(key="k0", error=None):
    return Row(f"{key}.png", key, "c", "sha256:0", 8, 8, None, "depth", "m", {}, 1.0, error)


def result(value):
    future = Future()
    if isinstance(value, Exception):
        future.set_exception(value)
    else:
        future.set_result(value)
    return future


def test_a_chunk_is_committed_with_its_last_image(store):
    whole = chunk(count=2)
    with Committer(store, "png16", "depth") as committer:
        committer.add(Finished(whole, row("k0"), result(b"a")))
        assert Progress.of(store).chunks == set()
        committer.add(Finished(whole, row("k1"), result(b"b")))
        assert Progress.of(store).chunks == {whole.name}
        assert committer.done.get_nowait() == ChunkDone(whole.name, 2, 0)
    assert store.read("shards/00000000-0000/k1.png") == b"b"
    assert [r["output"] for r in rows_of(store, whole.name)] == [
        "shards/00000000-0000/k0.png",
        "shards/00000000-0000/k1.png",
    ]


def test_an_image_without_a_result_has_a_row_and_no_output(store):
    whole = chunk(count=2)
    with Committer(store, "npz", "depth") as committer:
        committer.add(Finished(whole, row("k0", {"type": "ImageError", "message": "no"}), None))
        committer.add(Finished(whole, row("k1"), result(b"b")))
        assert committer.done.get_nowait() == ChunkDone(whole.name, 1, 1)
    first, second = rows_of(store, whole.name)
    assert (first["output"], first["error"]["message"]) == (None, "no")
    assert second["output"] == "zip://k1.npy::shards/00000000-0000.npz"


def test_a_result_that_cannot_be_encoded_is_that_images_failure(store):
    with Committer(store, "npz", "depth") as committer:
        committer.add(Finished(chunk(count=1), row(), result(ValueError("odd"))))
    (told,) = rows_of(store, "00000000-0000")
    assert told["error"] == {"type": "ValueError", "message": "unexpected ValueError: odd"}
    assert told["output"] is None


def test_a_chunk_that_was_not_finished_leaves_nothing(store):
    with Committer(store, "webdataset", "depth") as committer:
        committer.add(Finished(chunk(count=2), row("k0"), result(b"a")))
    assert store.names("shards") == set()
    assert Progress.of(store) == Progress(frozenset(), frozenset())


def test_the_last_chunk_of_a_shard_finishes_its_unit(store):
    with Committer(store, "npz", "depth") as committer:
        committer.add(Finished(chunk("00000004-0000", 1), row(), result(b"a")))
        assert Progress.of(store).units == set()
        committer.add(Finished(chunk("00000004-0001", 1, closes="00000004"), row(), result(b"a")))
        assert Progress.of(store).units == {"00000004"}


@pytest.mark.parametrize("form", ["npz", "png16", "webdataset"])
def test_a_full_disk_stops_it_and_leaves_the_chunk_undone(store, form, file_size_limit):

    def write():
        with Committer(store, form, "depth") as committer:
            for key in ("k0", "k1"):
                committer.add(Finished(whole, row(key), result(bytes(100_000))))

    whole = chunk(count=2)
    with file_size_limit(1000), pytest.raises(NoSpaceError, match="the disk is full"):
        write()
    assert Progress.of(store).chunks == set()


def test_notes_of_a_webdataset_sample_say_where_it_comes_from(store):
    import io
    import tarfile

    with Committer(store, "webdataset", "depth") as committer:
        committer.add(Finished(chunk(count=1), row(), result(b"a")))
    with tarfile.open(fileobj=io.BytesIO(store.read("shards/00000000-0000.tar"))) as archive:
        told = json.load(archive.extractfile("k0.json"))
    assert told == {"input": "k0.png", "hash": "sha256:0", "kind": "depth", "model": "m"}
