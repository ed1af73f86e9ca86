"""What bad models, a full disk and no network get from the command: words, a code, and nothing half-written."""

from __future__ import annotations

from pathlib import Path

import pytest

from lotus_core.loading import bundled

UNET = bundled.bundled_files("lotus-tiny-depth-d").unet


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file()) if folder.exists() else []


@pytest.fixture(autouse=True)
def empty_offline_machine(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setenv("LOTUS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def write_truncated(path: Path) -> Path:
    path.write_bytes(UNET.read_bytes()[:200_000])
    return path


def write_pickle(path: Path) -> Path:
    path.write_bytes(b"\x80\x04\x95")
    return path


@pytest.mark.parametrize(
    ("model", "kind", "words"),
    [
        ("lotus-depht-d-v1-0", "UnknownModelError", ["no Lotus model is called", "lotus-depth-d-v1-0"]),
        ("no/such/folder", "UnknownModelError", ["no/such/folder"]),
        ("lotus-normal-g-v1-1", "OfflineError", ["HF_HUB_OFFLINE"]),
        (("lotus-depth-d.safetensors", write_truncated), "CorruptFileError", ["lotus-depth-d.safetensors"]),
        (("lotus-depth-d.ckpt", write_pickle), "UnsafeFormatError", ["pickle", ".safetensors"]),
    ],
    ids=["unknown", "no folder", "no network", "truncated", "pickle"],
)
def test_model_that_cannot_be_loaded_is_explained(lotus, grey_photo, tmp_path, model, kind, words):
    if isinstance(model, tuple):
        name, make = model
        model = make(tmp_path / name)
    ran = lotus("depth", grey_photo(), "-o", tmp_path / "out", "--model", model, "--device", "cpu", "--json")
    assert ran.code == 2
    assert ran.document["error"]["type"] == kind
    for word in words:
        assert word in ran.err
    assert leftovers(tmp_path / "out") == []


def test_device_that_is_not_there_is_explained(lotus, grey_photo, tmp_path):
    words = ["--model", "lotus-tiny-depth-d", "--device", "cuda:99"]
    ran = lotus("depth", grey_photo(), "-o", tmp_path / "out", *words)
    assert ran.code == 2
    assert "device must be" in ran.err
    assert "cuda:99" in ran.err


def test_full_disk_fails_the_image_and_leaves_nothing(
    lotus, known_models, grey_photo, tmp_path, file_size_limit
):
    photo = grey_photo(width=200, height=200)
    with file_size_limit(2048):
        ran = lotus("depth", photo, "-o", tmp_path / "out", "--model", "depth-d", "--format", "npy", "--json")
    assert ran.code == 1
    assert ran.document["items"][0]["error"]["type"] == "NoSpaceError"
    assert "the disk is full" in ran.err
    assert leftovers(tmp_path / "out") == []


def test_damaged_image_leaves_nothing_of_its_own(lotus, known_models, grey_photo, tmp_path):
    photo = grey_photo("torn.jpg", width=64, height=64)
    photo.write_bytes(photo.read_bytes()[:400])
    ran = lotus("depth", photo, "-o", tmp_path / "out", "--model", "depth-d")
    assert ran.code == 1
    assert "torn.jpg is" in ran.err
    assert leftovers(tmp_path / "out") == []
