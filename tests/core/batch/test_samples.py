import hashlib
import sys

import pytest

from lotus_core.batch.plan import Unit
from lotus_core.batch.samples import UnreadableImage, chunks_of, read_picture, require_webdataset, unit_name
from lotus_core.errors import ImageError, MissingExtraError

from .conftest import image_bytes, write_tar


def shard(path, size=8, number=0):
    return list(chunks_of(Unit(number, "tar", (str(path),)), size))


def failure(sample):
    with pytest.raises(UnreadableImage) as caught:
        read_picture(sample)
    return caught.value


# --- files


def test_a_unit_of_files_is_one_chunk_named_after_it():
    (chunk,) = chunks_of(Unit(7, "files", ("a.png", "b.png", "c.png")), 2)
    assert chunk.name == "00000007-0000"
    assert chunk.closes is None
    assert [sample.input for sample in chunk.samples] == ["a.png", "b.png", "c.png"]
    assert unit_name(Unit(123456789, "files", ())) == "123456789"


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("in/a.b.c.png", "00000-a_b_c"),
        ("s3://bucket/x y.jpg", "00000-x_y"),
        ("Ärger-日本.png", "00000-Ärger-日本"),
        (f"{'long' * 60}.png", "00000-" + "long" * 25),
    ],
)
def test_keys_are_unique_and_without_dots(path, key):
    """A dot would end the key of a WebDataset sample; equal names in two folders differ by their number."""
    (chunk,) = chunks_of(Unit(0, "files", (path, path)), 8)
    assert chunk.samples[0].key == key
    assert chunk.samples[1].key == key.replace("00000-", "00001-")


def test_a_picture_has_its_pixels_and_the_hash_of_its_file(tmp_path):
    data = image_bytes(level=51, width=30, height=20)
    (tmp_path / "a.png").write_bytes(data)
    (chunk,) = chunks_of(Unit(0, "files", (str(tmp_path / "a.png"),)), 8)
    picture = read_picture(chunk.samples[0])
    assert picture.pixels.shape == (1, 20, 30, 3)
    assert picture.pixels.unique().tolist() == pytest.approx([0.2])
    assert picture.hash == f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_a_missing_file_is_named_and_has_no_hash(tmp_path):
    (chunk,) = chunks_of(Unit(0, "files", (str(tmp_path / "no.png"),)), 8)
    error = failure(chunk.samples[0])
    assert isinstance(error.cause, ImageError)
    assert "there is no file" in str(error.cause)
    assert error.hash is None


def test_what_is_no_picture_keeps_its_hash(tmp_path):
    (tmp_path / "a.png").write_bytes(b"text")
    (chunk,) = chunks_of(Unit(0, "files", (str(tmp_path / "a.png"),)), 8)
    error = failure(chunk.samples[0])
    assert isinstance(error.cause, ImageError)
    assert error.hash == f"sha256:{hashlib.sha256(b'text').hexdigest()}"


def test_half_a_picture_is_refused(tmp_path):
    data = image_bytes(width=200, height=200, form="JPEG")
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2])
    (chunk,) = chunks_of(Unit(0, "files", (str(tmp_path / "a.jpg"),)), 8)
    assert isinstance(failure(chunk.samples[0]).cause, ImageError)


# --- shards


def test_a_shard_comes_in_chunks_of_which_the_last_closes_it(tmp_path):
    path = write_tar(tmp_path / "s.tar", {f"k{i}.png": image_bytes(10 * i) for i in range(5)})
    chunks = shard(path, size=2, number=3)
    assert [(c.name, len(c.samples), c.closes) for c in chunks] == [
        ("00000003-0000", 2, None),
        ("00000003-0001", 2, None),
        ("00000003-0002", 1, "00000003"),
    ]
    samples = [sample for chunk in chunks for sample in chunk.samples]
    assert [sample.input for sample in samples] == [f"{path}::k{i}" for i in range(5)]
    assert [sample.key for sample in samples] == [f"k{i}" for i in range(5)]
    levels = [round(float(read_picture(sample).pixels.mean()) * 255) for sample in samples]
    assert levels == [0, 10, 20, 30, 40]


def test_the_picture_of_a_sample_is_found_among_its_other_members(tmp_path):
    members = {"a.json": b"{}", "a.rgb.JPG": image_bytes(200, form="JPEG"), "a.txt": b"a caption"}
    ((chunk),) = shard(write_tar(tmp_path / "s.tar", members))
    assert float(read_picture(chunk.samples[0]).pixels.mean()) == pytest.approx(200 / 255, abs=0.01)


def test_a_sample_without_a_picture_says_what_it_holds(tmp_path):
    ((chunk),) = shard(write_tar(tmp_path / "s.tar", {"a.cls": b"1", "a.txt": b"x"}))
    assert "holds no image (found: cls, txt)" in str(failure(chunk.samples[0]).cause)


def test_a_key_never_leaves_its_folder_and_never_takes_anothers_name(tmp_path):
    members = {"../../up.png": image_bytes(1), "b.png": image_bytes(2), "x.png": b"", "b.jpg": image_bytes(3)}
    keys = [sample.key for chunk in shard(write_tar(tmp_path / "s.tar", members)) for sample in chunk.samples]
    assert keys == ["up", "b", "x", "b_2"]


def test_a_damaged_shard_gives_what_comes_before_the_damage_and_names_the_loss(tmp_path):
    data = image_bytes(7, 200, 200)
    path = write_tar(tmp_path / "s.tar", {f"k{i}.png": data for i in range(3)})
    member = 512 + -(-len(data) // 512) * 512  # header, and content in whole blocks
    path.write_bytes(path.read_bytes()[: member + 512 + len(data) // 2])
    samples = [sample for chunk in shard(path) for sample in chunk.samples]
    assert samples[0].key == "k0"
    assert read_picture(samples[0]).pixels.shape == (1, 200, 200, 3)
    assert samples[-1].key == "damaged"
    assert "missing, empty or damaged from here on" in str(failure(samples[-1]).cause)


@pytest.mark.parametrize("content", [None, b"", b"no archive at all" * 100])
def test_what_is_no_shard_is_one_failure(tmp_path, content):
    path = tmp_path / "s.tar"
    if content is not None:
        path.write_bytes(content)
    (chunk,) = shard(path)
    (sample,) = chunk.samples
    assert chunk.closes == "00000000"
    assert "copy or download it again" in str(failure(sample).cause)


def test_a_shards_name_is_never_run_as_a_command(tmp_path):
    """The package webdataset runs what follows "pipe:" in a name; here a name is only ever opened."""
    proof = tmp_path / "proof"
    name = f"pipe:touch {proof}"
    (chunk,) = shard(name)
    assert isinstance(failure(chunk.samples[0]).cause, ImageError)
    assert not proof.exists()


def test_shards_without_the_package_name_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "webdataset", None)
    with pytest.raises(MissingExtraError, match=r"lotus-geometry\[batch\]"):
        require_webdataset("webdataset")
