"""A run's state on disk: weights, optimiser, averages and step, whole or not at all, safetensors only."""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import CorruptFileError
from ..io.atomic import storage_error

_NAME = re.compile(r"step-(\d{9})")


@dataclass(frozen=True)
class TrainingState:
    """Everything that the next step depends on, besides the config.

    Attributes:
        step: Optimiser steps done.
        weights: Parameters and buffers by name, float32.
        moments: AdamW's ``NAME.exp_avg`` and ``NAME.exp_avg_sq``, float32, and ``NAME.step``.
        average: Averaged parameters by name, float32; empty without averaging.
        facts: The config, the loss scale, seconds spent, examples skipped: JSON values.
    """

    step: int
    weights: Mapping[str, Tensor]
    moments: Mapping[str, Tensor]
    average: Mapping[str, Tensor]
    facts: Mapping[str, Any]


def save_state(state: TrainingState, folder: Path, keep: int) -> Path:
    """Write a state beside the earlier ones, and delete all but the last `keep`.

    A process that is killed while it writes leaves the earlier states as they were.

    Args:
        state: What to write.
        folder: Of all states of the run.
        keep: States that stay.

    Returns:
        The folder of this state.

    Raises:
        NoSpaceError: The disk is full; the earlier states stay.
        StorageError: The disk refuses otherwise.
    """
    target = folder / f"step-{state.step:09d}"
    partial = folder / f".partial-{uuid.uuid4().hex[:8]}"
    try:
        partial.mkdir(parents=True)
        for name in ("weights", "moments", "average"):
            tensors: Mapping[str, Tensor] = getattr(state, name)
            _write(partial / f"{name}.safetensors", tensors)
        document = json.dumps({"step": state.step, **state.facts}, indent=1)
        (partial / "state.json").write_text(document, encoding="utf-8")
        if target.exists():  # the same step again: what is there is as good
            shutil.rmtree(target)
        os.replace(partial, target)  # noqa: PTH105
    except (OSError, SafetensorError) as error:
        # safetensors reports a full disk in its own error class
        known = error if isinstance(error, OSError) else _as_os_error(error)
        raise storage_error(known, target) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    for old in list_states(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    for leftover in folder.glob(".partial-*"):  # of a process that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    return target


def list_states(folder: Path) -> list[Path]:
    """Return the folders of complete states, the oldest first."""
    if not folder.is_dir():
        return []
    return sorted(item for item in folder.iterdir() if _NAME.fullmatch(item.name))


def load_state(folder: Path) -> TrainingState:
    """Return a state.

    Raises:
        CorruptFileError: A file of it is missing or damaged.
    """
    try:
        facts = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        parts = {
            name: load_file(folder / f"{name}.safetensors") for name in ("weights", "moments", "average")
        }
        return TrainingState(step=int(facts.pop("step")), facts=facts, **parts)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise CorruptFileError(
            f"the training state {folder.name} cannot be read",
            path=folder,
            found=str(error).splitlines()[0],
            remedy="delete this folder: the state before it is then resumed",
        ) from error


def moments_of(optimizer: torch.optim.Optimizer, names: Mapping[int, str]) -> dict[str, Tensor]:
    """Return an optimiser's state by parameter name.

    Args:
        optimizer: AdamW.
        names: Name of each parameter by its `id`.
    """
    found: dict[str, Tensor] = {}
    for parameter, values in optimizer.state.items():
        for key, value in values.items():
            tensor = value if isinstance(value, Tensor) else torch.tensor(float(value))
            found[f"{names[id(parameter)]}.{key}"] = tensor.detach()
    return found


def restore_moments(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, Tensor], moments: Mapping[str, Tensor]
) -> None:
    """Put an optimiser's state back; moments go to their parameter's device, step counts stay on the CPU."""
    for key, value in moments.items():
        name, _, kind = key.rpartition(".")
        parameter = parameters[name]
        moved = value.clone() if kind == "step" else value.to(parameter.device, copy=True)
        if (
            kind != "step"
            and parameter.dim() == 4
            and parameter.is_contiguous(memory_format=torch.channels_last)
        ):
            moved = moved.contiguous(memory_format=torch.channels_last)
        optimizer.state[parameter][kind] = moved


def _write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    save_file({key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}, path)
    with path.open("rb+") as file, suppress(OSError):  # some file systems know no fsync
        os.fsync(file.fileno())


def _as_os_error(error: SafetensorError) -> OSError:
    match = re.search(r"os error (\d+)", str(error))
    return OSError(int(match[1]) if match else 0, str(error))
