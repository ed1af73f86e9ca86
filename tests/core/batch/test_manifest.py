import json

import pytest

from lotus_core.batch.manifest import Progress, Row, commit, describe, finish_unit, merge, rows_of
from lotus_core.batch.storage import Store
from lotus_core.errors import ImageError


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path))


def row(key="a", error=None, chunk="00000000-0000"):
    return Row(
        f"in/{key}.png",
        key,
        chunk,
        "sha256:0",
        24,
        16,
        f"shards/{key}",
        "depth",
        "m",
        {"seed": 0},
        1.5,
        error,
    )


def test_a_committed_chunk_is_done(store):
    assert Progress.of(store) == Progress(frozenset(), frozenset())
    commit(store, "00000000-0000", [row("a"), row("b")])
    assert Progress.of(store).chunks == {"00000000-0000"}
    assert [r["key"] for r in rows_of(store, "00000000-0000")] == ["a", "b"]


def test_a_finished_shard_is_done(store):
    finish_unit(store, "00000003")
    assert Progress.of(store).units == {"00000003"}


def test_rows_hold_all_that_is_known(store):
    commit(store, "c", [row("a", error={"type": "ImageError", "message": "empty"})])
    (told,) = rows_of(store, "c")
    assert set(told) == {
        "input", "key", "chunk", "hash", "width", "height", "output", "kind", "model", "options", "ms", "error",
    }  # fmt: skip
    assert told["error"] == {"type": "ImageError", "message": "empty"}


def test_committing_again_replaces(store):
    commit(store, "c", [row("a"), row("b")])
    commit(store, "c", [row("x")])
    assert [r["key"] for r in rows_of(store, "c")] == ["x"]


def test_parts_are_merged_in_the_order_of_the_plan(store):
    for chunk in ("00000010-0000", "00000002-0001", "00000002-0000"):
        commit(store, chunk, [row(chunk, chunk=chunk)])
    count, failed = merge(store)
    keys = [json.loads(line)["key"] for line in store.read("manifest.jsonl").splitlines()]
    assert keys == ["00000002-0000", "00000002-0001", "00000010-0000"]
    assert (count, failed) == (3, [])


def test_merging_finds_what_failed(store):
    commit(store, "a", [row("a"), row("b", error={"type": "ImageError", "message": "no"})])
    count, failed = merge(store)
    assert count == 2
    assert [r["key"] for r in failed] == ["b"]


def test_merging_nothing_is_an_empty_manifest(store):
    assert merge(store) == (0, [])
    assert store.read("manifest.jsonl") == b""


def test_our_errors_speak_for_themselves_and_others_are_unexpected():
    assert describe(ImageError("too small")) == {"type": "ImageError", "message": "too small."}
    assert describe(KeyError("x")) == {"type": "KeyError", "message": "unexpected KeyError: 'x'"}


def test_names_are_kept_in_any_script(store):
    commit(store, "c", [row("Ärger-日本")])
    assert next(rows_of(store, "c"))["key"] == "Ärger-日本"
