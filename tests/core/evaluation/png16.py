"""Writes 16-bit colour PNGs, which Pillow cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from lotus_core.io.png import write_png16


def save_rgb16(path: Path, array: np.ndarray) -> None:
    write_png16(path, torch.from_numpy(array.astype(np.float64) / 65535.0))
