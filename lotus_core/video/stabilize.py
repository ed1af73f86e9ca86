"""Depth maps of a clip, freed of the scale and shift that the network gives to every frame anew.

Every frame is fitted to the frames 1, 2, 4, 8 and 16 before it as the network made them, each with the correction
it was given (never to a running average, which shrinks), and where the camera stands still also to two older
frames of the shot. When the clip has ended, the slow trend of these corrections is taken out again (`drift`), so that
what the scene did stays in the maps.
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from ..checks import require_shape
from ..conventions import DepthKind
from .affine import Spread, fit_affine
from .drift import MOVING_CAMERA, STILL_CAMERA, TrendPrior, split_drift
from .samples import Sample, pack_samples, take_sample, unpack_samples
from .thumbnails import still_share

LAGS: Final = (1, 2, 4, 8, 16)
"""Distances, in frames, of the earlier frames that a frame is fitted to."""

_MEMORY: Final = LAGS[-1]
_KEYFRAME_EVERY: Final = 32
_KEYFRAME_WEIGHT: Final = 4.0  # against a neighbour's: keyframes do not drift
_ENOUGH_INLIERS: Final = 0.4
_STILL: Final = 0.15  # share of tiles that did not move
_STILL_FRAMES: Final = 0.9  # share of a shot's frames that must be still for the shot to be
_SHIFT_PRIOR: Final = 0.5  # the shift's trend, as a share of the scale's
_SCALE_RANGE: Final = (0.6, 1.67)
_NEAR_NOISE: Final = 0.25  # disparity at which the weight has fallen to a quarter


@dataclass(frozen=True)
class Corrections:
    """The final corrections of a clip: frame t becomes ``scale[t] * values + shift[t]``.

    Attributes:
        scale: (T,) float32, in [0.6, 1.67].
        shift: (T,) float32.
        shots: First frames of the shots, ascending, beginning with 0.
    """

    scale: Tensor
    shift: Tensor
    shots: tuple[int, ...]

    def apply(self, values: Tensor, start: int = 0) -> Tensor:
        """Return corrected maps.

        Args:
            values: (B, H, W) float, the network's maps of the frames `start` to `start + B`.
            start: Number of the first one.
        """
        stop = start + len(values)
        scale = self.scale[start:stop].to(values)[:, None, None]
        return values * scale + self.shift[start:stop].to(values)[:, None, None]


class DepthStabilizer:
    """Watches the maps of a clip go by and says at the end how to correct each.

    It holds samples of the last 16 frames and of two keyframes, and three numbers per frame.

    Args:
        kind: "depth" or "disparity". Near pixels of a disparity map are its noisiest and its movers: they weigh less.
    """

    def __init__(self, kind: DepthKind) -> None:
        self.kind: DepthKind = kind
        self._recent: deque[Sample] = deque(maxlen=_MEMORY)
        self._keyframes: list[tuple[int, Sample]] = []  # the shot's first frame, then the newest two
        self._shots: list[int] = []
        self._scale: list[float] = []
        self._shift: list[float] = []
        self._middle: list[float] = []
        self._still: list[float] = []

    def __len__(self) -> int:
        return len(self._scale)

    def push(self, values: Tensor, rgb: Tensor | None = None, *, cut: bool = False) -> None:
        """Take note of the next frame.

        Args:
            values: (H, W) float in [0, 1], the network's map.
            rgb: (H, W, 3) float in [0, 1], the picture, any size; None: the camera is taken to move.
            cut: Whether the frame starts a new shot.

        Raises:
            ShapeError: `values` is not (H, W), or of another size than the frames before.
        """
        require_shape("values", values, "(H, W)", remedy="pass one map at a time, without batch axis")
        sample = take_sample(values, rgb)
        if self._recent:
            expected = str(tuple(self._recent[-1].values.shape))
            require_shape("sampled values", sample.values, expected, remedy="keep the size throughout a clip")
        correction = None if cut or not self._recent else self._fit(sample)
        if correction is None:  # also where nothing fits any more: start afresh rather than guess
            self._begin_shot()
        else:
            sample = replace(sample, scale=correction[0], shift=correction[1])
        self._remember(sample)

    def _begin_shot(self) -> None:
        self._recent.clear()
        self._keyframes.clear()
        self._shots.append(len(self))

    def _remember(self, sample: Sample) -> None:
        oldest = self._recent[0] if self._recent else sample
        still = 0.0
        if sample.thumbnail is not None and oldest.thumbnail is not None:
            still = still_share(sample.thumbnail, oldest.thumbnail)
        number = len(self)
        if (number - self._shots[-1]) % _KEYFRAME_EVERY == 0:
            self._keyframes.append((number, sample))
            if len(self._keyframes) > 3:
                del self._keyframes[1]
        self._recent.append(sample)
        self._scale.append(sample.scale)
        self._shift.append(sample.shift)
        self._middle.append(float(sample.spread.median))
        self._still.append(still)

    def _fit(self, sample: Sample) -> tuple[float, float] | None:
        """Return the correction that the earlier frames ask for, or None where they have nothing in common."""
        pairs = [(self._recent[-lag], 1.0) for lag in LAGS if lag <= len(self._recent)]
        pairs += [(keyframe, _KEYFRAME_WEIGHT) for keyframe in self._still_keyframes(sample)]
        earlier = [pair[0] for pair in pairs]
        y = torch.stack([e.values for e in earlier])
        valid = torch.stack([e.valid for e in earlier]) & sample.valid
        spreads = Spread(
            torch.stack([e.spread.median for e in earlier]), torch.stack([e.spread.mad for e in earlier])
        )
        weight = None if self.kind == "depth" else (sample.values + _NEAR_NOISE).square().reciprocal()
        fits = fit_affine(sample.values, y, valid, sample.spread, spreads, weight)
        trust = torch.tensor([pair[1] for pair in pairs]) * fits.inliers
        trust = torch.where(fits.inliers >= _ENOUGH_INLIERS, trust, 0.0)
        total = float(trust.sum())
        if total <= 0.0:
            # A map without any structure (black frame, fade) has no scale: hold the last correction over it.
            blank = float(sample.spread.mad) <= 1e-6 or float(self._recent[-1].spread.mad) <= 1e-6
            return (self._recent[-1].scale, self._recent[-1].shift) if blank else None
        trust = trust / total
        scale = torch.tensor([e.scale for e in earlier])
        shift = torch.tensor([e.shift for e in earlier])
        middle = sample.spread.median
        combined = float((trust * (fits.scale * scale).log()).sum().exp())
        level = float((trust * (scale * (fits.scale * middle + fits.shift) + shift)).sum())
        return combined, level - combined * float(middle)

    def _still_keyframes(self, sample: Sample) -> list[Sample]:
        """Return the keyframes, older than the lags reach, since which the camera has not moved."""
        if sample.thumbnail is None:
            return []
        old = [k for number, k in self._keyframes if len(self) - number > _MEMORY]
        return [k for k in old if k.thumbnail is not None and _still(sample.thumbnail, k.thumbnail)]

    def corrections(self) -> Corrections:
        """Return the corrections of all frames so far; each shot keeps the network's own mean scale and level."""
        scale, shift = torch.empty(len(self)), torch.empty(len(self))
        bounds = [*self._shots, len(self)]
        for start, stop in itertools.pairwise(bounds):
            a = torch.tensor(self._scale[start:stop], dtype=torch.float64)
            c = torch.tensor(self._shift[start:stop], dtype=torch.float64)
            prior = self._prior(start, stop)
            # The chain of fits shows g * truth + h with slow g and h: undo both.
            trend, drift = split_drift(a.log(), prior)
            final = drift.exp().clamp(*_SCALE_RANGE)
            middle = torch.tensor(self._middle[start:stop], dtype=torch.float64).median()
            level = (a * middle + c) / trend.exp() - middle
            shift_prior = TrendPrior(prior.slope * _SHIFT_PRIOR, prior.bend * _SHIFT_PRIOR)
            scale[start:stop] = final.float()
            shift[start:stop] = (split_drift(level, shift_prior)[1] + (1.0 - final) * middle).float()
        return Corrections(scale, shift, tuple(self._shots))

    def _prior(self, start: int, stop: int) -> TrendPrior:
        still = torch.tensor(self._still[start:stop])
        return STILL_CAMERA if float((still >= _STILL).float().mean()) >= _STILL_FRAMES else MOVING_CAMERA

    def state(self) -> dict[str, Tensor]:
        """Return all that is remembered, for `restore`."""
        return {
            **pack_samples("recent", list(self._recent)),
            **pack_samples("keyframes", [sample for _, sample in self._keyframes]),
            "keyframe_numbers": torch.tensor([number for number, _ in self._keyframes], dtype=torch.int64),
            "shots": torch.tensor(self._shots, dtype=torch.int64),
            "history": torch.tensor(
                [self._scale, self._shift, self._middle, self._still], dtype=torch.float64
            ),
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on where another stabiliser's `state` was taken."""
        self._recent = deque(unpack_samples("recent", state), maxlen=_MEMORY)
        numbers = state["keyframe_numbers"].tolist()
        self._keyframes = list(zip(numbers, unpack_samples("keyframes", state), strict=True))
        self._shots = state["shots"].tolist()
        self._scale, self._shift, self._middle, self._still = state["history"].tolist()


def _still(first: Tensor, second: Tensor) -> bool:
    return still_share(first, second) >= _STILL
