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

_inside: contextvars.ContextVar[bool] = contextvars.ContextVar("inside", default=False)
"""Whether this is such a job."""


def side_by_side(jobs: Sequence[Callable[[], T]], device: torch.device) -> list[T]:
    """Return the results of independent jobs, in their order.

    On the CPU they run at the same time, each in a thread with its share of torch's threads; on other devices, with
    fewer threads than jobs, or inside such a job, one after the other. Another call waits: results would differ in
    their last bits if they depended on who came first.

    Args:
        jobs: Called once each, from any thread; context variables are those of the caller.
        device: Where they compute.

    Raises:
        BaseException: What the first job that failed raised, once all have ended.
    """
    if device.type != "cpu" or len(jobs) < 2 or _inside.get():
        return [job() for job in jobs]
    with _alone:
        threads = torch.get_num_threads()
        return _share_out(jobs, threads) if len(jobs) <= threads else [job() for job in jobs]


def _share_out(jobs: Sequence[Callable[[], T]], threads: int) -> list[T]:
    inside = contextvars.copy_context()
    inside.run(_inside.set, True)
    try:
        torch.set_num_threads(threads // len(jobs))  # what threads that start now will use
        with ThreadPoolExecutor(len(jobs), thread_name_prefix="lotus") as pool:
            running = [pool.submit(inside.copy().run, job) for job in jobs]
        return [job.result() for job in running]
    finally:
        torch.set_num_threads(threads)
