import inspect
import re

import pytest

from lotus_core import errors
from lotus_core.errors import (
    CheckpointError,
    InputError,
    LotusError,
    MissingExtraError,
    NotWritableError,
    OptionError,
    ShapeError,
    StateDictError,
    UnknownModelError,
)

CLASSES = [
    value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, LotusError)
]


def test_the_docstring_draws_the_whole_tree():
    drawn = set(re.findall(r"(\w+Error)\b", errors.__doc__.split("tree::")[1]))
    builtin = {"ValueError", "OSError", "MemoryError", "ImportError"}
    assert drawn - builtin == {cls.__name__ for cls in CLASSES}


def test_the_tree_is_indented_as_the_classes_inherit():
    for line in errors.__doc__.splitlines():
        match = re.search(r"(?:├──|└──) (\w+Error)", line)
        if match is not None:
            cls = getattr(errors, match.group(1))
            ancestors = [base for base in cls.__mro__[1:] if issubclass(base, LotusError)]
            assert len(line[: match.start()]) == 4 * len(ancestors), line


def test_a_message_says_what_is_wrong_what_was_found_and_what_to_do():
    error = LotusError("the map is upside down.", found="far = white", remedy="reverse it.")
    assert str(error) == "the map is upside down (found: far = white): reverse it."


def test_found_and_remedy_may_be_left_out():
    assert str(LotusError("the map is gone")) == "the map is gone."


def test_a_shape_error_carries_both_shapes():
    error = ShapeError("depth", (1, 3, 64, 64), "(B, H, W)", remedy="take one channel first")
    assert str(error) == "depth has shape (1, 3, 64, 64), expected (B, H, W): take one channel first."
    assert (error.actual_shape, error.expected_shape) == ((1, 3, 64, 64), "(B, H, W)")


def test_an_option_error_carries_name_and_value():
    error = OptionError("resolution", -3, "0 or 16 to 8192")
    assert (error.option, error.value) == ("resolution", -3)
    assert str(error).startswith("resolution must be 0 or 16 to 8192 (found: -3)")


def test_an_unknown_name_proposes_the_nearest():
    error = UnknownModelError("lotus-dpeth", ["lotus-depth-d-v1-1", "lotus-depth-g-v1-0"])
    assert "did you mean lotus-depth-d-v1-1, lotus-depth-g-v1-0" in str(error)
    assert "list the known names with `lotus models`" in str(UnknownModelError("zzz"))


def test_a_state_dict_error_lists_and_counts_the_keys():
    error = StateDictError("not this network", missing=[f"k{i}" for i in range(6)], unexpected=["x"])
    assert "6 missing (k0, k1, k2, k3, ...); 1 unexpected (x)" in str(error)
    assert error.missing == tuple(f"k{i}" for i in range(6))


def test_a_missing_extra_gives_the_command():
    error = MissingExtraError("trimesh", "mesh", "writing GLB")
    assert str(error) == (
        'writing GLB needs trimesh, which is not installed: install it with: pip install "lotus-geometry[mesh]".'
    )


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [(InputError, ValueError), (NotWritableError, OSError), (MissingExtraError, ImportError)],
)
def test_each_error_is_also_what_python_calls_it(cls, builtin):
    assert issubclass(cls, builtin)
    assert issubclass(cls, LotusError)


def test_a_storage_error_prints_its_whole_message():
    error = NotWritableError("cannot write there", found="read-only", remedy="choose another folder")
    assert str(error) == "cannot write there (found: read-only): choose another folder."


def test_a_checkpoint_error_carries_its_path(tmp_path):
    assert CheckpointError("bad", path=str(tmp_path)).path == tmp_path
    assert CheckpointError("bad").path is None
