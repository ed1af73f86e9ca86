"""NPY and NPZ: exact, named, never pickled."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lotus_core.errors import InputError, NoSpaceError, NotWritableError
from lotus_core.io.arrays import write_npy, write_npz


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(1, 1), (4, 6), (4, 6, 3)])
def test_npy_comes_back_bit_for_bit(tmp_path, shape):
    values = noise(*shape)
    found = np.load(write_npy(tmp_path / "a.npy", values), allow_pickle=False)
    assert found.dtype == np.float32
    assert np.array_equal(found, values.numpy())


def test_npy_takes_numpy_arrays_of_other_types(tmp_path):
    values = np.arange(6, dtype=np.uint16).reshape(2, 3)
    found = np.load(write_npy(tmp_path / "a.npy", values), allow_pickle=False)
    assert found.dtype == np.uint16
    assert np.array_equal(found, values)


def test_npz_holds_arrays_texts_and_numbers_by_name(tmp_path):
    values = noise(3, 4)
    with np.load(
        write_npz(
            tmp_path / "a.npz", {"disparity": values, "kind": "disparity", "seed": 7, "fov_x_deg": 55.5}
        )
    ) as file:
        assert sorted(file.files) == ["disparity", "fov_x_deg", "kind", "seed"]
        assert np.array_equal(file["disparity"], values.numpy())
        assert str(file["kind"]) == "disparity"
        assert int(file["seed"]) == 7
        assert float(file["fov_x_deg"]) == 55.5


def test_npz_needs_no_pickle_to_be_read(tmp_path):
    path = write_npz(tmp_path / "a.npz", {"kind": "depth", "depth": noise(2, 2)})
    with np.load(path, allow_pickle=False) as file:
        assert {name: file[name].dtype.hasobject for name in file.files} == {"kind": False, "depth": False}


def test_file_keeps_its_own_suffix(tmp_path):
    assert write_npz(tmp_path / "a.data", {"x": 1}) == tmp_path / "a.data"
    assert [p.name for p in tmp_path.iterdir()] == ["a.data"]


def test_objects_are_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(
        InputError, match=r"thing holds Python objects \(found: object\): pass numbers or a text"
    ):
        write_npz(tmp_path / "a.npz", {"thing": np.array([{}, None], dtype=object)})
    with pytest.raises(InputError, match="array holds Python objects"):
        write_npy(tmp_path / "a.npy", np.array([object()]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("write", [write_npy, lambda p, a: write_npz(p, {"a": a})], ids=["npy", "npz"])
def test_full_disk_leaves_the_older_file_whole(tmp_path, file_size_limit, write):
    write(tmp_path / "a", torch.zeros(2))
    before = (tmp_path / "a").read_bytes()
    with file_size_limit(2048), pytest.raises(NoSpaceError, match="the disk is full"):
        write(tmp_path / "a", noise(64, 64))
    assert (tmp_path / "a").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_folder_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotWritableError, match="choose a folder that you may write to"):
        write_npy(tmp_path / "file" / "a.npy", noise(2))
