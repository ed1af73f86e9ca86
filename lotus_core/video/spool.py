"""The network's own maps of a clip, kept on disk between the two passes, and across an interruption.

A segment is a lossless video of 16-bit maps at the working size, and a file with all that the next
segment depends on. It counts once both are in place, so that a run that was killed goes on after the last whole one.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from ..errors import OptionError, StorageError, VideoError
from ..io.atomic import storage_error, write_bytes
from ..io.video import VideoInfo, require_av
from ..io.video_write import GREY16, RGB16, writing_video

SEGMENT: Final = 32
"""Frames of a segment: what is computed again at most."""

_LEVELS: Final = 65535.0
_JOB: Final = "job.json"
_CLOCK: Final = Fraction(1, 25)  # of the segments' own files; the real times are kept beside them


@dataclass(frozen=True)
class Segment:
    """Consecutive frames of a spool.

    Attributes:
        start: Number of the first frame.
        maps: (B, h, w) or (B, h, w, 3) float32 in [0, 1].
        ticks: Presentation times, in ticks of the video's time base.
    """

    start: int
    maps: Tensor
    ticks: tuple[int, ...]


class Spool:
    """A folder of segments.

    Args:
        folder: Where; made if missing.
        identity: What the maps depend on: a run with another one does not go on here. JSON values.
        resume: Whether a run that was begun here is gone on with.

    Raises:
        OptionError: The folder holds an unfinished run and `resume` is False, or one of another identity.
        StorageError: The folder cannot be written.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], *, resume: bool) -> None:
        self._folder = folder
        self._ticks: list[tuple[int, ...]] = []
        job = folder / _JOB
        text = json.dumps(identity, indent=2, sort_keys=True)
        if not job.is_file():
            write_bytes(job, text.encode())
            return
        if not resume:
            raise OptionError(
                "--resume", False, f"given: {folder} holds an unfinished run (or delete that folder)"
            )
        if job.read_text(encoding="utf-8") != text:
            raise OptionError(
                "--resume",
                True,
                f"left out: {folder} holds a run of another input, model or option (see {job})",
            )
        while (state := self._state_path(len(self._ticks))).is_file():
            self._ticks.append(tuple(_load(state)["ticks"].tolist()))

    @property
    def frames(self) -> int:
        """Number of frames in the spool."""
        return sum(len(ticks) for ticks in self._ticks)

    @property
    def ticks(self) -> tuple[int, ...]:
        """Presentation times of all frames."""
        return tuple(tick for segment in self._ticks for tick in segment)

    def add(self, maps: Tensor, ticks: list[int], state: Mapping[str, Tensor]) -> None:
        """Append a segment.

        Args:
            maps: (B, h, w) or (B, h, w, 3) float in [0, 1].
            ticks: Presentation times of the frames.
            state: What the next segment depends on.

        Raises:
            StorageError: The disk is full.
        """
        from safetensors.torch import save

        number = len(self._ticks)
        levels = (maps.clamp(0.0, 1.0) * _LEVELS).round().to(torch.int32).numpy().astype(np.uint16)
        height, width = levels.shape[1:3]
        like = VideoInfo(width, height, 0, None, 1 / _CLOCK, _CLOCK, Fraction(1), "", ())
        form = GREY16 if levels.ndim == 3 else RGB16
        with writing_video(self._folder / f"{number:06d}.mkv", form, like) as writer:
            for index, frame in enumerate(levels):
                writer.write(frame, index)
        tensors = {**state, "ticks": torch.tensor(ticks, dtype=torch.int64)}
        write_bytes(self._state_path(number), save({k: v.contiguous() for k, v in tensors.items()}))
        self._ticks.append(tuple(ticks))

    def states(self) -> Iterator[dict[str, Tensor]]:
        """Yield the state of every segment, in order."""
        for number in range(len(self._ticks)):
            yield _load(self._state_path(number))

    def last_state(self) -> dict[str, Tensor]:
        """Return the state of the last segment."""
        return _load(self._state_path(len(self._ticks) - 1))

    def segments(self) -> Iterator[Segment]:
        """Yield the segments in order, one in memory at a time.

        Raises:
            VideoError: A segment was altered or removed.
        """
        start = 0
        for number, ticks in enumerate(self._ticks):
            maps = self._read(self._folder / f"{number:06d}.mkv")
            if len(maps) != len(ticks):
                raise VideoError(
                    f"{self._folder} was altered",
                    found=f"{len(maps)} of {len(ticks)} frames in segment {number}",
                    remedy="delete the folder and start again",
                )
            yield Segment(start, maps, ticks)
            start += len(ticks)

    def remove(self) -> None:
        """Delete the folder, when all is written."""
        try:
            shutil.rmtree(self._folder)
        except OSError as error:
            raise storage_error(error, self._folder) from error

    def _state_path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.safetensors"

    def _read(self, path: Path) -> Tensor:
        av = require_av()
        try:
            with av.open(str(path)) as container:
                frames = [frame.to_ndarray() for frame in container.decode(video=0)]
        except av.error.FFmpegError as error:
            raise VideoError(
                f"{path} cannot be read", found=str(error), remedy="delete its folder and start again"
            ) from error
        return torch.from_numpy(np.stack(frames).astype(np.float32) / np.float32(_LEVELS))


def _load(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(path.read_bytes())
    except (SafetensorError, OSError) as error:
        raise StorageError(
            f"{path} cannot be read", found=str(error), remedy="delete its folder and start again"
        ) from error
