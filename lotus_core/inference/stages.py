"""One run through the stages of a model: interrupts, and a second try in fp32 where fp16 overflowed."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from ..conventions import Part, Task
from ..errors import LotusWarning, NonFiniteError
from .image import WorkingSize, from_network, to_network
from .model import LotusModel


class Stages:
    """The stages of one model during one run.

    A stage whose result holds NaN or infinity is computed once more in fp32, says so, and stays in fp32 for
    the rest of the run.

    Args:
        model: The model.
    """

    def __init__(self, model: LotusModel) -> None:
        self.model = model
        self._dtypes: dict[Part, torch.dtype] = {}

    def encode(self, images: Tensor, size: WorkingSize) -> Tensor:
        """Return the latents of a chunk of pictures: (B, H, W, 3) in [0, 1] -> (B, 4, h, w)."""
        rgb = to_network(images, size)
        return self._finite("vae", "encoding", lambda dtype: self.model.encode(rgb, dtype=dtype))

    def denoise(self, latents: Tensor, noise: Tensor | None, task: Task) -> Tensor:
        """Return x0 of latents: (B, 4, h, w) -> (B, 4, h, w)."""
        return self._finite(
            "unet", "the one step", lambda dtype: self.model.denoise(latents, noise, task, dtype=dtype)
        )

    def decode(self, x0: Tensor, size: WorkingSize) -> Tensor:
        """Return the maps of x0, without padding: (B, 3, inner_height, inner_width) in [0, 1]."""
        decoded = self._finite("vae", "decoding", lambda dtype: self.model.decode(x0, dtype=dtype))
        return from_network(decoded, size)

    def _finite(self, part: Part, what: str, compute: Callable[[torch.dtype], Tensor]) -> Tensor:
        placement = self.model.placement
        placement.check_interrupt()
        dtype = self._dtypes.get(part, placement.dtype(part))
        result = compute(dtype)
        if torch.isfinite(result).all():
            return result
        if dtype != torch.float32:
            name = str(dtype).removeprefix("torch.")
            warnings.warn(
                f"{what} with {self.model.info.name} overflowed in {name} and was computed again in fp32: "
                'set precision to "fp32" (or "bf16") to avoid the detour',
                LotusWarning,
                stacklevel=2,
            )
            self._dtypes[part] = torch.float32
            result = compute(torch.float32)
            if torch.isfinite(result).all():
                return result
        raise NonFiniteError(
            f"{what} with {self.model.info.name} gives NaN or infinity in fp32",
            remedy="the weights are damaged: check them with `lotus models check` and fetch them again",
        )
