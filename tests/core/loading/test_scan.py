"""NaN and infinity in weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lotus_core.errors import CorruptFileError
from lotus_core.loading.scan import NonFiniteTensor, scan_nonfinite

from .samples import MINI, WEIGHTS


def test_a_sound_file_has_none() -> None:
    assert scan_nonfinite(MINI["d"] / "unet" / WEIGHTS) == ()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_every_such_number_is_counted_by_tensor(tmp_path: Path, dtype: torch.dtype) -> None:
    bad = torch.zeros(3, 5, dtype=dtype)
    bad[0, 0] = bad[2, 4] = float("nan")
    bad[1, 1], bad[1, 2], bad[1, 3] = float("inf"), float("-inf"), float("inf")
    path = tmp_path / "x.safetensors"
    save_file({"good": torch.ones(4, dtype=dtype), "bad": bad}, path)
    assert scan_nonfinite(path) == (NonFiniteTensor("bad", nan=2, infinite=3),)


def test_eight_bit_floats_are_scanned(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.tensor([1.0, float("nan")]).to(torch.float8_e4m3fn)}, path)
    assert scan_nonfinite(path) == (NonFiniteTensor("a", nan=1, infinite=0),)


def test_the_last_number_of_a_long_tensor_is_seen(tmp_path: Path) -> None:
    long = torch.zeros(4 * 2**20 + 1, dtype=torch.float16)
    long[-1] = float("inf")
    path = tmp_path / "x.safetensors"
    save_file({"long": long, "whole": torch.zeros(3, dtype=torch.int64), "none": torch.zeros(0)}, path)
    assert scan_nonfinite(path) == (NonFiniteTensor("long", nan=0, infinite=1),)


def test_progress_ends_at_all_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(10), "b": torch.zeros(6, dtype=torch.float16)}, path)
    seen: list[tuple[int, int]] = []
    scan_nonfinite(path, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (52, 52)
    assert len(seen) == 2


def test_a_corrupt_file_is_refused_before_it_is_scanned(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes((MINI["d"] / "unet" / WEIGHTS).read_bytes()[:100_000])
    with pytest.raises(CorruptFileError, match="fetch it again"):
        scan_nonfinite(path)
