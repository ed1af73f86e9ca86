"""A batch of any length takes the memory of one chunk, and that of its results."""

from __future__ import annotations

import pytest

from benchmarks.long_batch import frames_of
from lotus_core.inference.model import load_model

FRAMES = 300


@pytest.fixture(scope="module")
def models():
    return [
        load_model(name, device="cpu", precision="fp32")
        for name in ("lotus-tiny-depth-d", "lotus-tiny-normal-d")
    ]


@pytest.mark.parametrize(
    ("kinds", "count", "numbers"), [(1, FRAMES, 1), (2, FRAMES // 2, 4)], ids=["depth", "joint"]
)
def test_the_last_frame_takes_no_more_memory_than_frame_30(models, kinds, count, numbers):
    """Small frames here; `python -m benchmarks long_batch` measures 256 pixels."""
    frames = frames_of(models[:kinds], count, 32, batch_size=15)
    early = next(frame.peak for frame in frames if frame.number >= 30)
    assert frames[-1].number == count
    assert frames[-1].peak <= early * 1.05
    assert early >= count * 32 * 32 * 4 * numbers, "the results were not counted"


def test_memory_grows_with_the_chunk_and_not_with_the_batch(models):
    small, large = (max(f.peak for f in frames_of(models[:1], 8, 64, batch_size=n)) for n in (2, 8))
    assert large > 2 * small
    longer = max(f.peak for f in frames_of(models[:1], 24, 64, batch_size=2))
    assert longer - small < 1.1 * 16 * 64 * 64 * 4, "only the results of 16 more frames"
