"""Decoding the files of data sets, and naming those that cannot be."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from lotus_core.errors import CorruptSampleError, MissingExtraError
from lotus_core.io.exr import write_exr
from lotus_core.training.data.archives import open_tree
from lotus_core.training.data.pixels import exr_plane, exr_rgb, integers, npy, raw_float32, read_array, rgb01


def png(array: np.ndarray, form: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form, **options)
    return buffer.getvalue()


def test_a_picture_is_rgb_from_0_to_1():
    rgb = rgb01(png(np.array([[[255, 0, 51], [0, 0, 0]]], np.uint8)))
    assert rgb.shape == (1, 2, 3)
    assert rgb.dtype == np.float32
    assert np.allclose(rgb[0, 0], [1.0, 0.0, 0.2])


def test_grey_pictures_and_palettes_become_rgb():
    assert rgb01(png(np.full((2, 2), 102, np.uint8)))[0, 0].tolist() == pytest.approx([0.4] * 3)


def test_rotation_in_exif_is_not_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    assert rgb01(png(np.zeros((2, 5, 3), np.uint8), "JPEG", exif=exif)).shape == (2, 5, 3)


def test_sixteen_bits_stay_numbers():
    assert integers(png(np.array([[0, 40_000], [65_535, 7]], np.uint16))).tolist() == [
        [0, 40_000],
        [65_535, 7],
    ]


def test_a_float_picture_is_not_whole_numbers():
    with pytest.raises(ValueError, match="not one of whole numbers"):
        integers(png(np.zeros((2, 2), np.float32), "TIFF"))


def test_bare_floats_are_read_row_by_row():
    data = np.arange(6, dtype="<f4").tobytes()
    assert raw_float32(2, 3)(data).tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(ValueError, match="expected 16 bytes for 2x2 pixels"):
        raw_float32(2, 2)(data)


def test_a_numpy_file_is_read_and_objects_in_it_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.eye(2))
    np.save(tmp_path / "b.npy", np.array([{}], dtype=object))
    assert npy((tmp_path / "a.npy").read_bytes()).tolist() == [[1, 0], [0, 1]]
    with pytest.raises(ValueError, match="allow_pickle"):
        npy((tmp_path / "b.npy").read_bytes())


def test_exr_planes_come_in_order(tmp_path):
    planes = {name: torch.full((2, 3), float(value)) for name, value in (("R", 1), ("G", 2), ("B", 3))}
    data = write_exr(tmp_path / "a.exr", planes).read_bytes()
    assert exr_rgb(data)[1, 2].tolist() == [1.0, 2.0, 3.0]


def test_the_depth_plane_of_an_exr_is_found(tmp_path):
    planes = {"R": torch.zeros(2, 3), "Z": torch.ones(2, 3)}
    assert exr_plane(write_exr(tmp_path / "a.exr", planes).read_bytes()).tolist() == [[1.0] * 3] * 2


def test_exr_without_its_package_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "a.exr").write_bytes(b"anything")
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    with pytest.raises(MissingExtraError, match=r"reading EXR files needs OpenEXR.*lotus-geometry\[exr\]"):
        read_array(open_tree(tmp_path), "a.exr", exr_rgb)


@pytest.mark.parametrize(
    ("name", "decode"),
    [("a.png", rgb01), ("a.png", integers), ("a.npy", npy), ("a.exr", exr_rgb), ("a.exr", exr_plane)],
)
@pytest.mark.parametrize("data", [b"", b"rubbish", b"\x89PNG\r\n\x1a\nrubbish", b"\x93NUMPY\x01\x00rubbish"])
def test_whatever_is_damaged_is_named(tmp_path, name, decode, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(
        CorruptSampleError, match=rf"{name} is truncated or damaged \(found: {len(data)} bytes"
    ) as caught:
        read_array(open_tree(tmp_path), name, decode)
    assert caught.value.path == tmp_path / name
