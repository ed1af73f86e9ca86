"""The loop on a module so small that its steps are worked by hand."""

import csv
import errno
import sys
from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from lotus_core.errors import (
    CorruptFileError,
    CorruptSampleError,
    MissingExtraError,
    NonFiniteError,
    NoSpaceError,
    OptionError,
)
from lotus_core.training import state as state_module
from lotus_core.training.average import WeightAverage
from lotus_core.training.clock import Deadline
from lotus_core.training.config import Accelerator, Optimizer, Run, Schedule
from lotus_core.training.feed import Feed
from lotus_core.training.loop import Loop, Plan, learning_rate, make_accelerator
from lotus_core.training.objective import Losses
from lotus_core.training.order import Order, draws
from lotus_core.training.state import list_states, load_state


@dataclass
class Numbers:
    """A data set of numbers, some of which cannot be read."""

    values: list
    broken: tuple = ()

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        if index in self.broken:
            raise CorruptSampleError(
                f"number {index} cannot be read", path=f"{index}.txt", remedy="write it again"
            )
        return index, self.values[index]


class Line:
    """Learns y = 3 x by a linear layer, with noise drawn from the step."""

    def __init__(self, values=None, broken=(), batch_size=4):
        self.module = nn.Linear(1, 1)
        nn.init.constant_(self.module.weight, 0.5)
        nn.init.constant_(self.module.bias, 0.0)
        self.data = Numbers(values or [0.1 * n for n in range(1, 13)], broken)
        self.batch_size = batch_size
        self.seen = []

    def feed(self, rank, processes):
        order = Order([len(self.data)], [1.0], self.batch_size, 0)
        return Feed([self.data], order, lambda items, *_: items, rank=rank, processes=processes)

    def losses(self, model, batch, where):
        self.seen.append((where.index, [index for index, _ in batch]))
        x = torch.tensor([[value] for _, value in batch])
        noise = 0.01 * torch.randn(x.shape, generator=draws(0, where.index))
        loss = (model(x) - 3 * x + noise).square().mean()
        return Losses(loss, {"square": loss})

    def names(self, batch):
        return [f"number {index}" for index, _ in batch]

    def pictures(self):
        return torch.full((3, 2, 2), 0.5)

    def export(self, folder):
        raise AssertionError("the loop leaves that to its stage")


def make_loop(folder, objective=None, *, steps=6, run=None, accelerator=None, optimizer=None, **schedule):
    plan = Plan(
        Optimizer(**{"learning_rate": 0.01, **(optimizer or {})}),
        Schedule(**{"steps": steps, "batch_size": 4, **schedule}),
        Accelerator(**(accelerator or {})),
        Run(**{"log_every": 1, "save_every": 2, **(run or {})}),
        {"seed": 0},
    )
    return Loop(objective or Line(), plan, folder, make_accelerator(plan.accelerator))


def weights(folder):
    return load_file(list_states(folder / "states")[-1] / "weights.safetensors")


def rows(folder):
    with (folder / "log.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_learning_rate_rises_stays_and_falls():
    schedule = Schedule(steps=10, warmup_steps=2, decay_steps=4, batch_size=1)
    rates = [learning_rate(step, schedule, 2.0) for step in range(10)]
    assert rates == pytest.approx([1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.5, 1.0, 0.5])


def test_without_warm_up_and_decay_the_rate_is_constant():
    schedule = Schedule(steps=3, batch_size=1)
    assert [learning_rate(step, schedule, 0.1) for step in range(3)] == [0.1] * 3


def test_the_first_step_is_adamws_own(tmp_path):
    # AdamW's first step moves every weight by the rate against its gradient's sign, after decaying it
    loop = make_loop(tmp_path, steps=1, optimizer={"weight_decay": 0.1})
    assert loop.run(Deadline()) is True
    assert weights(tmp_path)["weight"].item() == pytest.approx(0.5 * (1 - 0.01 * 0.1) + 0.01, abs=1e-6)


def test_accumulated_parts_give_the_step_of_the_whole_batch(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    quiet = Line()
    quiet.losses = lambda model, batch, where: Losses(_square(model, batch), {})
    make_loop(whole, quiet, steps=3, batch_size=4).run(Deadline())
    halves = Line(batch_size=2)
    halves.losses = quiet.losses
    make_loop(parts, halves, steps=3, batch_size=2, accumulation=2).run(Deadline())
    assert torch.allclose(weights(whole)["weight"], weights(parts)["weight"], atol=1e-6)


def _square(model, batch):
    x = torch.tensor([[value] for _, value in batch])
    return (model(x) - 3 * x).square().mean()


def test_long_gradients_are_cut_to_their_greatest_length(tmp_path):
    class Steep(Line):
        def losses(self, model, batch, where):
            return Losses(1e6 * _square(model, batch), {})

    loop = make_loop(tmp_path, Steep(), steps=1, optimizer={"max_gradient_norm": 0.5})
    loop.run(Deadline())
    moments = load_state(list_states(tmp_path / "states")[-1]).moments
    # the first moment is a tenth of the gradient
    length = (moments["weight.exp_avg"].square() + moments["bias.exp_avg"].square()).sum().sqrt() * 10
    assert length.item() == pytest.approx(0.5, rel=1e-4)


def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(tmp_path):
    make_loop(tmp_path / "whole", steps=7, ema_decay=0.9).run(Deadline())
    make_loop(tmp_path / "parts", steps=4, ema_decay=0.9).run(Deadline())
    second = make_loop(tmp_path / "parts", steps=7, ema_decay=0.9)
    second.resume()
    assert second.step == 4
    second.run(Deadline())
    one, other = (load_state(list_states(tmp_path / name / "states")[-1]) for name in ("whole", "parts"))
    for part in ("weights", "moments", "average"):
        first, again = getattr(one, part), getattr(other, part)
        assert first.keys() == again.keys() != set()
        assert all(torch.equal(first[key], again[key]) for key in first), part
    assert [row["loss"] for row in rows(tmp_path / "whole")] == [
        row["loss"] for row in rows(tmp_path / "parts")
    ]


def test_a_deadline_stops_with_a_state_to_resume(tmp_path):
    loop = make_loop(tmp_path)
    assert loop.run(Deadline(at=0.0)) is False
    assert [item.name for item in list_states(tmp_path / "states")] == ["step-000000000"]


def test_only_the_last_states_are_kept(tmp_path):
    make_loop(tmp_path, steps=7, run={"save_every": 1, "keep": 3}).run(Deadline())
    assert [item.name[-1] for item in list_states(tmp_path / "states")] == ["5", "6", "7"]


def test_another_config_does_not_go_on_with_this_state(tmp_path):
    make_loop(tmp_path, steps=2).run(Deadline())
    other = make_loop(tmp_path, steps=4)
    other._plan.identity["seed"] = 1
    with pytest.raises(OptionError, match="seed must be as it was when this run began: 0"):
        other.resume()


def test_a_loss_that_is_not_finite_stops_names_the_batch_and_keeps_the_state_before(tmp_path):
    values = [0.1 * n for n in range(1, 13)]
    order = Order([12], [1.0], 4, 0)
    poisoned = order(2).indices[1]
    values[poisoned] = float("nan")
    loop = make_loop(tmp_path, Line(values), steps=6, run={"save_every": 100})
    with pytest.raises(NonFiniteError, match=rf"loss of step 3 .*number {poisoned}\b"):
        loop.run(Deadline())
    healthy = make_loop(tmp_path / "healthy", steps=2)
    healthy.run(Deadline())
    state = load_state(list_states(tmp_path / "states")[-1])
    assert state.step == 2
    assert torch.equal(state.weights["weight"], weights(tmp_path / "healthy")["weight"])


def test_a_gradient_that_is_not_finite_stops_too(tmp_path):
    class Edge(Line):
        def losses(self, model, batch, where):
            return Losses(
                torch.sqrt((model.weight - model.weight.detach()).sum()), {}
            )  # 0, of slope infinity

    with pytest.raises(NonFiniteError, match="gradient of step 1"):
        make_loop(tmp_path, Edge(), steps=2).run(Deadline())
    assert torch.equal(weights(tmp_path)["weight"], torch.tensor([[0.5]]))


def test_a_full_disk_stops_and_leaves_the_earlier_state(tmp_path, monkeypatch):
    make_loop(tmp_path, steps=2).run(Deadline())

    def full(tensors, path):
        path.write_bytes(b"half of")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(state_module, "save_file", full)
    later = make_loop(tmp_path, steps=4)
    later.resume()
    with pytest.raises(NoSpaceError, match="disk is full"):
        later.run(Deadline())
    assert [item.name for item in (tmp_path / "states").iterdir()] == ["step-000000002"]
    assert load_state(list_states(tmp_path / "states")[-1]).step == 2


def test_a_full_disk_told_by_safetensors_is_recognised(tmp_path, monkeypatch):
    from safetensors import SafetensorError

    def full(tensors, path):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(state_module, "save_file", full)
    with pytest.raises(NoSpaceError):
        make_loop(tmp_path, steps=2).run(Deadline())


def test_a_damaged_state_says_which_folder_to_delete(tmp_path):
    make_loop(tmp_path, steps=2).run(Deadline())
    (tmp_path / "states" / "step-000000002" / "moments.safetensors").write_bytes(b"broken")
    with pytest.raises(CorruptFileError, match="step-000000002 cannot be read"):
        make_loop(tmp_path, steps=4).resume()


def test_examples_that_cannot_be_read_are_counted_in_log_and_state(tmp_path, caplog):
    make_loop(tmp_path, Line(broken=(3,)), steps=6).run(Deadline())
    assert int(float(rows(tmp_path)[-1]["skipped"])) == 2  # 12 examples, 24 drawn
    state = load_state(list_states(tmp_path / "states")[-1])
    assert state.facts["skipped"] == ["number 3 cannot be read"] * 2
    assert "number 3 cannot be read" in caplog.text


def test_lines_after_the_resumed_step_are_taken_from_the_log(tmp_path):
    make_loop(tmp_path, steps=4).run(Deadline())
    with (tmp_path / "log.csv").open("a") as file:
        file.write("5,0.1,0.1,0.01,0,1.0\n6,0.1,0")  # a run that was killed in the middle of a line
    second = make_loop(tmp_path, steps=6)
    second.resume()
    second.run(Deadline())
    assert [row["step"] for row in rows(tmp_path)] == ["1", "2", "3", "4", "5", "6"]


def test_sheets_of_pictures_are_kept(tmp_path):
    make_loop(tmp_path, steps=4, run={"pictures_every": 2}).run(Deadline())
    assert sorted(item.name for item in (tmp_path / "pictures").iterdir()) == [
        "step-000000002.png",
        "step-000000004.png",
    ]


def test_half_precision_needs_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(OptionError, match="mixed_precision must be"):
        make_accelerator(Accelerator(mixed_precision="fp16"))


def test_a_batch_that_cannot_be_shared_evenly_is_refused(tmp_path):
    class Three:
        num_processes = 3

    plan = Plan(Optimizer(), Schedule(steps=1, batch_size=4), Accelerator(), Run())
    with pytest.raises(OptionError, match="multiple of the number of processes, 3"):
        Loop(Line(), plan, tmp_path, Three())


def test_the_average_follows_its_recurrence():
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 0.0)
    average = WeightAverage(module, 0.5)
    expected = 0.0
    for step in range(1, 9):
        nn.init.constant_(module.weight, float(step))
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert average.tensors["weight"].item() == pytest.approx(expected, rel=1e-6)
    with average.applied():
        assert module.weight.item() == pytest.approx(expected, rel=1e-6)
    assert module.weight.item() == 8.0


def test_without_decay_there_is_no_average():
    module = nn.Linear(1, 1)
    average = WeightAverage(module, 0.0)
    average.update(1)
    with average.applied():
        assert average.tensors == {}


def test_without_accelerate_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(MissingExtraError, match=r'pip install "lotus-geometry\[train\]"'):
        make_accelerator(Accelerator())


def test_without_the_extra_the_command_names_it(monkeypatch, capsys, tmp_path):
    from lotus_core.cli.main import main

    for name in [name for name in sys.modules if name.startswith("lotus_core.training.config")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pydantic", None)
    assert main(["train", "config.yaml", "-o", str(tmp_path)]) == 2
    assert 'pip install "lotus-geometry[train]"' in capsys.readouterr().err


def test_a_state_is_written_by_the_clock_too(tmp_path, monkeypatch):
    """A run whose steps are slow loses minutes to a kill, not hours."""
    from lotus_core.training import loop as loop_module

    class Clock:
        now = 0.0

        @classmethod
        def time(cls):
            cls.now += 20.0  # every look at the clock is 20 seconds later
            return cls.now

    monkeypatch.setattr(loop_module, "time", Clock)
    make_loop(tmp_path, steps=12, run={"save_every": 1000, "save_minutes": 1, "keep": 20}).run(Deadline())
    steps = [int(path.name[5:]) for path in list_states(tmp_path / "states")]
    assert len(steps) >= 4
    assert steps[-1] == 12


def test_seconds_add_up_over_resumed_parts(tmp_path):
    make_loop(tmp_path, steps=2).run(Deadline())
    first = load_state(list_states(tmp_path / "states")[-1]).facts["seconds"]
    second = make_loop(tmp_path, steps=4)
    second.resume()
    second.run(Deadline())
    assert load_state(list_states(tmp_path / "states")[-1]).facts["seconds"] > first > 0


def test_the_log_gives_means_over_its_interval(tmp_path):
    make_loop(tmp_path / "each", steps=4, run={"log_every": 1}).run(Deadline())
    make_loop(tmp_path / "pairs", steps=4, run={"log_every": 2}).run(Deadline())
    each = [float(row["loss"]) for row in rows(tmp_path / "each")]
    pairs = [float(row["loss"]) for row in rows(tmp_path / "pairs")]
    assert pairs == pytest.approx([(each[0] + each[1]) / 2, (each[2] + each[3]) / 2], rel=1e-4)
