"""A video file in, its maps out, in two passes: the model's, whose maps wait on disk, and that of the results.

No more than a few frames are in memory at any time. The second pass corrects the maps with what the first has
learned of the whole clip, paints all of them with one range, and encodes.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from .. import __version__
from ..inference.image import WorkingSize
from ..inference.model import LotusModel
from ..inference.options import InferenceOptions
from ..inference.run import unit_normals
from ..io.video import DecodedFrame, Loss, VideoInfo, VideoReader
from .painter import ClipOptions
from .run import ClipRun
from .sinks import Sink
from .spool import SEGMENT, Spool
from .stabilize import Corrections
from .track import DepthTrack, merged_normals, sized_depth, sized_normals

Progress = Callable[[int, int], None]
"""Called with the number of frames done and the number that the file states, 0 where it states none."""

_FRAMES_AT_ONCE: Final = 4  # a 1080p frame is 25 MB of floats
_FINGERPRINT_BYTES: Final = 2**20


@dataclass(frozen=True)
class VideoMaps:
    """The maps of a whole video, waiting on disk.

    Attributes:
        info: What the file says of itself.
        size: Sizes of the run.
        spool: The network's own maps.
        ticks: Presentation times of the frames, in ticks of ``info.time_base``.
        losses: What could not be read.
        corrections: Of depth, or None for normals.
        limits: Least and greatest corrected value: what 0 and 1 of the data stand for.
        display: 1st and 99th percentile of the corrected clip, in units of the data: the range of all pictures.
    """

    info: VideoInfo
    size: WorkingSize
    spool: Spool
    ticks: tuple[int, ...]
    losses: tuple[Loss, ...]
    corrections: Corrections | None
    limits: tuple[float, float]
    display: tuple[float, float]

    @property
    def seconds(self) -> tuple[float, ...]:
        """Presentation times in seconds."""
        return tuple(float(Fraction(tick) * self.info.time_base) for tick in self.ticks)


def estimate_video(
    model: LotusModel,
    source: Path,
    folder: Path,
    options: InferenceOptions,
    clip: ClipOptions,
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> VideoMaps:
    """Run a model on every frame of a video, and keep its maps in a folder: the first pass.

    Args:
        model: A depth, disparity or normal model.
        source: The video.
        folder: Where the maps wait; what a run that was stopped left there is gone on with, if `resume` says so.
        options: How to run the model.
        clip: How the clip is made stable.
        resume: Go on with a run that was stopped.
        progress: Called after every few frames.

    Raises:
        MissingExtraError: PyAV is not installed.
        VideoError: The file cannot be read at all.
        OptionError: The folder holds an unfinished run and `resume` is False, or a run of something else.
        StorageError: The disk is full; the run can be gone on with when there is space.
    """
    with VideoReader(source) as reader:
        spool = Spool(folder, identity(model, source, options, clip), resume=resume)
        run = ClipRun([model], reader.info.height, reader.info.width, options, clip)
        track = None if model.info.output == "normal" else DepthTrack(model, clip)
        _go_on(spool, run, track)
        stated = reader.info.frames or 0
        frames = reader.frames(skip=spool.frames)
        while segment := list(itertools.islice(_maps(frames, run, track), SEGMENT // _FRAMES_AT_ONCE)):
            state = {**run.state(), **({} if track is None else track.state(spool.frames))}
            ticks = [tick for _, few in segment for tick in few]
            spool.add(torch.cat([maps for maps, _ in segment]), ticks, state)
            if progress is not None:
                progress(spool.frames, stated)
        losses = tuple(reader.losses)
    corrections = None if track is None else track.corrections()
    limits = display = (0.0, 1.0)
    if track is not None and corrections is not None:
        limits = track.limits(corrections)
        low, high = track.display_range(corrections)
        span = limits[1] - limits[0]
        display = ((low - limits[0]) / span, (high - limits[0]) / span)
    return VideoMaps(reader.info, run.size, spool, spool.ticks, losses, corrections, limits, display)


def write_video(
    maps: VideoMaps, sinks: Sequence[Sink], options: InferenceOptions, progress: Progress | None = None
) -> None:
    """Correct the maps of a video and hand them on at the frames' size: the second pass.

    Depth reaches the sinks as (H, W) in [0, 1], one affine map for the whole clip; normals as (H, W, 3)
    OpenCV unit vectors.

    Args:
        maps: What `estimate_video` returned.
        sinks: Where they go.
        options: How the model was run.
        progress: Called after every segment.

    Raises:
        StorageError: The disk is full.
    """
    low, high = maps.limits
    for segment in maps.spool.segments():
        for index, values in enumerate(segment.maps.split(1)):
            number = segment.start + index
            if maps.corrections is None:
                vectors = unit_normals(values * 2.0 - 1.0)
                sized, _ = sized_normals(vectors, None, maps.size, options.upsample)
            else:
                corrected = (maps.corrections.apply(values, number) - low) / (high - low)
                sized = sized_depth(corrected, maps.size, options.upsample).clamp(0.0, 1.0)
            for sink in sinks:
                sink.write(sized[0], number, segment.ticks[index])
        if progress is not None:
            progress(segment.start + len(segment.ticks), len(maps.ticks))


def _go_on(spool: Spool, run: ClipRun, track: DepthTrack | None) -> None:
    """Restore what the last whole segment left, if there is one."""
    if spool.frames == 0:
        return
    run.restore(spool.last_state())
    if track is not None:
        track.restore(spool.states())


def _maps(
    frames: Iterator[DecodedFrame], run: ClipRun, track: DepthTrack | None
) -> Iterator[tuple[Tensor, list[int]]]:
    """Yield what the spool keeps of a few frames at a time, and their times.

    Depth in [0, 1], (B, h, w), or normals as OpenCV colours, (B, h, w, 3).
    """
    while few := list(itertools.islice(frames, _FRAMES_AT_ONCE)):
        pixels = torch.stack([torch.from_numpy(frame.rgb).float().div_(255.0) for frame in few])
        maps = [
            merged_normals(piece.painted[0])[0] * 0.5 + 0.5 if track is None else track.push(piece)[0]
            for piece in run.push(pixels)
        ]
        yield torch.cat(maps), [frame.ticks for frame in few]


def identity(model: LotusModel, source: Path, options: InferenceOptions, clip: ClipOptions) -> dict[str, Any]:
    """Return what the maps of a run depend on, as JSON values: a stopped run goes on where they are the same.

    Args:
        model: That sees the frames.
        source: The video, which is there.
        options: How the model is run.
        clip: How the clip is made stable.
    """
    return {
        "version": __version__,
        "input": str(source.resolve()),
        "fingerprint": fingerprint(source),
        "model": asdict(model.info),
        "options": asdict(options),
        "clip": asdict(clip),
    }


def fingerprint(path: Path) -> str:
    """Return a digest of a file's size, first and last megabyte: enough to notice another file of the same name."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        size = file.seek(0, 2)
        digest.update(str(size).encode())
        for start in (0, max(0, size - _FINGERPRINT_BYTES)):
            file.seek(start)
            digest.update(file.read(_FINGERPRINT_BYTES))
    return f"sha256:{digest.hexdigest()}"
