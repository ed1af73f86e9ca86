"""An iterator that runs ahead in a thread, and a function that works behind in one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

_TICK = 0.1  # seconds after which a blocked thread looks whether it is still wanted


@dataclass(frozen=True)
class _End:
    """What the thread of `ahead_of` leaves last."""

    error: BaseException | None


def ahead_of(items: Iterator[T], count: int) -> Generator[T, None, None]:
    """Yield the items of an iterator that runs in a thread of its own, up to ``count`` items ahead.

    What it raises is raised here. The thread ends when this generator is closed.
    """
    stop = threading.Event()
    waiting: queue.Queue[T | _End] = queue.Queue(count)

    def put(item: T | _End) -> None:
        while not stop.is_set():
            try:
                waiting.put(item, timeout=_TICK)
            except queue.Full:
                continue
            return

    def run() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                put(item)
                if stop.is_set():
                    return
        except BaseException as caught:  # noqa: BLE001 (raised again where the items are taken)
            error = caught
        put(_End(error))

    thread = threading.Thread(target=run, name="lotus-ahead", daemon=True)
    thread.start()
    try:
        while not isinstance(item := waiting.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stop.set()
        thread.join()


class Behind(AbstractContextManager["Behind[T]"], Generic[T]):
    """Calls a function on items in the order in which they were put, in a thread of its own.

    Args:
        function: Called with every item. After it has raised, nothing more is called.
        count: Items that may wait before `put` does.
    """

    def __init__(self, function: Callable[[T], None], count: int) -> None:
        self._function = function
        self._waiting: queue.Queue[T | _End] = queue.Queue(count)
        self._error: BaseException | None = None
        self._abandoned = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lotus-behind", daemon=True)
        self._thread.start()

    def put(self, item: T) -> None:
        """Hand an item over; raises what the function has raised, on this item or an earlier one."""
        self._wait_put(item)

    def finish(self) -> None:
        """Wait until all items are done; raises what the function has raised."""
        self._wait_put(_End(None))
        self._thread.join()
        if self._error is not None:
            raise self._error

    def __exit__(self, *exc: object) -> None:
        self._abandoned.set()
        self._thread.join()

    def _wait_put(self, item: T | _End) -> None:
        while True:
            if self._error is not None:
                raise self._error
            try:
                self._waiting.put(item, timeout=_TICK)
            except queue.Full:
                continue
            return

    def _run(self) -> None:
        while not self._abandoned.is_set():
            try:
                item = self._waiting.get(timeout=_TICK)
            except queue.Empty:
                continue
            if isinstance(item, _End):
                return
            try:
                self._function(item)
            except BaseException as error:  # noqa: BLE001 (raised again where items are put)
                self._error = error
                return
