"""Memory over a long batch: ``python -m benchmarks long_batch`` estimates 300 frames at 256 pixels."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lotus_core.inference.model import LotusModel, load_model
from lotus_core.inference.options import InferenceOptions
from lotus_core.inference.predict import predict_depth, predict_joint

from .live_memory import LiveBytes


@dataclass(frozen=True)
class Frame:
    """Memory when one frame was finished.

    Attributes:
        number: Frames done.
        peak: Most bytes of tensors alive so far, results included, pictures not.
        resident: Bytes of main memory that the process holds; 0 where the system does not say.
    """

    number: int
    peak: int
    resident: int


def frames_of(models: Sequence[LotusModel], count: int, side: int, batch_size: int) -> list[Frame]:
    """Estimate a batch and return its memory after every chunk.

    Args:
        models: A depth model, or a depth and a normal model.
        count: Number of frames, noise.
        side: Their height and width.
        batch_size: Frames at once.
    """
    pictures = torch.rand(1, side, side, 3).expand(count, -1, -1, -1)
    found: list[Frame] = []
    with LiveBytes() as live:

        def note(done: int, total: int, preview: Tensor) -> None:
            found.append(Frame(done * count // total, live.peak, _resident()))

        options = InferenceOptions(resolution=side, batch_size=batch_size)
        if len(models) == 1:
            predict_depth(models[0], pictures, options, progress=note)
        else:  # as the nodes do: cameras and surfaces are resolved picture by picture, where they are asked for
            predict_joint(models[0], models[1], pictures, options, progress=note)
    return found


def main(argv: list[str]) -> int:
    """Print peak and resident memory at frame 30, and at every hundredth frame."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks long_batch", description=__doc__)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--joint", action="store_true", help="depth and normals")
    options = parser.parse_args(argv)
    names = ["lotus-tiny-depth-d", "lotus-tiny-normal-d"][: 1 + options.joint]
    models = [load_model(name, device="cpu", precision="fp32") for name in names]
    found = frames_of(models, options.frames, options.side, options.batch_size)
    early = next(frame for frame in found if frame.number >= 30)
    for frame in [early, *(frame for frame in found if frame.number % 100 == 0)]:
        ratio = frame.peak / early.peak
        print(
            f"frame {frame.number:4}: peak {frame.peak / 2**20:7.1f} MiB of tensors ({ratio:.3f} of frame "
            f"{early.number}), {frame.resident / 2**20:7.1f} MiB resident"
        )
    return 0


def _resident() -> int:
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * 4096 if status.exists() else 0
