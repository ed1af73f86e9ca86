"""Video files, read frame by frame with PyAV. Needs the extra "video".

Convention:
    Frames are handed out upright: what a file's display matrix asks for (the "rotation flag" of phones) is done.
    Angles are degrees counter-clockwise, multiples of 90, as FFmpeg tells them.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np

from ..errors import MissingExtraError, VideoError
from .pacing import Loss, Pace

VIDEO_SUFFIXES: Final = frozenset(
    (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".gif")
)
"""Suffixes, in lower case, by which video files are told."""

_HD_HEIGHT: Final = 720  # from here on a colour matrix that is not told is taken for BT.709, as players do
_UNSPECIFIED: Final = 2  # AVCOL_SPC_UNSPECIFIED
_BT709: Final = 1  # AVCOL_SPC_BT709
_BT601: Final = 5  # AVCOL_SPC_BT470BG: swscale's BT.601


@dataclass(frozen=True)
class VideoInfo:
    """What a video file says of itself.

    Attributes:
        width: Of an upright frame, in pixels.
        height: Of an upright frame, in pixels.
        rotation: Degrees counter-clockwise by which stored frames are turned for display: 0, 90, 180 or -90.
        frames: Number of frames that the container states, or None.
        rate: Average frames per second, or None.
        time_base: Seconds per tick of the frames' times.
        aspect: Width over height of a stored pixel; 1 but for anamorphic video.
        codec: Name of the video codec.
        audio: Names of the audio codecs, one per stream.
    """

    width: int
    height: int
    rotation: int
    frames: int | None
    rate: Fraction | None
    time_base: Fraction
    aspect: Fraction
    codec: str
    audio: tuple[str, ...]


@dataclass(frozen=True)
class DecodedFrame:
    """One frame.

    Attributes:
        rgb: (H, W, 3) uint8, upright.
        ticks: Presentation time in ticks of the file's time base.
    """

    rgb: np.ndarray
    ticks: int


class VideoReader(AbstractContextManager["VideoReader"]):
    """Reads one video stream from its beginning.

    A damaged packet is left out and noted, and reading goes on; a file that ends too early ends the frames. What
    was lost is in `losses` when the frames have ended.

    Args:
        path: The file.

    Attributes:
        info: What the file says of itself.
        losses: What could not be read so far.

    Raises:
        MissingExtraError: PyAV is not installed.
        VideoError: No such file, or no video stream in it.
    """

    def __init__(self, path: str | Path) -> None:
        self._av = require_av()
        self._path = Path(path)
        self._container = _open(self._av, self._path)
        streams = self._container.streams.video
        if not streams:
            self._container.close()
            raise VideoError(f"{path} holds no video", found="no video stream", remedy="name a video file")
        self._stream = streams[0]
        self._stream.thread_type = "AUTO"
        self.losses: list[Loss] = []
        self._frames = self._decoded()
        self._first = next(self._frames, None)
        if self._first is None:
            reason = self.losses[0].reason if self.losses else "no frame"
            self._container.close()
            raise VideoError(
                f"no frame of {path} can be read", found=reason, remedy="copy or download the file again"
            )
        self.info = self._describe(self._first)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def frames(self, skip: int = 0) -> Iterator[DecodedFrame]:
        """Yield the frames in the order of their display, once.

        Args:
            skip: Leave out so many at the beginning; they are decoded all the same, so that no seek can
                land on another frame.
        """
        count, last = 0, None
        pace = Pace(self.info.time_base) if self.info.frames is None else None
        for frame in self._all():
            ticks = self._ticks(frame, last)
            if pace is not None and last is not None:
                self.losses.extend(pace.step(ticks - last, count))
            last = ticks
            if count >= skip:
                yield DecodedFrame(self._rgb(frame), ticks)
            count += 1
        self.losses.extend(self._missing(count, last or 0))

    def _missing(self, count: int, last: int) -> Iterator[Loss]:
        """Yield what the file states to hold beyond its last frame."""
        stated = self.info.frames
        if stated is not None:
            if count < stated:
                yield Loss(count, f"{stated - count} of {stated} frames that the file states are missing")
            return
        length, rate = self._container.duration, self.info.rate or Fraction(25)
        end, start = (
            float(last * self.info.time_base + 1 / rate),
            float(self._container.start_time or 0) / 1e6,
        )
        if length is not None and end + 2.0 / float(rate) < length / 1e6 + start:
            yield Loss(count, f"the file ends at {end:.2f} s of {length / 1e6 + start:.2f} s that it states")

    def _all(self) -> Iterator[Any]:
        if self._first is not None:
            first, self._first = self._first, None
            yield first
            yield from self._frames

    def _decoded(self) -> Iterator[Any]:
        """Yield PyAV's frames; what fails is noted and left out."""
        count = 0
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except self._av.error.FFmpegError as error:  # the container itself is damaged from here on
                self.losses.append(Loss(count, f"reading stopped: {_said(error)}"))
                return
            try:
                frames = packet.decode()
            except self._av.error.FFmpegError as error:
                self.losses.append(Loss(count, f"a packet cannot be decoded: {_said(error)}"))
                continue
            for frame in frames:
                if frame.is_corrupt:
                    self.losses.append(Loss(count, "a damaged frame was repaired by the decoder"))
                count += 1
                yield frame

    def _ticks(self, frame: Any, last: int | None) -> int:
        """Return a frame's time; where the file has none, one average frame after the last."""
        if frame.pts is not None and (last is None or frame.pts > last):
            return int(frame.pts)
        rate = self.info.rate or Fraction(25)
        step = max(1, round(1 / (rate * self.info.time_base)))
        return 0 if last is None else last + step

    def _describe(self, first: Any) -> VideoInfo:
        stream = self._stream
        rotation = round(first.rotation / 90) * 90 % 360
        turned = rotation in (90, 270)
        return VideoInfo(
            width=first.height if turned else first.width,
            height=first.width if turned else first.height,
            rotation=rotation - 360 if rotation > 180 else rotation,
            frames=stream.frames or None,
            rate=stream.average_rate,
            time_base=stream.time_base,
            aspect=stream.sample_aspect_ratio or Fraction(1),
            codec=stream.codec_context.name,
            audio=tuple(audio.codec_context.name for audio in self._container.streams.audio),
        )

    def _rgb(self, frame: Any) -> np.ndarray:
        """Return a frame upright, at the size of the first one: (H, W, 3) uint8."""
        turned = self.info.rotation in (90, -90)
        width, height = (self.info.height, self.info.width) if turned else (self.info.width, self.info.height)
        matrix = frame.colorspace
        if int(matrix) == _UNSPECIFIED:
            matrix = _BT709 if frame.height >= _HD_HEIGHT else _BT601
        plain = frame.reformat(width, height, format="rgb24", src_colorspace=int(matrix))
        return np.ascontiguousarray(np.rot90(plain.to_ndarray(), self.info.rotation // 90))


def require_av() -> Any:
    """Return the module `av`.

    Raises:
        MissingExtraError: PyAV is not installed.
    """
    try:
        return importlib.import_module("av")
    except ImportError as error:
        raise MissingExtraError("av", "video", "reading and writing video") from error


def _open(av: Any, path: Path) -> Any:
    try:
        return av.open(str(path), "r")
    except av.error.FFmpegError as error:
        missing = isinstance(error, FileNotFoundError)
        remedy = "check its name" if missing else "use a video that FFmpeg reads, or copy it again"
        raise VideoError(f"{path} cannot be opened as a video", found=_said(error), remedy=remedy) from error


def _said(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
