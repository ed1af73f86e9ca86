from __future__ import annotations

import contextvars
import threading

import pytest
import torch

from lotus_core.inference.side_by_side import side_by_side

CPU = torch.device("cpu")


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("four_threads")
def test_results_keep_the_order_of_the_jobs():
    second_is_done = threading.Event()

    def first():
        assert second_is_done.wait(30)  # ends last
        return "first"

    def second():
        second_is_done.set()
        return "second"

    assert side_by_side([first, second], CPU) == ["first", "second"]


@pytest.mark.usefixtures("four_threads")
def test_each_job_has_its_share_of_the_threads():
    assert side_by_side([torch.get_num_threads] * 2, CPU) == [2, 2]
    assert side_by_side([torch.get_num_threads] * 3, CPU) == [1, 1, 1]


@pytest.mark.usefixtures("four_threads")
def test_the_number_of_threads_is_restored():
    side_by_side([lambda: 1, lambda: 2], CPU)
    assert torch.get_num_threads() == 4


@pytest.mark.usefixtures("four_threads")
def test_a_failure_is_raised_when_all_have_ended_and_leaves_the_threads_as_they_were():
    ended = []

    def fails():
        raise KeyboardInterrupt("stop")

    with pytest.raises(KeyboardInterrupt, match="stop"):
        side_by_side([fails, lambda: ended.append(True)], CPU)
    assert ended == [True]
    assert torch.get_num_threads() == 4
    assert side_by_side([lambda: 1, lambda: 2], CPU) == [1, 2]  # not locked out


@pytest.mark.usefixtures("four_threads")
@pytest.mark.parametrize(("device", "count"), [("cuda", 2), ("cpu", 1), ("cpu", 5)])
def test_one_after_the_other_where_there_is_nothing_to_gain(device, count):
    here = threading.get_ident()
    assert side_by_side([threading.get_ident] * count, torch.device(device)) == [here] * count
    assert torch.get_num_threads() == 4


@pytest.mark.usefixtures("four_threads")
def test_a_call_inside_a_call_does_not_divide_the_threads_again():
    def inner():
        here = threading.get_ident()
        return side_by_side([threading.get_ident, threading.get_ident], CPU) == [here, here]

    assert side_by_side([inner, inner], CPU) == [True, True]


@pytest.mark.usefixtures("four_threads")
def test_jobs_see_the_context_of_the_caller():
    variable = contextvars.ContextVar("variable", default="outside")
    variable.set("inside")
    assert side_by_side([variable.get, variable.get], CPU) == ["inside", "inside"]


@pytest.mark.usefixtures("four_threads")
def test_matrix_products_side_by_side_are_right():
    a = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    left, right = side_by_side([lambda: a @ a, lambda: a.T @ a], CPU)
    torch.testing.assert_close(left, a @ a)
    torch.testing.assert_close(right, a.T @ a)


def test_no_jobs_have_no_results():
    assert side_by_side([], CPU) == []


@pytest.mark.usefixtures("four_threads")
def test_a_second_caller_waits_for_its_share():
    shares = []

    def call():
        shares.append(side_by_side([torch.get_num_threads] * 2, CPU))

    callers = [threading.Thread(target=call) for _ in range(3)]
    torch.set_num_threads(4)
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(30)
    assert shares == [[2, 2]] * 3
    assert torch.get_num_threads() == 4
