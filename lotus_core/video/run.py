"""One clip going through its models, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..errors import ImageError
from ..inference.model import LotusModel
from ..inference.options import InferenceOptions
from .cuts import CutDetector
from .painter import ClipOptions, ClipPainter


@dataclass(frozen=True)
class PaintedFrames:
    """A few consecutive frames and what the models painted of them.

    Attributes:
        frames: (B, H, W, C) float in [0, 1], as they were passed.
        cuts: For every frame, whether it starts a new shot.
        painted: For every model, (N, B, 3, h, w) float in [0, 1] at the working size, N the ensemble's size.
    """

    frames: Tensor
    cuts: tuple[bool, ...]
    painted: tuple[Tensor, ...]


class ClipRun:
    """Finds the cuts of a clip and runs models on its frames, which may arrive in pieces.

    Args:
        models: Models that see the same frames.
        height: Of the frames, in pixels.
        width: Of the frames, in pixels.
        options: How to run the models.
        clip: How the clip is made stable.

    Attributes:
        size: Sizes of the run.

    Raises:
        OptionError: An ensemble of a discriminative model.
    """

    def __init__(
        self,
        models: Sequence[LotusModel],
        height: int,
        width: int,
        options: InferenceOptions,
        clip: ClipOptions,
    ) -> None:
        self._painter = ClipPainter(models, height, width, options, clip.carry)
        self._detector = CutDetector() if clip.find_cuts else None
        self.size = self._painter.size

    def push(self, frames: Tensor) -> Iterator[PaintedFrames]:
        """Yield what the models paint of the next frames, in pieces that fit the memory.

        Args:
            frames: (B, H, W, C) float in [0, 1], C = 1, 3 or 4.

        Raises:
            InputError: Frames that cannot be used, or of another size.
            NonFiniteError: NaN also in fp32.
            MemoryLimitError: Not even one frame fits.
        """
        if tuple(frames.shape[1:3]) != (self.size.height, self.size.width):
            raise ImageError(
                "all frames of a clip must have one size",
                found=f"{frames.shape[2]}x{frames.shape[1]} after {self.size.width}x{self.size.height}",
                remedy="resize the frames, or run the parts as clips of their own",
            )
        frames = frames.cpu()  # many small steps look at them, each of which a GPU would be waited for
        cuts = tuple(self._detector is not None and self._detector.push(rgb_of(frame)) for frame in frames)
        start = 0
        for painted in self._painter.paint(frames, cuts):
            stop = start + painted[0].shape[1]
            yield PaintedFrames(frames[start:stop], cuts[start:stop], tuple(painted))
            start = stop

    def state(self) -> dict[str, Tensor]:
        """Return all that the next frame depends on, for `restore`."""
        detector = {} if self._detector is None else self._detector.state()
        painter = {f"x0.{name}": tensor for name, tensor in self._painter.state().items()}
        return {**detector, **painter}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on where another run's `state` was taken."""
        if self._detector is not None:
            self._detector.restore(state)
        self._painter.restore({k.removeprefix("x0."): v for k, v in state.items() if k.startswith("x0.")})


def rgb_of(frame: Tensor) -> Tensor:
    """Return the three colours of a frame: (H, W, 1, 3 or 4) -> (H, W, 3)."""
    return frame[..., :3].expand(-1, -1, 3)
