"""A folder of twenty photographs of mixed sizes and kinds, one of them corrupt, through the bundled models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lotus_core.io.images import read_image

# (name, width, height, mode): sizes that are odd, tiny, tall, wide; every kind of file that cameras and programs make
PHOTOS = [
    ("beach.jpg", 97, 64, "RGB"),
    ("Beach.png", 64, 97, "RGB"),
    ("city.jpeg", 128, 96, "RGB"),
    ("desert.webp", 101, 77, "RGB"),
    ("document.png", 60, 80, "1"),
    ("drawing.gif", 50, 50, "P"),
    ("forest.tif", 90, 60, "RGB"),
    ("garden.bmp", 33, 47, "RGB"),
    ("harbour.jpg", 80, 60, "L"),
    ("logo.png", 48, 48, "RGBA"),
    ("medical.png", 40, 56, "I;16"),
    ("panorama.jpg", 400, 17, "RGB"),
    ("press.jpg", 72, 54, "CMYK"),
    ("portrait.jpg", 60, 90, "RGB"),
    ("river.png", 16, 16, "RGB"),
    ("shade.png", 31, 29, "LA"),
    ("street.jpg", 120, 90, "RGB"),
    ("tower.jpg", 17, 230, "RGB"),
    ("valley.webp", 85, 85, "RGBA"),
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Twenty photographs: 19 good ones and one cut short."""
    folder = tmp_path_factory.mktemp("photographs")
    random = np.random.default_rng(0)
    for name, width, height, mode in PHOTOS:
        coarse = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        if mode == "I;16":
            image = Image.fromarray(np.array(image.convert("L")).astype(np.uint16) * 257)
        elif mode != "RGB":
            image = image.convert(mode)
        exif = Image.Exif()
        exif[0x0112] = (
            6 if name == "portrait.jpg" else 1
        )  # stored on its side: 90 wide and 60 high when upright
        image.save(folder / name, exif=exif)
    whole = (folder / "street.jpg").read_bytes()
    (folder / "torn.jpg").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("results")


def test_joint_does_nineteen_and_names_the_corrupt_one(lotus, folder, out, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert len(list(folder.iterdir())) == 20
    words = ["--model", "lotus-tiny-depth-d", "lotus-tiny-normal-d", "--resolution", "64"]
    ran = lotus("joint", folder, "-o", out, *words, "--format", "png,npz", "--json")
    document = ran.document
    assert ran.code == 1, ran.err
    assert (document["done"], document["failed"]) == (19, 1)
    failed = [item for item in document["items"] if item["status"] == "failed"]
    assert [Path(item["input"]).name for item in failed] == ["torn.jpg"]
    assert failed[0]["error"]["type"] == "ImageError"
    assert "torn.jpg is truncated or damaged" in failed[0]["error"]["message"]
    assert "failed: " in ran.err
    assert "torn.jpg" in ran.err
    _check_every_result(document, folder, out)


def _check_every_result(document: dict, folder: Path, out: Path) -> None:
    """Every result has its photograph's size, upright, finite values, and a name of its own."""
    files = [file for item in document["items"] for file in item.get("files", ())]
    assert len(files) == len(set(files)) == 19 * 4
    assert sorted(files) == sorted(str(path) for path in out.iterdir())
    for item in document["items"]:
        if item["status"] == "failed":
            continue
        _, height, width, _ = read_image(item["input"]).pixels.shape
        assert (item["width"], item["height"]) == (width, height)
        depth_png, depth_npz, normal_png, normal_npz = item["files"]
        with np.load(depth_npz) as file:
            assert file["disparity"].shape == (height, width)
            assert np.isfinite(file["disparity"]).all()
        with np.load(normal_npz) as file:
            assert file["normal"].shape == (height, width, 3)
            assert np.abs(np.linalg.norm(file["normal"], axis=-1) - 1).max() < 1e-4
        for picture in (depth_png, normal_png):
            with Image.open(picture) as image:
                assert image.size == (width, height)
    assert (out / "portrait_depth.png").is_file()
    with Image.open(out / "portrait_depth.png") as image:
        assert image.size == (90, 60)
    assert {"beach_jpg_depth.png", "Beach_png_depth.png"} <= {path.name for path in out.iterdir()}
