import threading
import time

import pytest

from lotus_core.batch.threads import Behind, ahead_of


class ExpectedError(Exception):
    pass


def ours():
    return [thread for thread in threading.enumerate() if thread.name.startswith("lotus-")]


# --- ahead


def test_items_come_in_order():
    assert list(ahead_of(iter(range(100)), 3)) == list(range(100))


def test_nothing_gives_nothing():
    assert list(ahead_of(iter([]), 3)) == []


def test_it_runs_ahead_but_not_further_than_it_may():
    begun = []

    def items():
        for index in range(50):
            begun.append(index)
            yield index

    taken = ahead_of(items(), 4)
    assert next(taken) == 0
    deadline = time.monotonic() + 5
    while len(begun) < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(begun) == 6  # one taken, four waiting, one in hand
    taken.close()


def test_it_runs_in_a_thread_of_its_own():
    names = list(ahead_of((threading.current_thread().name for _ in range(3)), 2))
    assert names == ["lotus-ahead"] * 3


def test_an_error_comes_after_the_items_before_it():
    def items():
        yield 1
        raise ExpectedError("here")

    taken = ahead_of(items(), 3)
    assert next(taken) == 1
    with pytest.raises(ExpectedError, match="here"):
        next(taken)


def test_closing_ends_the_thread():
    taken = ahead_of(iter(range(1000)), 2)
    next(taken)
    taken.close()
    assert ours() == []


# --- behind


def test_a_function_is_called_in_order():
    seen = []
    with Behind(seen.append, 3) as behind:
        for index in range(50):
            behind.put(index)
        behind.finish()
    assert seen == list(range(50))


def test_it_works_in_a_thread_of_its_own():
    names = []
    with Behind(lambda _: names.append(threading.current_thread().name), 1) as behind:
        behind.put(0)
        behind.finish()
    assert names == ["lotus-behind"]


def test_its_error_is_raised_where_items_are_put():
    def fail(item):
        raise ExpectedError(str(item))

    def feed(behind):
        for index in range(1000):
            behind.put(index)

    with Behind(fail, 1) as behind, pytest.raises(ExpectedError, match="0"):
        feed(behind)


def test_its_error_is_raised_at_the_end_at_the_latest():
    def fail(item):
        raise ExpectedError

    with Behind(fail, 10) as behind:
        behind.put(0)
        with pytest.raises(ExpectedError):
            behind.finish()


def test_after_an_error_nothing_more_is_called():
    seen = []

    def fail(item):
        seen.append(item)
        raise ExpectedError

    with Behind(fail, 10) as behind:
        behind.put(0)
        with pytest.raises(ExpectedError):
            behind.finish()
    assert seen == [0]


def test_putting_waits_when_too_much_is_waiting():
    release = threading.Event()
    with Behind(lambda _: release.wait(5), 2) as behind:
        for index in range(3):
            behind.put(index)
        blocked = threading.Thread(target=behind.put, args=(3,))
        blocked.start()
        blocked.join(0.2)
        assert blocked.is_alive()
        release.set()
        blocked.join(5)
        behind.finish()


def test_leaving_without_finishing_drops_what_waits():
    seen, hold = [], threading.Event()

    def slow(item):
        hold.wait(5)
        seen.append(item)

    with Behind(slow, 10) as behind:
        for index in range(5):
            behind.put(index)
        threading.Timer(0.15, hold.set).start()
    assert len(seen) <= 1
    assert ours() == []
