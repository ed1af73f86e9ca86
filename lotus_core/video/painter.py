"""The model on the frames of a clip: one noise throughout, and a little of what the frame before became."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import OptionError
from ..inference.chunks import map_chunks
from ..inference.image import check_images, working_size
from ..inference.model import LotusModel, initial_noise
from ..inference.options import InferenceOptions
from ..inference.stages import Stages


@dataclass(frozen=True)
class ClipOptions:
    """How a clip is made stable in time.

    Attributes:
        carry: Share of the previous frame's x0 in the noise of generative ("g") models, 0 (off) to 0.9; the rest is
            one noise for the whole clip. Discriminative models ignore it. Source: 0.1 in the reference's video demo.
        stabilize: Whether depth is freed of every frame's own scale and shift.
        find_cuts: Whether a new shot starts afresh: no carried x0, no fit across the cut.

    Raises:
        OptionError: A value outside its range.
    """

    carry: float = 0.1
    stabilize: bool = True
    find_cuts: bool = True

    def __post_init__(self) -> None:
        valid = isinstance(self.carry, int | float) and not isinstance(self.carry, bool)
        if not (valid and 0.0 <= self.carry <= 0.9):
            raise OptionError("carry", self.carry, "a number from 0 (off) to 0.9")


class ClipPainter:
    """Runs models on the frames of one clip, in order.

    Args:
        models: Models that see the same frames; those whose VAE is that of the first share its work.
        height: Of the frames, in pixels.
        width: Of the frames, in pixels.
        options: How to run.
        carry: As `ClipOptions.carry`.

    Attributes:
        size: Sizes of the run.

    Raises:
        OptionError: An ensemble of a discriminative model.
    """

    def __init__(
        self, models: Sequence[LotusModel], height: int, width: int, options: InferenceOptions, carry: float
    ) -> None:
        for model in models:
            if model.info.mode == "d" and options.ensemble_size != 1:
                expected = f"1 for {model.info.name}: a discriminative model gives the same map every time"
                raise OptionError("ensemble_size", options.ensemble_size, expected)
        resolution = models[0].info.default_resolution if options.resolution is None else options.resolution
        self.size = working_size(height, width, resolution)
        self._models = models
        self._options = options
        self._carry = carry
        self._stages = [Stages(model) for model in models]
        self._previous: dict[str, Tensor] = {}  # "model.member" -> (1, 4, h, w), x0 of the last frame

    def paint(self, frames: Tensor, cuts: Sequence[bool]) -> Iterator[list[Tensor]]:
        """Yield, piece by piece and for every model, painted maps (N, B, 3, h, w) in [0, 1] at the working size.

        Args:
            frames: (B, H, W, 3) float RGB in [0, 1], the next frames of the clip.
            cuts: For every frame, whether it starts a new shot.

        Raises:
            InputError: Frames that cannot be used.
            NonFiniteError: NaN also in fp32.
            MemoryLimitError: Not even one frame fits.
        """
        frames = check_images(frames)
        done = 0

        def compute(part: Tensor) -> list[Tensor]:
            nonlocal done
            maps, previous = self._paint(part, cuts[done : done + len(part)])
            self._previous = previous  # only now: a piece that ran out of memory is begun again
            done += len(part)
            return maps

        yield from map_chunks(frames, compute, self._models, self.size, self._options.batch_size)

    def _paint(self, frames: Tensor, cuts: Sequence[bool]) -> tuple[list[Tensor], dict[str, Tensor]]:
        first = self._models[0]
        latents = self._stages[0].encode(frames, self.size)
        previous = dict(self._previous)
        results: list[Tensor] = []
        for index, stage in enumerate(self._stages):
            digests = stage.model.vae_digests
            own = latents if digests.encoder == first.vae_digests.encoder else stage.encode(frames, self.size)
            decoder = self._stages[0] if digests.decoder == first.vae_digests.decoder else stage
            members: list[Tensor] = []
            for member in range(self._options.ensemble_size):
                x0, last = self._denoise(stage, own, cuts, member, previous.get(f"{index}.{member}"))
                if last is not None:
                    previous[f"{index}.{member}"] = last
                members.append(decoder.decode(x0, self.size).cpu())
            results.append(torch.stack(members))
        return results, previous

    def _denoise(
        self, stage: Stages, latents: Tensor, cuts: Sequence[bool], member: int, previous: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return x0 of the frames, and what the next frame carries on."""
        if stage.model.info.mode == "d":
            return stage.denoise(latents, None, "annotation"), None
        common = initial_noise(latents.shape, self._options.seed + member)
        if self._carry == 0.0:
            return stage.denoise(latents, common, "annotation"), None
        frames: list[Tensor] = []
        for index, cut in enumerate(cuts):
            noise = common[:1]
            if previous is not None and not cut:
                noise = (1.0 - self._carry) * noise + self._carry * previous
            frames.append(stage.denoise(latents[index : index + 1], noise, "annotation"))
            previous = frames[-1].cpu()
        return torch.cat(frames), previous

    def state(self) -> dict[str, Tensor]:
        """Return what the next frame carries on, for `restore`."""
        return dict(self._previous)

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on where another painter's `state` was taken."""
        self._previous = dict(state)
