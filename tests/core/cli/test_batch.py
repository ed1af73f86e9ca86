import json

import numpy as np
import pytest

from lotus_core.batch.manifest import Progress
from lotus_core.batch.storage import Store
from lotus_core.cli.exit_codes import BAD_USAGE, DONE, SOME_FAILED

pytestmark = pytest.mark.usefixtures("known_models")


@pytest.fixture
def photos(grey_photo):
    """Return a function that writes photographs of one grey each, and returns their folder."""

    def write(count):
        paths = [grey_photo(f"p{index:03d}.png", level=10 + index) for index in range(count)]
        return paths[0].parent

    return write


def rows(folder):
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


OPTIONS = ("--model", "disparity-d", "--resolution", 0, "--chunk", 4)


def test_a_folder_becomes_shards_and_a_manifest(lotus, photos, tmp_path):
    ran = lotus("batch", photos(10), tmp_path / "out", *OPTIONS)
    assert ran.code == DONE
    assert "10 images in the manifest, 0 of them failed; 10 now" in ran.out
    assert "the model idle" in ran.out
    found = rows(tmp_path / "out")
    assert [row["key"] for row in found] == [f"{i % 4:05d}-p{i:03d}" for i in range(10)]
    with np.load(tmp_path / "out" / "shards" / "00000001-0000.npz") as archive:
        assert archive["00002-p006"] == pytest.approx(16 / 255, abs=1e-6)


def test_it_can_tell_as_json(lotus, photos, tmp_path):
    told = lotus("batch", photos(3), tmp_path / "out", "--json", *OPTIONS).document
    assert told["summary"]["images"] == 3
    assert told["job"]["options"]["resolution"] == 0
    assert told["output"] == str(tmp_path / "out")


def test_failures_are_listed_and_counted_in_the_exit_code(lotus, photos, tmp_path):
    folder = photos(5)
    (folder / "p001.png").write_bytes(b"text")
    ran = lotus("batch", folder, tmp_path / "out", *OPTIONS)
    assert ran.code == SOME_FAILED
    assert f"failed: {folder / 'p001.png'}: " in ran.err
    assert "5 images in the manifest, 1 of them failed" in ran.out


def test_the_same_command_goes_on_and_another_is_refused(lotus, photos, tmp_path):
    folder = photos(5)
    lotus("batch", folder, tmp_path / "out", *OPTIONS)
    again = lotus("batch", folder, tmp_path / "out", *OPTIONS)
    assert again.code == DONE
    assert "5 images in the manifest, 0 of them failed; 0 now" in again.out
    other = lotus("batch", folder, tmp_path / "out", *OPTIONS, "--seed", 3)
    assert other.code == BAD_USAGE
    assert "a folder without another job" in other.err


def test_normals_as_16_bit_files(lotus, photos, tmp_path):
    words = ("--task", "normal", "--model", "normal-d", "--format", "png16", "--resolution", 0)
    ran = lotus("batch", photos(2), tmp_path / "out", *words)
    assert ran.code == DONE
    assert len(list((tmp_path / "out" / "shards").glob("*/*.png"))) == 2
    assert rows(tmp_path / "out")[0]["kind"] == "normal"


def test_a_full_disk_stops_cleanly_and_says_how_to_go_on(lotus, photos, tmp_path, file_size_limit):
    folder = photos(8)
    with file_size_limit(3000):  # enough for the plan, not for four float maps
        ran = lotus("batch", folder, tmp_path / "out", *OPTIONS)
    assert ran.code == SOME_FAILED
    assert "stopped: the disk is full" in ran.err
    assert "The same command goes on here." in ran.err
    assert Progress.of(Store(str(tmp_path / "out"))).chunks == set()
    assert lotus("batch", folder, tmp_path / "out", *OPTIONS).code == DONE
    assert len(rows(tmp_path / "out")) == 8


def test_a_model_of_another_task_is_refused_before_any_work(lotus, photos, tmp_path):
    ran = lotus("batch", photos(2), tmp_path / "out", "--model", "normal-d")
    assert ran.code == BAD_USAGE
    assert not list((tmp_path / "out").glob("shards/*"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--chunk", "0"), "choose a whole number of at least 1, not '0'"),
        (("--threads", "x"), "choose a whole number of at least 1, not 'x'"),
        (("--engine", "slurm"), "invalid choice: 'slurm'"),
        (("--engine", "ray", "--workers", "two"), "N or N:M, such as 2 or 1:8"),
        (("--engine", "ray", "--workers", "3:2"), "no more at least than at most"),
        (("--engine", "ray", "--cpus-per-worker", "-1"), "slots per worker must be at least 0"),
    ],
)
def test_senseless_options_are_refused(lotus, photos, tmp_path, words, message):
    ran = lotus("batch", photos(1), tmp_path / "out", "--model", "disparity-d", *words)
    assert ran.code == BAD_USAGE
    assert message in ran.err


def test_an_input_of_nothing_is_refused(lotus, tmp_path):
    (tmp_path / "empty").mkdir()
    ran = lotus("batch", tmp_path / "empty", tmp_path / "out", *OPTIONS)
    assert ran.code == BAD_USAGE
    assert "stands for no image and no shard" in ran.err
