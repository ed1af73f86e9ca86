"""EXR files, opened again by OpenEXR's own reader."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from lotus_core.errors import MissingExtraError, NoSpaceError, NotWritableError, ShapeError
from lotus_core.io.exr import write_exr

openexr = pytest.importorskip("OpenEXR", reason='needs the extra "exr"')


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def read(path) -> tuple[dict[str, np.ndarray], dict]:
    with openexr.File(str(path), separate_channels=True) as file:
        return {name: channel.pixels.copy() for name, channel in file.channels().items()}, dict(file.header())


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 1), (33, 17)])
def test_floats_come_back_bit_for_bit(tmp_path, size):
    values = noise(*size) * 1e3
    channels, _ = read(write_exr(tmp_path / "a.exr", {"Y": values}))
    assert list(channels) == ["Y"]
    assert channels["Y"].dtype == np.float32
    assert np.array_equal(channels["Y"], values.numpy())


def test_colour_channels_keep_their_names_and_signs(tmp_path):
    x, y, z = noise(3, 5, 4)
    channels, _ = read(write_exr(tmp_path / "a.exr", {"R": x, "G": y, "B": z}))
    assert np.array_equal(channels["R"], x.numpy())
    assert np.array_equal(channels["G"], y.numpy())
    assert np.array_equal(channels["B"], z.numpy())


def test_layer_stands_beside_the_map(tmp_path):
    values, spread = noise(2, 6, 5)
    channels, _ = read(write_exr(tmp_path / "a.exr", {"Y": values, "uncertainty.Y": spread}))
    assert np.array_equal(channels["uncertainty.Y"], spread.numpy())


def test_nan_and_infinity_are_kept(tmp_path):
    values = torch.tensor([[float("nan"), float("inf"), -float("inf"), -0.5]])
    channels, _ = read(write_exr(tmp_path / "a.exr", {"Y": values}))
    assert np.array_equal(channels["Y"], values.numpy(), equal_nan=True)


def test_header_is_lossless_and_carries_the_attributes(tmp_path):
    _, header = read(write_exr(tmp_path / "a.exr", {"Y": noise(4, 4)}, attributes={"lotusKind": "disparity"}))
    assert header["lotusKind"] == "disparity"
    assert header["compression"] == openexr.ZIP_COMPRESSION


def test_half_and_strided_planes_become_float32(tmp_path):
    planes = noise(4, 6).half()[:, ::2]
    channels, _ = read(write_exr(tmp_path / "a.exr", {"Y": planes}))
    assert np.array_equal(channels["Y"], planes.float().numpy())


def test_file_is_replaced_and_nothing_else_left(tmp_path):
    write_exr(tmp_path / "a.exr", {"Y": noise(4, 4)})
    write_exr(tmp_path / "a.exr", {"Y": noise(2, 3)})
    assert read(tmp_path / "a.exr")[0]["Y"].shape == (2, 3)
    assert [p.name for p in tmp_path.iterdir()] == ["a.exr"]


def test_plane_with_a_batch_axis_is_refused(tmp_path):
    with pytest.raises(
        ShapeError, match=r"channel Y has shape \(1, 4, 4\), expected \(H, W\): pass one plane"
    ):
        write_exr(tmp_path / "a.exr", {"Y": noise(1, 4, 4)})


def test_planes_of_two_sizes_are_refused(tmp_path):
    with pytest.raises(
        ShapeError, match=r"channel G has shape \(4, 5\), expected \(4, 4\): pass planes of one size"
    ):
        write_exr(tmp_path / "a.exr", {"R": noise(4, 4), "G": noise(4, 5)})


def test_full_disk_is_noticed_though_openexr_does_not(tmp_path, file_size_limit):
    path = write_exr(tmp_path / "a.exr", {"Y": torch.zeros(8, 8)})
    before = path.read_bytes()
    with (
        file_size_limit(2048),
        pytest.raises(NoSpaceError, match=r"the disk is full: .*a.exr was not written"),
    ):
        write_exr(path, {"Y": noise(64, 64)})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.exr"]


def test_folder_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotWritableError, match="choose a folder that you may write to"):
        write_exr(tmp_path / "file" / "a.exr", {"Y": noise(4, 4)})


def test_missing_package_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    with pytest.raises(
        MissingExtraError, match=r'writing EXR files needs OpenEXR.*pip install "lotus-geometry\[exr\]"'
    ):
        write_exr(tmp_path / "a.exr", {"Y": noise(4, 4)})
    assert list(tmp_path.iterdir()) == []
