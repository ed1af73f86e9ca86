"""States on disk and the table of a run."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from lotus_core.errors import CorruptFileError, NotWritableError, StorageError
from lotus_core.training.log import TrainingLog
from lotus_core.training.state import (
    TrainingState,
    list_states,
    load_state,
    moments_of,
    restore_moments,
    save_state,
)


def state(step, **facts):
    return TrainingState(
        step=step,
        weights={"layer.weight": torch.full((2, 2), float(step))},
        moments={"layer.weight.exp_avg": torch.ones(2, 2), "layer.weight.step": torch.tensor(float(step))},
        average={"layer.weight": torch.zeros(2, 2)},
        facts=facts,
    )


def test_a_state_comes_back_as_it_was_saved(tmp_path):
    path = save_state(state(7, seconds=1.5, skipped=["a.png"]), tmp_path, keep=2)
    assert path.name == "step-000000007"
    found = load_state(path)
    assert found.step == 7
    assert found.facts == {"seconds": 1.5, "skipped": ["a.png"]}
    for part in ("weights", "moments", "average"):
        saved = getattr(state(7), part)
        assert getattr(found, part).keys() == saved.keys()
        assert all(torch.equal(getattr(found, part)[key], saved[key]) for key in saved)


def test_an_empty_average_is_kept_empty(tmp_path):
    bare = TrainingState(1, {"w": torch.ones(1)}, {}, {}, {})
    assert load_state(save_state(bare, tmp_path, keep=1)).average == {}


def test_only_safetensors_and_json_are_written(tmp_path):
    path = save_state(state(1), tmp_path, keep=1)
    assert {item.suffix for item in path.iterdir()} == {".safetensors", ".json"}


def test_the_last_states_stay_and_the_oldest_go(tmp_path):
    for step in (1, 2, 3, 10):
        save_state(state(step), tmp_path, keep=2)
    assert [int(path.name[5:]) for path in list_states(tmp_path)] == [3, 10]


def test_saving_the_same_step_again_replaces_it(tmp_path):
    save_state(state(4, seconds=1), tmp_path, keep=2)
    save_state(state(4, seconds=2), tmp_path, keep=2)
    assert [load_state(path).facts["seconds"] for path in list_states(tmp_path)] == [2]


def test_what_a_killed_process_left_is_no_state_and_is_cleared_away(tmp_path):
    leftover = tmp_path / ".partial-1234"
    leftover.mkdir()
    (leftover / "weights.safetensors").write_bytes(b"half")
    (tmp_path / "notes").mkdir()
    assert list_states(tmp_path) == []
    save_state(state(1), tmp_path, keep=1)
    assert not leftover.exists()
    assert (tmp_path / "notes").is_dir()


def test_there_are_no_states_where_there_is_no_folder(tmp_path):
    assert list_states(tmp_path / "nothing") == []


@pytest.mark.parametrize(
    "name", ["weights.safetensors", "moments.safetensors", "average.safetensors", "state.json"]
)
@pytest.mark.parametrize("damage", ["cut", "missing"])
def test_every_damaged_or_missing_file_is_noticed(tmp_path, name, damage):
    path = save_state(state(1), tmp_path, keep=1)
    if damage == "missing":
        (path / name).unlink()
    else:
        (path / name).write_bytes((path / name).read_bytes()[:9])
    with pytest.raises(
        CorruptFileError, match=r"training state step-000000001 cannot be read .*delete this folder"
    ):
        load_state(path)


def test_a_place_that_is_a_file_is_a_storage_error(tmp_path):
    (tmp_path / "states").write_text("in the way")
    with pytest.raises(StorageError) as caught:
        save_state(state(1), tmp_path / "states", keep=1)
    assert isinstance(caught.value, NotWritableError)


def optimised(channels_last=False):
    torch.manual_seed(0)
    module = nn.Conv2d(3, 4, 3)
    if channels_last:
        module = module.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1)
    return module, optimizer


def advance(module, optimizer, steps):
    for number in range(steps):
        x = torch.rand((1, 3, 5, 5), generator=torch.Generator().manual_seed(number))
        module(x).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("channels_last", [False, True])
def test_an_optimiser_with_restored_moments_takes_the_same_next_step(channels_last):
    module, optimizer = optimised(channels_last)
    advance(module, optimizer, 3)
    names = {id(value): name for name, value in module.named_parameters()}
    moments = {key: value.clone() for key, value in moments_of(optimizer, names).items()}
    assert sorted(moments) == sorted(
        f"{name}.{kind}" for name in ("weight", "bias") for kind in ("exp_avg", "exp_avg_sq", "step")
    )
    weights = {key: value.clone() for key, value in module.state_dict().items()}
    again, fresh = optimised(channels_last)
    again.load_state_dict(weights)
    restore_moments(fresh, dict(again.named_parameters()), moments)
    advance(module, optimizer, 2)
    advance(again, fresh, 2)
    assert torch.equal(module.weight, again.weight)
    assert torch.equal(module.bias, again.bias)


def rows(folder):
    with (folder / "log.csv").open() as file:
        return list(csv.reader(file))


def test_the_first_line_sets_the_columns_and_later_ones_keep_them(tmp_path):
    log = TrainingLog(tmp_path, 0)
    log.write(10, {"loss": 0.5, "rate": 1e-3})
    log.write(20, {"rate": 2e-3, "loss": 0.25, "new": 1.0})
    assert rows(tmp_path) == [["step", "loss", "rate"], ["10", "0.5", "0.001"], ["20", "0.25", "0.002"]]


def test_a_resumed_log_goes_on_under_the_same_columns(tmp_path):
    TrainingLog(tmp_path, 0).write(10, {"loss": 0.5, "rate": 1.0})
    TrainingLog(tmp_path, 10).write(20, {"rate": 3.0, "loss": 0.25})
    assert rows(tmp_path)[1:] == [["10", "0.5", "1"], ["20", "0.25", "3"]]


@pytest.mark.parametrize(("step", "kept"), [(0, []), (10, ["10"]), (15, ["10"]), (20, ["10", "20"])])
def test_lines_after_the_resumed_step_go(tmp_path, step, kept):
    log = TrainingLog(tmp_path, 0)
    for number in (10, 20):
        log.write(number, {"loss": 1.0})
    TrainingLog(tmp_path, step)
    assert [row[0] for row in rows(tmp_path)[1:]] == kept


def test_an_empty_log_starts_anew(tmp_path):
    (tmp_path / "log.csv").write_text("")
    log = TrainingLog(tmp_path, 5)
    log.write(6, {"loss": 1.0})
    assert rows(tmp_path) == [["step", "loss"], ["6", "1"]]


def test_pictures_are_files_named_by_their_step(tmp_path):
    sheet = torch.zeros(3, 4, 6)
    sheet[0] = 1.0
    sheet[1] = 2.0  # clipped
    TrainingLog(tmp_path, 0).picture(30, sheet)
    pixels = np.asarray(Image.open(tmp_path / "pictures" / "step-000000030.png"))
    assert pixels.shape == (4, 6, 3)
    assert pixels[0, 0].tolist() == [255, 255, 0]


def test_a_state_says_what_it_was_in_words_a_person_can_read(tmp_path):
    path = save_state(state(3, identity={"seed": 4}), tmp_path, keep=1)
    assert json.loads((path / "state.json").read_text()) == {"step": 3, "identity": {"seed": 4}}
