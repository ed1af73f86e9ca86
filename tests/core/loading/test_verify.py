"""Looking at every byte of a checkpoint: the bundled one, and copies of it damaged in known places."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lotus_core.loading.catalog import require
from lotus_core.loading.entry import LocalCheckpoint, RemoteFile
from lotus_core.loading.lock import LockRecord, sha256_of, write_lock
from lotus_core.loading.store import Places, find
from lotus_core.loading.verify import check_checkpoint, check_file


@pytest.fixture
def local(tmp_path: Path) -> LocalCheckpoint:
    """A copy of a bundled checkpoint."""
    bundled = find(require("lotus-tiny-depth-d"), Places())
    assert bundled is not None
    assert bundled.vae is not None
    unet, vae = tmp_path / "unet.safetensors", tmp_path / "vae.safetensors"
    shutil.copyfile(bundled.unet, unet)
    shutil.copyfile(bundled.vae, vae)
    return replace(bundled, unet=unet, vae=vae)


def record(path: Path) -> None:
    size = path.stat().st_size
    write_lock(
        path, LockRecord("owner/name", "b" * 40, path.name, size, sha256_of(path), path.stat().st_mtime_ns)
    )


def test_a_sound_checkpoint_has_no_problems(local: LocalCheckpoint) -> None:
    record(local.unet)
    unet, vae = check_checkpoint(local)
    assert (unet.part, unet.recorded, unet.problems) == ("unet", True, ())
    assert (vae.part, vae.recorded, vae.problems) == ("vae", False, ())
    assert unet.bytes == local.unet.stat().st_size


def test_one_changed_byte_is_found_by_its_record(local: LocalCheckpoint) -> None:
    record(local.unet)
    times = (local.unet.stat().st_atime_ns, local.unet.stat().st_mtime_ns)
    raw = bytearray(local.unet.read_bytes())
    raw[-100] ^= 1
    local.unet.write_bytes(raw)
    os.utime(local.unet, ns=times)  # as a fault of the disk would: only the content tells
    (problem,) = check_file(local.unet, "unet", config=local.unet_config).problems
    assert "is not the file that was recorded (found: sha256" in problem


def test_nan_and_infinity_are_named_with_their_tensor(local: LocalCheckpoint) -> None:
    tensors = load_file(local.unet)
    tensors["conv_in.bias"][:3] = torch.tensor([float("nan"), float("inf"), float("-inf")])
    save_file(tensors, local.unet)
    checked = check_file(local.unet, "unet", config=local.unet_config)
    assert checked.problems == ("conv_in.bias holds 1 NaN and 2 infinite values",)


def test_a_missing_tensor_is_named(local: LocalCheckpoint) -> None:
    tensors = load_file(local.unet)
    del tensors["conv_out.bias"]
    save_file(tensors, local.unet)
    (problem,) = check_file(local.unet, "unet", config=local.unet_config).problems
    assert "conv_out.bias" in problem


def test_a_vae_in_the_place_of_a_unet_is_said(local: LocalCheckpoint) -> None:
    assert local.vae is not None
    (problem,) = check_file(local.vae, "unet").problems
    assert "is not a Lotus UNet" in problem


def test_a_truncated_file_is_said(local: LocalCheckpoint) -> None:
    local.unet.write_bytes(local.unet.read_bytes()[:5000])
    (problem,) = check_file(local.unet, "unet", config=local.unet_config).problems
    assert local.unet.name in problem


def test_a_hash_that_the_catalogue_knows_is_compared_without_a_record(local: LocalCheckpoint) -> None:
    size = local.unet.stat().st_size
    known = RemoteFile("owner/name", "x", size, size, sha256_of(local.unet))
    assert check_file(local.unet, "unet", config=local.unet_config, known=known).recorded
    wrong = replace(known, sha256="0" * 64)
    (problem,) = check_file(local.unet, "unet", config=local.unet_config, known=wrong).problems
    assert problem == "unet.safetensors is not the file of owner/name: its sha256 differs"


def test_progress_ends_at_the_number_of_bytes(local: LocalCheckpoint) -> None:
    seen: list[tuple[int, int]] = []
    check_file(
        local.unet, "unet", config=local.unet_config, progress=lambda done, total: seen.append((done, total))
    )
    assert seen[-1][0] == seen[-1][1] > 0
