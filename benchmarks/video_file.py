"""Memory and speed of `lotus video` on a short and a long file: `python -m benchmarks video_file`.

Both files are made here: a photograph that drifts across the picture, with noise. Each is worked
on by a process of its own, whose peak of resident memory is read when it ends.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from lotus_core.io.video import VideoInfo
from lotus_core.io.video_write import PREVIEW, writing_video

from . import report
from .batch import PHOTOS

GROWTH_BAR = 1.2


@dataclass(frozen=True)
class Measured:
    """One file.

    Attributes:
        seconds: Length of the video.
        frames: Number of its frames.
        peak_mib: Most memory that the process held.
        ms_per_frame: Milliseconds for each frame, all included.
    """

    seconds: float
    frames: int
    peak_mib: float
    ms_per_frame: float


def main(argv: list[str]) -> int:
    """Run the benchmark; 1 where the long file needs 1.2 times the memory of the short one, or more."""
    parser = report.parser("video_file", __doc__ or "")
    parser.add_argument("--seconds", type=float, nargs=2, default=(2.0, 60.0), metavar=("SHORT", "LONG"))
    parser.add_argument("--rate", type=int, default=24, help="frames a second")
    parser.add_argument("--size", type=int, nargs=2, default=(1920, 1080), metavar=("W", "H"))
    parser.add_argument("--model", default="lotus-tiny-depth-d")
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--format", default="mp4,ffv1")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        return _child(options.child)
    facts = report.start(options)
    found = [measure(seconds, options) for seconds in options.seconds]
    columns = ("seconds", "frames", "peak MiB", "ms a frame")
    title = (
        f"lotus video, {options.size[0]}x{options.size[1]}, {options.format}, resolution {options.resolution}"
    )
    report.table(title, columns, [(m.seconds, m.frames, m.peak_mib, m.ms_per_frame) for m in found])
    growth = found[1].peak_mib / found[0].peak_mib
    print(f"\nmemory of the long file over that of the short one: {growth:.3f} (bar {GROWTH_BAR})")
    report.finish(options, {"machine": facts, "growth": growth, "files": [asdict(m) for m in found]})
    return int(growth >= GROWTH_BAR)


def measure(seconds: float, options: argparse.Namespace) -> Measured:
    """Return memory and time of one length."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in.mp4"
        frames = write_file(source, round(seconds * options.rate), options.rate, *options.size)
        words = ["video", str(source), "-o", str(Path(folder) / "out"), "-q"]
        words += [
            "--model",
            options.model,
            "--resolution",
            str(options.resolution),
            "--format",
            options.format,
        ]
        command = [sys.executable, "-m", "benchmarks", "video_file", "--child", json.dumps(words)]
        ran = subprocess.run(command, check=True, capture_output=True, text=True)
    peak_kib, spent = json.loads(ran.stdout.splitlines()[-1])
    return Measured(seconds, frames, peak_kib / 1024, spent * 1e3 / frames)


def _child(words: list[str]) -> int:
    from lotus_core.cli.main import main as lotus

    start = time.perf_counter()
    code = lotus(json.loads(words[0]))
    print(json.dumps([resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter() - start]))
    return code


def write_file(path: Path, count: int, rate: int, width: int, height: int) -> int:
    """Write a video and return its number of frames."""
    like = VideoInfo(width, height, 0, count, Fraction(rate), Fraction(1, rate), Fraction(1), "h264", ())
    with writing_video(path, PREVIEW, like) as writer:
        for index, frame in enumerate(drifting(count, width, height)):
            writer.write(frame, index)
    return count


def drifting(count: int, width: int, height: int) -> Iterator[np.ndarray]:
    """Yield (H, W, 3) uint8 frames of a photograph that drifts to the left, with some noise."""
    photo = Image.open(PHOTOS / "lobby.jpg").convert("RGB")
    wide = np.asarray(photo.resize((width + width // 4, height)))
    generator = np.random.default_rng(0)
    grain = generator.integers(-4, 5, (height, width, 1), dtype=np.int16)
    for index in range(count):
        left = round((width // 4) * index / max(count - 1, 1))
        frame = wide[:, left : left + width].astype(np.int16) + np.roll(grain, index, axis=0)
        yield frame.clip(0, 255).astype(np.uint8)
