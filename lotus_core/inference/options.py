"""How an inference is run: one small frozen value, validated once."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, get_args

from ..conventions import MAX_RESOLUTION, MIN_SIDE
from ..errors import OptionError

Sequence = Literal["images", "video"]
Upsample = Literal["bilinear", "nearest-exact"]

MAX_SEED = 2**63 - 1


@dataclass(frozen=True)
class InferenceOptions:
    """Options of `predict_depth`, `predict_normals`, `predict_joint` and `reconstruct`.

    Attributes:
        resolution: Longest side, in pixels, at which the model works. None: what the checkpoint says;
            0: the image's own size; else 16 to 8192. The result always has the input's size.
        seed: Seed of the noise of generative ("g") models, 0 to 2**63 - 1. "d" models ignore it.
        ensemble_size: Number of noises whose maps are aligned and merged, 1 to 64; "d" models take 1.
        batch_size: Images computed at once, or "auto" to choose from the free memory.
        sequence: "images" (independent) or "video" (consecutive frames of one clip). `lotus_core.predict_depth` and
            the like keep a clip stable in time, and its pictures share one range; the functions of
            `lotus_core.inference.predict` know pictures alone.
        upsample: How the map is brought to the input's size.

    Raises:
        OptionError: A value outside its range.
    """

    resolution: int | None = None
    seed: int = 0
    ensemble_size: int = 1
    batch_size: int | Literal["auto"] = "auto"
    sequence: Sequence = "images"
    upsample: Upsample = "bilinear"

    def __post_init__(self) -> None:
        r = self.resolution
        if r is not None and not (_is_int(r) and (r == 0 or MIN_SIDE <= r <= MAX_RESOLUTION)):
            raise OptionError(
                "resolution", r, f"0 (the image's own size) or {MIN_SIDE} to {MAX_RESOLUTION} pixels"
            )
        if not (_is_int(self.seed) and 0 <= self.seed <= MAX_SEED):
            raise OptionError("seed", self.seed, "an integer from 0 to 2**63 - 1")
        if not (_is_int(self.ensemble_size) and 1 <= self.ensemble_size <= 64):
            raise OptionError("ensemble_size", self.ensemble_size, "an integer from 1 to 64")
        if self.batch_size != "auto" and not (_is_int(self.batch_size) and self.batch_size >= 1):
            raise OptionError("batch_size", self.batch_size, '"auto" or an integer of at least 1')
        for name, allowed in (("sequence", get_args(Sequence)), ("upsample", get_args(Upsample))):
            if getattr(self, name) not in allowed:
                raise OptionError(name, getattr(self, name), f"one of {', '.join(allowed)}")

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all options."""
        return tuple(f.name for f in fields(cls))


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
