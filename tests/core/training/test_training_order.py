"""The order of examples is a function of seed and step."""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lotus_core.errors import CorruptSampleError
from lotus_core.training.feed import Feed
from lotus_core.training.order import Order, draws


def test_every_example_comes_once_before_any_comes_again():
    order = Order([12], [1.0], 4, seed=3)
    first = [index for step in range(3) for index in order(step).indices]
    second = [index for step in range(3, 6) for index in order(step).indices]
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second


def test_a_batch_can_cross_into_the_next_round():
    order = Order([5], [1.0], 4, seed=3)
    indices = [index for step in range(5) for index in order(step).indices]
    assert Counter(indices) == dict.fromkeys(range(5), 4)


def test_a_late_step_is_the_same_without_the_earlier_ones():
    def picks(steps):
        order = Order([50, 7], [9.0, 1.0], 8, seed=1)
        return {step: order(step) for step in steps}

    whole = picks(range(3000))
    late = picks([2999, 1500, 2])
    assert all(late[step] == whole[step] for step in late)


def test_sources_are_drawn_by_their_shares_and_never_mixed_in_a_batch():
    order = Order([1000, 50], [9.0, 1.0], 4, seed=8)
    sources = Counter(order(step).source for step in range(2000))
    assert sources[0] / 2000 == pytest.approx(0.9, abs=0.03)
    small = [index for step in range(2000) if order(step).source == 1 for index in order(step).indices]
    assert sorted(small[:50]) == sorted(small[50:100]) != small[:50]


def test_another_seed_is_another_order():
    assert Order([100], [1.0], 10, seed=1)(0) != Order([100], [1.0], 10, seed=2)(0)


def test_draws_repeat_by_step_and_differ_by_step_seed_and_purpose():
    def number(*key):
        return torch.rand(1, generator=draws(*key)).item()

    assert number(4, 9, 1) == number(4, 9, 1)
    assert len({number(4, 9, 1), number(4, 9, 2), number(4, 10, 1), number(5, 9, 1)}) == 4


def test_drawing_leaves_torchs_own_numbers_alone():
    torch.manual_seed(11)
    expected = torch.rand(1)
    torch.manual_seed(11)
    torch.rand(3, generator=draws(1, 2, 3))
    assert torch.equal(torch.rand(1), expected)


class Numbers:
    """Examples that are their own index; some cannot be read."""

    def __init__(self, count, broken=()):
        self.count, self.broken = count, set(broken)

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if index in self.broken:
            raise CorruptSampleError(
                f"picture-{index}.png cannot be read", path=f"{index}.png", remedy="fetch it again"
            )
        return index


def feed(source, processes=1, rank=0, workers=1):
    order = Order([len(source)], [1.0], 4, seed=0)
    return Feed(
        [source],
        order,
        lambda items, step, first: (list(items), step, first),
        rank=rank,
        processes=processes,
        workers=workers,
    )


def test_processes_share_a_batch_without_gap_or_overlap():
    whole = feed(Numbers(20)).at(2).batch
    parts = [feed(Numbers(20), 2, rank).at(2).batch for rank in range(2)]
    assert parts[0][0] + parts[1][0] == whole[0]
    assert [part[2] for part in parts] == [0, 2]


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_come_in_order_from_any_step_on(workers):
    stream = feed(Numbers(20), workers=workers).from_step(7)
    assert [next(stream).batch[1] for _ in range(6)] == [7, 8, 9, 10, 11, 12]
    stream.close()


def test_what_cannot_be_read_is_skipped_counted_and_named(caplog):
    broken = feed(Numbers(20)).at(0).batch[0][1]
    fed = feed(Numbers(20, [broken])).at(0)
    assert len(fed.batch[0]) == 4
    assert broken not in fed.batch[0]
    assert (broken + 1) % 20 in fed.batch[0]
    assert [error.problem for error in fed.skipped] == [f"picture-{broken}.png cannot be read"]
    assert f"picture-{broken}.png" in caplog.text


def test_a_source_that_cannot_be_read_at_all_is_an_error():
    with pytest.raises(CorruptSampleError, match="16 examples in a row cannot be read"):
        feed(Numbers(40, range(40))).at(0)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    batch_size=st.integers(1, 9),
    seed=st.integers(0, 2**31),
)
def test_every_source_is_gone_through_evenly(sizes, batch_size, seed):
    """However batches fall, no example of a source is ever two rounds ahead of another."""
    order = Order(sizes, [1.0] * len(sizes), batch_size, seed)
    seen = [Counter() for _ in sizes]
    for step in range(60):
        pick = order(step)
        assert 0 <= pick.source < len(sizes)
        assert len(pick.indices) == batch_size
        seen[pick.source].update(pick.indices)
    for size, counts in zip(sizes, seen, strict=True):
        numbers = [counts[index] for index in range(size)]
        assert max(numbers) - min(numbers) <= 1
        assert set(counts) <= set(range(size))


@settings(max_examples=30, deadline=None)
@given(steps=st.lists(st.integers(0, 400), min_size=1, max_size=12), seed=st.integers(0, 1000))
def test_asking_in_any_order_changes_nothing(steps, seed):
    jumping, walking = (Order([13, 5], [2.0, 1.0], 4, seed) for _ in range(2))
    walked = [walking(step) for step in range(401)]
    assert [jumping(step) for step in steps] == [walked[step] for step in steps]


@settings(max_examples=40, deadline=None)
@given(
    broken=st.sets(st.integers(0, 19), max_size=12),
    step=st.integers(0, 200),
    processes=st.sampled_from([1, 2, 4]),
)
def test_a_part_is_always_full_and_never_holds_what_is_broken(broken, step, processes):
    parts = [feed(Numbers(20, broken), processes, rank).at(step) for rank in range(processes)]
    items = [item for part in parts for item in part.batch[0]]
    assert len(items) == 4
    assert not set(items) & broken
    wanted = feed(Numbers(20)).at(step).batch[0]
    kept = [item for item in wanted if item not in broken]
    assert all(item in items for item in kept)


def test_batches_that_were_read_ahead_are_let_go_when_a_run_ends():
    import threading

    before = threading.active_count()
    stream = feed(Numbers(20), workers=4).from_step(0)
    next(stream)
    stream.close()
    assert threading.active_count() <= before


def test_an_error_of_the_data_set_reaches_the_loop():
    class Broken(Numbers):
        def __getitem__(self, index):
            raise RuntimeError("the disk is gone")

    stream = feed(Broken(8)).from_step(0)
    with pytest.raises(RuntimeError, match="the disk is gone"):
        next(stream)
