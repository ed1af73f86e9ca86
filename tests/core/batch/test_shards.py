import io
import json
import tarfile
import zipfile

import fsspec
import numpy as np
import pytest
import torch
from PIL import Image

from lotus_core.batch.shards import Encoded, encode_map, open_shard
from lotus_core.batch.storage import Store
from lotus_core.conventions import NormalConvention

from .conftest import job


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "out"))


def png(data):
    return np.asarray(Image.open(io.BytesIO(data)))


def at(store, output):
    """The bytes of a result, found as the manifest says."""
    inner, _, name = output.rpartition("::")
    url = f"{inner}::{store.url}/{name}" if inner else f"{store.url}/{name}"
    with fsspec.open(url, "rb") as file:
        return file.read()


# --- encoding


def test_npz_keeps_every_bit_of_the_values():
    values = torch.rand(7, 5, generator=torch.Generator().manual_seed(0))
    found = np.load(io.BytesIO(encode_map(values, "depth", job("npz"))))
    assert found.dtype == np.float32
    assert (found == values.numpy()).all()


def test_png_holds_65535_levels():
    values = torch.tensor([[0.0, 0.5, 1.0, -0.1, 1.5, 1 / 65535]])
    found = png(encode_map(values, "disparity", job("png16")))
    assert found.tolist() == [[0, 32768, 65535, 0, 65535, 1]]


def test_png_of_normals_is_painted_by_the_jobs_convention():
    facing = torch.tensor([0.0, 0.0, -1.0]).expand(2, 2, 3)
    lotus = encode_map(facing, "normal", job("png16"))
    opencv = encode_map(facing, "normal", job("png16", convention=NormalConvention.OPENCV))
    for data, blue in ((lotus, 255), (opencv, 0)):
        with Image.open(io.BytesIO(data)) as image:
            colours = np.asarray(image.convert("RGB"))[0, 0].tolist()
        assert colours == pytest.approx([128, 128, blue], abs=1)


def test_npz_of_normals_holds_vectors():
    vectors = torch.tensor([0.6, 0.0, -0.8]).expand(3, 4, 3)
    found = np.load(io.BytesIO(encode_map(vectors, "normal", job("npz"))))
    assert found.shape == (3, 4, 3)
    assert found[0, 0].tolist() == pytest.approx([0.6, 0.0, -0.8])


# --- shards


@pytest.mark.parametrize("form", ["npz", "png16", "webdataset"])
def test_results_are_found_where_the_manifest_says(store, form):
    values = torch.rand(6, 4, generator=torch.Generator().manual_seed(1))
    data = encode_map(values, "depth", job(form))
    with open_shard(store, "00000000-0000", form, "depth") as writer:
        places = [writer.add(key, Encoded(data, {"input": "x"})) for key in ("00000-a", "sub/b")]
    assert [at(store, place) for place in places] == [data, data]


@pytest.mark.parametrize("form", ["npz", "webdataset"])
def test_an_archive_appears_when_it_is_complete_or_not_at_all(store, form):
    seen = []

    def fail():
        with open_shard(store, "c", form, "depth") as writer:
            writer.add("a", Encoded(b"x"))
            seen.append(store.names("shards"))
            raise KeyError("a")

    with pytest.raises(KeyError):
        fail()
    assert seen == [set()]
    assert store.names("shards") == set()


@pytest.mark.parametrize("form", ["npz", "webdataset"])
def test_equal_results_make_equal_files(store, form):
    for chunk in ("one", "two"):
        with open_shard(store, chunk, form, "depth") as writer:
            writer.add("a", Encoded(b"x", {"b": 1, "a": 2}))
    suffix = "npz" if form == "npz" else "tar"
    assert store.read(f"shards/one.{suffix}") == store.read(f"shards/two.{suffix}")


def test_npz_is_read_by_numpy_by_key(store):
    data = encode_map(torch.full((2, 2), 0.25), "depth", job("npz"))
    with open_shard(store, "c", "npz", "depth") as writer:
        writer.add("00000-a", Encoded(data))
    with np.load(io.BytesIO(store.read("shards/c.npz"))) as archive:
        assert archive["00000-a"].tolist() == [[0.25, 0.25], [0.25, 0.25]]
    assert zipfile.ZipFile(io.BytesIO(store.read("shards/c.npz"))).testzip() is None


def test_a_webdataset_shard_holds_map_and_notes_of_every_sample(store):
    with open_shard(store, "c", "webdataset", "normal") as writer:
        writer.add("k", Encoded(b"png", {"input": "in/a.png", "hash": "sha256:1"}))
    with tarfile.open(fileobj=io.BytesIO(store.read("shards/c.tar"))) as archive:
        assert sorted(archive.getnames()) == ["k.json", "k.normal.png"]
        assert json.load(archive.extractfile("k.json")) == {"input": "in/a.png", "hash": "sha256:1"}
        assert archive.extractfile("k.normal.png").read() == b"png"


def test_a_written_shard_is_read_by_webdataset_itself(store):
    tariterators = pytest.importorskip("webdataset.tariterators")
    with open_shard(store, "c", "webdataset", "depth") as writer:
        for key in ("a", "b"):
            writer.add(key, Encoded(key.encode(), {"input": key}))
    stream = io.BytesIO(store.read("shards/c.tar"))
    source = iter([{"url": "c", "stream": stream}])
    samples = list(tariterators.group_by_keys(tariterators.tar_file_expander(source)))
    assert [(s["__key__"], s["depth.png"]) for s in samples] == [("a", b"a"), ("b", b"b")]
