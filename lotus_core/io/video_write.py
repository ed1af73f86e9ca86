"""Video files, written frame by frame with PyAV: pictures as H.264, data as lossless 16-bit FFV1.

A file appears whole or not at all: it is written beside its place and renamed when it is closed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..errors import LotusError, OptionError, ShapeError, VideoError
from .atomic import replacing, storage_error
from .audio import AudioCopy
from .video import VideoInfo, require_av

_CRF: Final = "18"  # x264's "visually lossless"
_PRESET: Final = "veryfast"
_LOOKAHEAD: Final = "rc-lookahead=10:sync-lookahead=0"  # frames that x264 holds back, and with them memory


@dataclass(frozen=True)
class VideoFormat:
    """How frames are stored.

    Attributes:
        codec: FFmpeg's name of the encoder.
        pixels: FFmpeg's name of the stored pixels.
        frames: FFmpeg's name of the pixels that are handed in.
        options: Options of the encoder.
    """

    codec: str
    pixels: str
    frames: str
    options: Mapping[str, str] = field(default_factory=dict)


PREVIEW: Final = VideoFormat(
    "libx264", "yuv420p", "rgb24", {"crf": _CRF, "preset": _PRESET, "x264-params": _LOOKAHEAD}
)
"""H.264 that every player knows, from (H, W, 3) uint8."""

GREY16: Final = VideoFormat("ffv1", "gray16le", "gray16le", {"level": "3", "slicecrc": "1"})
"""FFV1, lossless, with a checksum per slice, from (H, W) uint16. Source: RFC 9043."""

RGB16: Final = VideoFormat("ffv1", "gbrp16le", "gbrp16le", {"level": "3", "slicecrc": "1"})
"""FFV1, lossless, from (H, W, 3) uint16 RGB."""


@contextmanager
def writing_video(
    path: str | Path,
    form: VideoFormat,
    like: VideoInfo,
    *,
    audio_from: Path | None = None,
    notes: Mapping[str, str] | None = None,
) -> Iterator[VideoWriter]:
    """Yield a writer of one video file, which appears when the block ends without an error.

    Args:
        path: The file; its suffix chooses the container (.mp4, .mov, .mkv).
        form: How frames are stored.
        like: The video whose size, times and rotation flag it takes over; frames come upright, as `VideoReader`
            hands them out, and are stored as turned as the original's.
        audio_from: File whose audio is copied, or None. What the container cannot hold becomes AAC.
        notes: Tags of the file.

    Raises:
        MissingExtraError: PyAV is not installed.
        VideoError: FFmpeg cannot write such a file.
        StorageError: The folder or file cannot be written.
    """
    av = require_av()
    path = Path(path)
    with replacing(path) as temporary:
        container = _open(av, temporary, path, like)
        try:
            writer = VideoWriter(av, container, path, form, like, audio_from)
            container.metadata.update(notes or {})
            yield writer
            writer.finish()
            container.close()
        except BaseException as error:
            with suppress(av.error.FFmpegError):  # what stopped the file stops its trailer too
                container.close()
            if isinstance(error, av.error.FFmpegError):
                raise _failed(error, path) from error
            raise


class VideoWriter:
    """Encodes the frames of a file that `writing_video` has opened.

    Attributes:
        rotated: Whether the rotation flag is kept; PyAV before 18 cannot write it, and frames are
            stored upright then, which looks the same.
        audio: The copied sound, or None.
    """

    def __init__(
        self, av: Any, container: Any, path: Path, form: VideoFormat, like: VideoInfo, audio_from: Path | None
    ) -> None:
        self._av = av
        self._container = container
        self._path = path
        self._form = form
        self._like = like
        can_rotate = hasattr(av.video.stream.VideoStream, "set_display_rotation")
        self.rotated = like.rotation != 0 and can_rotate
        self._stream = self._add_stream()
        self.audio = None if audio_from is None else AudioCopy(av, audio_from, container)

    def write(self, frame: np.ndarray, ticks: int) -> None:
        """Append a frame.

        Args:
            frame: Upright, of the shape and type that the form takes.
            ticks: Its presentation time in ticks of the original's time base, greater than the one before.

        Raises:
            ShapeError: Another shape or type.
            VideoError: FFmpeg refuses the frame.
            StorageError: The disk is full.
        """
        self._check(frame)
        stored = np.rot90(frame, -self._like.rotation // 90) if self.rotated else frame
        stored = np.ascontiguousarray(self._even(stored))
        picture = self._av.VideoFrame.from_ndarray(stored, format=self._form.frames)
        picture.pts, picture.time_base = ticks, self._like.time_base
        try:
            self._mux(self._stream.encode(picture))
            if self.audio is not None:
                self.audio.copy_until(float(ticks * self._like.time_base))
        except self._av.error.FFmpegError as error:
            raise _failed(error, self._path) from error

    def finish(self) -> None:
        """Encode what is held back, and copy the rest of the sound."""
        self._mux(self._stream.encode(None))
        if self.audio is not None:
            self.audio.copy_until(None)
            self.audio.close()

    def _add_stream(self) -> Any:
        rate = self._like.rate or Fraction(25)
        stream = self._container.add_stream(self._form.codec, rate=rate.limit_denominator(2**16))
        stream.width, stream.height = self._stored_size()
        stream.pix_fmt = self._form.pixels
        stream.codec_context.time_base = self._like.time_base
        stream.time_base = self._like.time_base
        stream.options = dict(self._form.options)
        if self._like.aspect != 1:
            stream.sample_aspect_ratio = self._like.aspect
        if self.rotated:
            stream.set_display_rotation(self._like.rotation)
        return stream

    def _stored_size(self) -> tuple[int, int]:
        width, height = self._like.width, self._like.height
        if self.rotated and self._like.rotation in (90, -90):
            width, height = height, width
        if self._form.pixels == "yuv420p":
            width, height = width + width % 2, height + height % 2
        return width, height

    def _even(self, frame: np.ndarray) -> np.ndarray:
        """Repeat the last row and column where H.264's colours need an even size."""
        width, height = self._stream.width, self._stream.height
        down, across = height - frame.shape[0], width - frame.shape[1]
        return np.pad(frame, ((0, down), (0, across), (0, 0)), mode="edge") if down or across else frame

    def _check(self, frame: np.ndarray) -> None:
        grey = self._form.frames.startswith("gray")
        shape = (self._like.height, self._like.width) + (() if grey else (3,))
        if frame.shape != shape:
            raise ShapeError("frame", frame.shape, str(shape), remedy="keep the size of the original")
        wanted = np.uint8 if self._form.frames == "rgb24" else np.uint16
        if frame.dtype != wanted:
            raise OptionError("frame", frame.dtype, f"an array of {np.dtype(wanted)}")

    def _mux(self, packets: Any) -> None:
        for packet in packets:
            self._container.mux(packet)


def _open(av: Any, temporary: Path, path: Path, like: VideoInfo) -> Any:
    # MP4 keeps the start of a track in the movie's own time scale, 1/1000 s by default.
    scale = str(max(1000, like.time_base.denominator))
    options = {"movie_timescale": scale} if path.suffix.lower() in (".mp4", ".mov", ".m4v") else {}
    try:
        return av.open(str(temporary), "w", options=options)
    except (av.error.FFmpegError, ValueError) as error:
        if isinstance(error, OSError):
            raise storage_error(error, path) from error
        raise VideoError(
            f"{path} cannot be written as a video",
            found=str(error),
            remedy="name a file that ends in .mp4, .mov or .mkv",
        ) from error


def _failed(error: BaseException, path: Path) -> LotusError:
    if isinstance(error, OSError):
        return storage_error(error, path)
    return VideoError(f"{path} cannot be written on", found=str(error), remedy="try another container")
