"""Clips in, maps out: depth and normals of consecutive frames.

Two passes, of which only the first runs the model: it sees every frame once and keeps the network's own maps at the
working size; the second corrects them, when the whole clip is known, and brings them to the frames' size.
Normals have no scale or shift that could drift, and no correction: what makes them stable is the
one noise of the clip and what is carried from frame to frame, for generative models; discriminative
ones give every frame its own map.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Protocol

from torch import Tensor

from ..errors import ImageError
from ..inference.image import WorkingSize, check_images
from ..inference.model import LotusModel
from ..inference.options import InferenceOptions
from ..inference.run import Collected, Merged
from ..types import DepthPrediction, JointPrediction, NormalPrediction
from .painter import ClipOptions
from .run import ClipRun, PaintedFrames
from .track import DepthTrack, merged_normals, sized_depth, sized_normals

_BATCH = 16
"""Frames that are handed to the model at once where a clip arrives as one tensor."""


class Progress(Protocol):
    """Hears of every finished frame.

    Called with the number of frames done, their number in all (0 where it is not known), and the newest
    painted map, (3, h, w) float in [0, 1] on the CPU. It may raise, to stop the run.
    """

    def __call__(self, done: int, total: int, preview: Tensor) -> None:
        """Take note."""
        ...


def predict_depth_clip(
    model: LotusModel,
    frames: Tensor | Iterable[Tensor],
    options: InferenceOptions | None = None,
    clip: ClipOptions | None = None,
    *,
    progress: Progress | None = None,
) -> DepthPrediction:
    """Return the affine-invariant depth or disparity of a clip, stable in time.

    All frames share one unknown scale and shift, as far as the network allows. Where corrected values leave [0, 1],
    the whole clip is brought back by one affine map.

    Args:
        model: A depth or disparity model.
        frames: (T, H, W, 3) float RGB in [0, 1], or an iterable of such pieces of one clip, in order.
        options: How to run the model.
        clip: How the clip is made stable.
        progress: Called after every frame.

    Raises:
        ModelTaskError: A normal model.
        InputError: Frames or options that cannot be used.
        NonFiniteError: NaN also in fp32.
    """
    options, clip = options or InferenceOptions(), clip or ClipOptions()
    track = DepthTrack(model, clip)
    pass_ = _Pass([model], frames, options, clip, progress)
    maps = deque(track.push(piece) for piece in pass_)
    return _depth(track, maps, pass_.size, options, model)


def predict_normals_clip(
    model: LotusModel,
    frames: Tensor | Iterable[Tensor],
    options: InferenceOptions | None = None,
    clip: ClipOptions | None = None,
    *,
    progress: Progress | None = None,
) -> NormalPrediction:
    """Return the surface normals of a clip, in the OpenCV camera frame.

    Args:
        model: A normal model.
        frames: (T, H, W, 3) float RGB in [0, 1], or an iterable of such pieces of one clip, in order.
        options: How to run the model.
        clip: How the clip is made stable; of it, what concerns the noise of generative models.
        progress: Called after every frame.

    Raises:
        ModelTaskError: A depth model.
        InputError: Frames or options that cannot be used.
        NonFiniteError: NaN also in fp32.
    """
    model.require_normals()
    options, clip = options or InferenceOptions(), clip or ClipOptions()
    pass_ = _Pass([model], frames, options, clip, progress)
    maps = deque(merged_normals(piece.painted[0]) for piece in pass_)
    return _normals(maps, pass_.size, options, model)


def predict_joint_clip(
    depth_model: LotusModel,
    normal_model: LotusModel,
    frames: Tensor | Iterable[Tensor],
    options: InferenceOptions | None = None,
    clip: ClipOptions | None = None,
    *,
    progress: Progress | None = None,
) -> JointPrediction:
    """Return depth and normals of a clip; models with the same VAE share one encoding of every frame.

    Args:
        depth_model: A depth or disparity model.
        normal_model: A normal model.
        frames: (T, H, W, 3) float RGB in [0, 1], or an iterable of such pieces of one clip, in order.
        options: How to run both.
        clip: How the clip is made stable.
        progress: Called after every frame.

    Raises:
        ModelTaskError: Models given the wrong way round.
        InputError: Frames or options that cannot be used.
        NonFiniteError: NaN also in fp32.
    """
    options, clip = options or InferenceOptions(), clip or ClipOptions()
    track = DepthTrack(depth_model, clip)
    normal_model.require_normals()
    depths: deque[Merged] = deque()
    normals: deque[Merged] = deque()
    pass_ = _Pass([depth_model, normal_model], frames, options, clip, progress)
    for piece in pass_:
        depths.append(track.push(piece))
        normals.append(merged_normals(piece.painted[1]))
    return JointPrediction(
        _depth(track, depths, pass_.size, options, depth_model),
        _normals(normals, pass_.size, options, normal_model),
    )


class _Pass:
    """The one pass of the models over a clip."""

    def __init__(
        self,
        models: list[LotusModel],
        frames: Tensor | Iterable[Tensor],
        options: InferenceOptions,
        clip: ClipOptions,
        progress: Progress | None,
    ) -> None:
        self._total = len(frames) if isinstance(frames, Tensor) and frames.ndim > 0 else 0
        self._progress = progress
        self._pieces = _pieces(frames)
        first = next(self._pieces, None)
        if first is None:
            raise ImageError("the clip has no frames", remedy="pass at least one")
        if first.ndim != 4 or len(first) == 0:
            check_images(first)  # raises, and says what is wrong
        self._first = first
        self._run = ClipRun(models, first.shape[1], first.shape[2], options, clip)
        self.size = self._run.size

    def __iter__(self) -> Iterator[PaintedFrames]:
        done = 0
        for frames in itertools.chain([self._first], self._pieces):
            for piece in self._run.push(frames):
                yield piece
                done += len(piece.frames)
                if self._progress is not None:
                    self._progress(done, self._total, piece.painted[-1][-1, -1])


def _pieces(frames: Tensor | Iterable[Tensor]) -> Iterator[Tensor]:
    if isinstance(frames, Tensor):
        yield from frames.split(_BATCH) if frames.ndim == 4 and len(frames) else [frames]
    else:
        yield from frames


def _depth(
    track: DepthTrack, maps: deque[Merged], size: WorkingSize, options: InferenceOptions, model: LotusModel
) -> DepthPrediction:
    """Return corrected maps at the frames' size; `maps` is emptied on the way."""
    corrections = track.corrections()
    low, high = track.limits(corrections)
    out, start = Collected(_frames(maps)), 0
    while maps:
        values, uncertainty = maps.popleft()
        corrected = (corrections.apply(values, start) - low) / (high - low)
        spread = None
        if uncertainty is not None:
            gain = corrections.scale[start : start + len(values), None, None] / (high - low)
            spread = sized_depth(uncertainty * gain, size, options.upsample)
        out.add((sized_depth(corrected, size, options.upsample).clamp(0.0, 1.0), spread))
        start += len(values)
    joined, spread = out.result()
    return DepthPrediction(joined, track.kind, spread, model.info)


def _normals(
    maps: deque[Merged], size: WorkingSize, options: InferenceOptions, model: LotusModel
) -> NormalPrediction:
    """Return normals at the frames' size; `maps` is emptied on the way."""
    out = Collected(_frames(maps))
    while maps:
        out.add(sized_normals(*maps.popleft(), size, options.upsample))
    return NormalPrediction(*out.result(), model.info)


def _frames(maps: Iterable[Merged]) -> int:
    return sum(len(values) for values, _ in maps)
