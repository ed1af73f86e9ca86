"""The sound of one video file, put into another as it is, or as AAC where the container cannot hold it."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

_FALLBACK: Final = "aac"
_STRICT: Final = ("mp4", "mov", "ipod")  # they take in more than players then play
_PLAYED: Final = ("aac", "mp3", "ac3", "eac3", "alac", "opus", "flac")
_LAYOUTS: Final = {
    1: "mono",
    2: "stereo",
    6: "5.1",
    8: "7.1",
}  # of files that only tell the number of channels


class AudioCopy:
    """Copies the audio streams of a file into a container that is being written, in step with its pictures.

    Args:
        av: The module `av`.
        source: File whose audio is copied; it may have none.
        output: The container.

    Attributes:
        losses: What could not be read, in FFmpeg's words.
    """

    def __init__(self, av: Any, source: Path, output: Any) -> None:
        self._av = av
        self._output = output
        self._input = av.open(str(source), "r")
        self._routes = {stream.index: self._route(stream) for stream in self._input.streams.audio}
        self._packets = self._read()
        self._held: Any = None
        self._samples: dict[int, int] = {}  # of every encoded stream, so far
        self.losses: list[str] = []

    def copy_until(self, seconds: float | None) -> None:
        """Copy all packets that begin before a time; None: all that are left.

        The muxer interleaves by time and holds back what has no counterpart yet: keeping step keeps its memory small.
        """
        while True:
            packet = self._held if self._held is not None else next(self._packets, None)
            self._held = None
            if packet is None:
                break
            if seconds is not None and packet.pts is not None and packet.pts * packet.time_base > seconds:
                self._held = packet
                return
            self._put(packet)
        if seconds is None:
            self._flush()

    def close(self) -> None:
        """Close the source."""
        self._input.close()

    def _read(self) -> Iterator[Any]:
        streams = list(self._input.streams.audio)
        if not streams:
            return
        packets = self._input.demux(*streams)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except self._av.error.FFmpegError as error:
                self.losses.append(str(error))
                return
            if packet.dts is not None:
                yield packet

    def _route(self, stream: Any) -> tuple[Any, Any]:
        """Return the output's stream for one of the input's, and its resampler, or None where packets are copied."""
        name = stream.codec_context.name
        form = self._output.format.name
        fits = name in (_PLAYED if form in _STRICT else self._output.supported_codecs)
        if fits:
            return self._output.add_stream_from_template(stream), None
        rate = stream.codec_context.sample_rate
        layout = _LAYOUTS.get(stream.codec_context.layout.nb_channels, "stereo")
        made = self._output.add_stream(_FALLBACK, rate=rate)
        made.codec_context.layout = layout
        return made, self._av.AudioResampler(format=made.codec_context.format, layout=layout, rate=rate)

    def _put(self, packet: Any) -> None:
        target, resampler = self._routes[packet.stream.index]
        if resampler is None:
            packet.stream = target
            self._output.mux(packet)
            return
        try:
            frames = packet.decode()
        except self._av.error.FFmpegError as error:
            self.losses.append(str(error))
            return
        for frame in frames:
            for resampled in resampler.resample(self._timed(frame, packet)):
                self._encode(target, resampled)

    def _timed(self, frame: Any, packet: Any) -> Any:
        """Return a decoded frame with its time in samples: some containers round times to milliseconds."""
        index = packet.stream.index
        if index not in self._samples:
            begin = 0 if frame.pts is None else frame.pts * frame.time_base * frame.sample_rate
            self._samples[index] = max(0, round(begin))
        frame.pts, frame.time_base = self._samples[index], Fraction(1, frame.sample_rate)
        self._samples[index] += frame.samples
        return frame

    def _encode(self, target: Any, frame: Any) -> None:
        for packet in target.encode(frame):
            self._output.mux(packet)

    def _flush(self) -> None:
        for target, resampler in self._routes.values():
            if resampler is not None:
                for frame in resampler.resample(None):
                    self._encode(target, frame)
                self._encode(target, None)
