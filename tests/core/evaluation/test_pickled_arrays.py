"""Reading plain data out of a pickle, and refusing all else, without ever unpickling."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from lotus_core.evaluation.pickled_arrays import read_pickled

PROTOCOLS = range(2, pickle.HIGHEST_PROTOCOL + 1)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int64", ">f4", "bool"])
def test_an_array_comes_back_as_it_was(protocol, dtype):
    array = (np.arange(24).reshape(2, 3, 4) % 7).astype(dtype)
    found = read_pickled(pickle.dumps(array, protocol=protocol))
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_array_in_column_order_comes_back_in_place(protocol):
    array = np.asfortranarray(np.arange(12.0).reshape(3, 4))
    assert np.array_equal(read_pickled(pickle.dumps(array, protocol=protocol)), array)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_data_comes_back_as_it_was(protocol):
    shared = [1, 2.5, "π", b"raw"]
    data = {"a": shared, "b": (True, None, -7, 2**70), 3: {"again": shared, "empty": [(), {}]}}
    assert read_pickled(pickle.dumps(data, protocol=protocol)) == data


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_numpy_scalar_is_a_number(protocol):
    found = read_pickled(pickle.dumps({"min_y": np.int64(-5), "x": np.float32(0.5)}, protocol=protocol))
    assert (int(found["min_y"]), float(found["x"])) == (-5, 0.5)


class RunsACommand:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_pickle_that_would_run_something_is_refused_and_runs_nothing(tmp_path, protocol):
    trace = tmp_path / "was-here"
    data = pickle.dumps({"normal": RunsACommand(f"touch {trace}")}, protocol=protocol)
    with pytest.raises(ValueError, match=r"calls .*system.*not plain data"):
        read_pickled(data)
    assert not trace.exists()


class Stateful:
    pass


def test_an_object_with_a_state_is_refused():
    thing = Stateful()
    thing.x = 1
    with pytest.raises(ValueError, match="not plain data"):
        read_pickled(pickle.dumps(thing))


def test_a_bare_global_is_refused():
    with pytest.raises(ValueError, match="not plain data"):
        read_pickled(pickle.dumps([os.system]))


def test_an_array_of_objects_is_refused():
    with pytest.raises(ValueError, match=r"not plain data|type 'O8'"):
        read_pickled(pickle.dumps(np.array([{}, "x"], dtype=object)))


@pytest.mark.parametrize("keep", [0, 1, 10, 60, 120, -1])
def test_every_truncation_is_a_value_error(keep):
    data = pickle.dumps({"normal": np.ones((4, 4, 3), np.float32), "min_y": 1})
    with pytest.raises(ValueError, match=r"."):
        read_pickled(data[:keep])


def test_a_shape_that_does_not_fit_the_bytes_is_refused():
    data = pickle.dumps(np.ones((2, 2), np.float32), protocol=2).replace(b"K\x02K\x02", b"K\x02K\x7f")
    with pytest.raises(ValueError, match=r"16 bytes for an array of shape \(2, 127\)"):
        read_pickled(data)


def test_random_bytes_are_a_value_error_or_plain_data():
    rng = np.random.default_rng(0)
    base = bytearray(pickle.dumps({"normal": np.ones((3, 3), np.float32), "k": [1, 2]}))
    for _ in range(300):
        data = bytearray(base)
        for place in rng.integers(0, len(data), 3):
            data[place] = rng.integers(0, 256)
        try:
            read_pickled(bytes(data))
        except ValueError:
            continue
