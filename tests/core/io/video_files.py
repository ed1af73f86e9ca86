"""Video files for tests, written with PyAV alone."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av", reason='needs the extra "video"')

CLOCK = Fraction(1, 90000)


def shade(index: int, height: int = 48, width: int = 64) -> np.ndarray:
    """The upright frame of a number: dark at the left, brighter with every frame, a white mark at the top left."""
    ramp = np.linspace(20, 120, width)[None, :, None] + 3 * index
    frame = np.broadcast_to(ramp, (height, width, 3)).astype(np.uint8).copy()
    frame[: height // 4, : width // 4] = 250
    return frame


def write_clip(
    path: Path,
    frames: Sequence[np.ndarray] | int = 10,
    *,
    ticks: Sequence[int] | None = None,
    rate: int = 24,
    rotation: int = 0,
    audio: str | None = None,
    codec: str = "libx264",
    gop: int = 12,
    height: int = 48,
    width: int = 64,
) -> Path:
    """Write a video whose upright frames are `frames`; `ticks` are their times in 1/90000 s."""
    pictures = [shade(i, height, width) for i in range(frames)] if isinstance(frames, int) else list(frames)
    ticks = [3750 * i for i in range(len(pictures))] if ticks is None else list(ticks)
    stored = [np.ascontiguousarray(np.rot90(p, -rotation // 90)) for p in pictures]
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = stored[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        clock = Fraction(1, rate) if codec == "mpeg4" else CLOCK  # MPEG-4 counts to 65535 at most
        stream.codec_context.time_base = stream.time_base = clock
        stream.codec_context.gop_size = gop
        stream.options = {"crf": "5", "preset": "ultrafast"} if codec == "libx264" else {}
        if rotation:
            stream.set_display_rotation(rotation)
        sound = _add_sound(container, audio)
        for picture, tick in zip(stored, ticks, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(tick * CLOCK / clock), clock
            container.mux(stream.encode(frame))
            if sound is not None:
                container.mux(sound.encode(_tone(sound, tick)))
        container.mux(stream.encode(None))
        if sound is not None:
            container.mux(sound.encode(None))
    return path


def _add_sound(container, audio):
    if audio is None:
        return None
    sound = container.add_stream(audio, rate=48000)
    sound.codec_context.layout = "stereo"
    return sound


def _tone(sound, tick):
    """A 24th of a second of 440 Hz."""
    start = round(tick * 48000 / 90000)
    wave = (np.sin(np.arange(start, start + 2000) * 2 * np.pi * 440 / 48000) * 0.3).astype(np.float32)
    name = sound.codec_context.format.name
    if name == "fltp":
        samples = np.stack([wave, wave])
    else:
        samples = (np.stack([wave, wave], 1).reshape(1, -1) * 32767).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format=name, layout="stereo")
    frame.sample_rate, frame.pts = 48000, start
    return frame


def stored_frames(path: Path) -> list[np.ndarray]:
    """The frames of a lossless file as they are stored, in its own pixel format."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray() for frame in container.decode(video=0)]


def audio_packets(path: Path) -> tuple[list[str], int, float]:
    """Codecs of the audio streams, bytes of the first, and its length in seconds."""
    with av.open(str(path)) as container:
        streams = list(container.streams.audio)
        if not streams:
            return [], 0, 0.0
        packets = [p for p in container.demux(streams[0]) if p.dts is not None]
        length = sum(float((p.duration or 0) * p.time_base) for p in packets)
        return [s.codec_context.name for s in streams], sum(p.size for p in packets), length
