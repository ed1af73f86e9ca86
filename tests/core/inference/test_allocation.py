"""Freed memory that a process keeps: asked for once, counted as free, and never by the library itself."""

import platform
import subprocess
import sys

import pytest

from lotus_core.inference import allocation, placement
from lotus_core.inference.placement import available_ram

glibc = pytest.mark.skipif(
    platform.system() != "Linux" or platform.libc_ver()[0] != "glibc", reason="the allocator is not glibc's"
)


def in_process(code: str) -> list[str]:
    """What a fresh process prints: the switch belongs to a whole process."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


COUNT_FAULTS = """
import resource, torch
from lotus_core.inference.allocation import keep_freed_memory, kept_bytes
{ask}
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16 * 2**20)  # 64 MiB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
for _ in range(20):  # aligned tensors leave gaps at first
    faults()
print(faults(), kept_bytes())
"""


@glibc
def test_kept_memory_is_not_faulted_in_again_and_is_counted():
    faults, kept = map(int, in_process(COUNT_FAULTS.format(ask="assert keep_freed_memory()")))
    assert faults < 1000  # 64 MiB are 16,384 pages of 4 KiB
    assert kept >= 64 * 2**20


@glibc
def test_without_it_nothing_is_kept():
    _, kept = map(int, in_process(COUNT_FAULTS.format(ask="")))
    assert kept == 0


@glibc
def test_memory_of_another_thread_is_kept_too():
    code = """
import threading, torch
from lotus_core.inference.allocation import keep_freed_memory, kept_bytes
assert keep_freed_memory() and keep_freed_memory()
thread = threading.Thread(target=lambda: torch.ones(16 * 2**20))
thread.start(); thread.join()
print(kept_bytes())
"""
    assert int(in_process(code)[0]) >= 64 * 2**20


def test_what_is_kept_counts_as_free(monkeypatch):
    monkeypatch.setattr(placement, "_free_ram", lambda: 1000)
    monkeypatch.setattr(placement, "kept_bytes", lambda: 24)
    assert available_ram() == 1024


@pytest.mark.parametrize(
    ("system", "libc"), [("Darwin", ("", "")), ("Windows", ("", "")), ("Linux", ("musl", "1.2"))]
)
def test_another_allocator_is_left_alone(monkeypatch, system, libc):
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "libc_ver", lambda: libc)
    monkeypatch.setattr(allocation, "_kept", False)
    assert not allocation.keep_freed_memory()
    assert allocation.kept_bytes() == 0


def test_an_allocator_that_refuses_keeps_nothing(monkeypatch):
    class Refuses:
        mallinfo2 = None

        @staticmethod
        def mallopt(option, value):
            return int(option != -4)

    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(allocation.ctypes, "CDLL", lambda _: Refuses)
    monkeypatch.setattr(allocation, "_kept", False)
    assert not allocation.keep_freed_memory()
