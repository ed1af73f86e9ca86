"""PNG files, opened again by readers that are not ours (Pillow, pypng)."""

from __future__ import annotations

import zlib

import numpy as np
import png
import pytest
import torch
from PIL import Image

from lotus_core.errors import NonFiniteError, NoSpaceError, NotWritableError, ShapeError
from lotus_core.io.png import write_png8, write_png16


def levels_of(path) -> tuple[np.ndarray, int]:
    """Return pypng's reading of a file, (H, W, C), and its bit depth."""
    width, height, rows, info = png.Reader(bytes=path.read_bytes()).read()
    return np.vstack([np.array(row) for row in rows]).reshape(height, width, info["planes"]), info["bitdepth"]


@pytest.mark.parametrize(
    ("value", "level"), [(0.0, 0), (0.5, 32768), (1.0, 65535), (1 / 65535, 1), (0.25, 16384)]
)
def test_16_bit_level_is_the_value_times_65535_rounded(tmp_path, value, level):
    found, bits = levels_of(write_png16(tmp_path / "a.png", torch.full((2, 3), value)))
    assert bits == 16
    assert found.shape == (2, 3, 1)
    assert np.unique(found).tolist() == [level]


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1), (33, 17), (5, 4, 3), (1, 1, 3), (19, 8, 3)])
def test_16_bit_values_come_back_to_half_a_level(tmp_path, shape):
    values = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    found, bits = levels_of(write_png16(tmp_path / "a.png", values))
    assert bits == 16
    assert found.shape == (*shape[:2], shape[2] if len(shape) == 3 else 1)
    assert np.abs(found.reshape(shape) / 65535 - values.numpy()).max() <= 0.5001 / 65535


def test_16_bit_grey_is_read_by_pillow(tmp_path):
    values = torch.linspace(0, 1, 256 * 4).reshape(4, 256)
    with Image.open(write_png16(tmp_path / "a.png", values)) as image:
        assert image.mode in ("I;16", "I")
        assert np.abs(np.array(image, dtype=np.float64) / 65535 - values.numpy()).max() < 1e-5


def test_16_bit_colour_keeps_the_order_of_its_channels(tmp_path):
    values = torch.tensor([[[1.0, 0.5, 0.0]]])
    assert levels_of(write_png16(tmp_path / "a.png", values))[0].tolist() == [[[65535, 32768, 0]]]
    with Image.open(tmp_path / "a.png") as image:
        assert image.convert("RGB").getpixel((0, 0)) == (255, 128, 0)


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3)])
def test_8_bit_values_come_back_to_half_a_level(tmp_path, shape):
    values = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    with Image.open(write_png8(tmp_path / "a.png", values)) as image:
        assert image.mode == ("L" if len(shape) == 2 else "RGB")
        assert np.abs(np.array(image) / 255.0 - values.numpy()).max() <= 0.5001 / 255


def test_values_outside_are_clamped(tmp_path):
    found, _ = levels_of(write_png16(tmp_path / "a.png", torch.tensor([[-0.5, 1.5]])))
    assert found.flatten().tolist() == [0, 65535]


def test_half_precision_is_taken(tmp_path):
    assert levels_of(write_png16(tmp_path / "a.png", torch.full((1, 1), 0.5).half()))[0].item() == 32768


def test_channels_that_are_not_contiguous_are_taken(tmp_path):
    values = torch.rand(3, 4, 6, generator=torch.Generator().manual_seed(2)).movedim(0, -1)
    found, _ = levels_of(write_png16(tmp_path / "a.png", values))
    assert np.abs(found / 65535 - values.numpy()).max() < 1e-5


def test_notes_are_in_the_file(tmp_path):
    path = write_png16(
        tmp_path / "a.png", torch.zeros(2, 2), text={"Lotus kind": "disparity", "Lotus near": "high"}
    )
    with Image.open(path) as image:
        image.load()
        assert image.info["Lotus kind"] == "disparity"
        assert image.info["Lotus near"] == "high"


def test_smooth_map_is_compressed(tmp_path):
    smooth = torch.linspace(0, 1, 200)[:, None].expand(200, 300)  # 120,000 bytes
    assert write_png16(tmp_path / "a.png", smooth).stat().st_size < 12_000


def test_checksums_are_those_of_the_format(tmp_path):
    data = write_png8(tmp_path / "a.png", torch.zeros(2, 2)).read_bytes()
    end = data[-12:]  # length 0, "IEND", CRC-32 of "IEND"
    assert end == b"\0\0\0\0IEND" + zlib.crc32(b"IEND").to_bytes(4, "big")


def test_file_is_replaced(tmp_path):
    write_png8(tmp_path / "a.png", torch.zeros(2, 2))
    write_png8(tmp_path / "a.png", torch.ones(3, 2))
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (2, 3)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("shape", [(2, 2, 1), (2, 2, 4), (1, 2, 2, 3), (4,), (0, 3)])
def test_other_shapes_are_refused(tmp_path, shape):
    with pytest.raises(ShapeError, match=r"expected \(H, W\) or \(H, W, 3\): pass one image, channels last"):
        write_png16(tmp_path / "a.png", torch.zeros(shape))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_and_infinity_are_refused(tmp_path, bad):
    values = torch.zeros(2, 2)
    values[0, 1] = bad
    with pytest.raises(
        NonFiniteError, match=r"a.png cannot hold NaN or infinity \(found: 1 such values\): fill them in"
    ):
        write_png8(tmp_path / "a.png", values)
    assert list(tmp_path.iterdir()) == []


def test_folder_in_the_place_of_the_file_is_refused(tmp_path):
    (tmp_path / "a.png").mkdir()
    with pytest.raises(NotWritableError, match="taken by a folder"):
        write_png8(tmp_path / "a.png", torch.zeros(2, 2))


def test_folder_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotWritableError, match="choose a folder that you may write to"):
        write_png8(tmp_path / "file" / "a.png", torch.zeros(2, 2))


def test_full_disk_leaves_the_older_file_whole(tmp_path, file_size_limit):
    path = write_png16(tmp_path / "a.png", torch.zeros(4, 4))
    before = path.read_bytes()
    noise = torch.rand(
        64, 64, generator=torch.Generator().manual_seed(0)
    )  # does not compress below the limit
    with (
        file_size_limit(2048),
        pytest.raises(NoSpaceError, match=r"the disk is full: .*a.png was not written"),
    ):
        write_png16(path, noise)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
