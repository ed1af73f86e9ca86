"""Independent work at the same time on the CPU: two networks on half the threads each beat one after the other.

An operation rarely keeps every thread busy to its end: measured at 512x512 on two cores, the one step and the
decoding of two models take 0.90 of the time (fp32) when each has one core for itself.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")

_alone = threading.Lock()
"""Held while the number of torch's threads is divided: it belongs to the whole process."""


def side_by_side(jobs: Sequence[Callable[[], T]], device: torch.device) -> list[T]:
    """Return the results of independent jobs, in their order.

    On the CPU they run at the same time, each in a thread with its share of torch's threads; on other devices,
    with fewer threads than jobs, or while another call does so, one after the other.

    Args:
        jobs: Called once each, from any thread; context variables are those of the caller.
        device: Where they compute.

    Raises:
        BaseException: What the first job that failed raised, once all have ended.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or not 1 < len(jobs) <= threads or not _alone.acquire(blocking=False):
        return [job() for job in jobs]
    try:
        torch.set_num_threads(threads // len(jobs))  # what threads that start now will use
        with ThreadPoolExecutor(len(jobs), thread_name_prefix="lotus") as pool:
            running = [pool.submit(contextvars.copy_context().run, job) for job in jobs]
        return [job.result() for job in running]
    finally:
        torch.set_num_threads(threads)
        _alone.release()
