"""One run through the stages of a model: interrupts, a second try in fp32, and strips where memory is short."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from ..conventions import Part, Task
from ..errors import LotusWarning, MemoryLimitError, NonFiniteError
from .image import WorkingSize, from_network, to_network
from .memory import is_out_of_memory
from .model import LotusModel
from .strips import AutoencoderLayers, StripPass, autoencoder_layers

logger = logging.getLogger("lotus_geometry")

_CODING = {"encode": "encoding", "decode": "decoding"}
_MOST_STRIP_BYTES = 256 * 2**20
"""Larger strips are no faster."""
_LEAST_STRIP_BYTES = 2**20
"""Below this a strip is one row high at any usual width."""


class Stages:
    """The stages of one model during one run.

    A stage whose result holds NaN or infinity is computed once more in fp32, says so, and stays in fp32 for
    the rest of the run. A VAE that runs out of memory with one picture goes on strip by strip, and says so.

    Args:
        model: The model.
    """

    def __init__(self, model: LotusModel) -> None:
        self.model = model
        self._dtypes: dict[Part, torch.dtype] = {}
        self._strip_bytes: dict[str, int] = {}  # of the stages that do not fit in one piece
        self._layers = autoencoder_layers(model.vae)

    def encode(self, images: Tensor, size: WorkingSize) -> Tensor:
        """Return the latents of a chunk of pictures: (B, H, W, 3) in [0, 1] -> (B, 4, h, w)."""
        rgb = to_network(images, size)
        return self._finite("vae", "encoding", lambda dtype: self._coded("encode", rgb, dtype))

    def denoise(self, latents: Tensor, noise: Tensor | None, task: Task) -> Tensor:
        """Return x0 of latents: (B, 4, h, w) -> (B, 4, h, w)."""
        return self._finite(
            "unet", "the one step", lambda dtype: self.model.denoise(latents, noise, task, dtype=dtype)
        )

    def decode(self, x0: Tensor, size: WorkingSize) -> Tensor:
        """Return the maps of x0, without padding: (B, 3, inner_height, inner_width) in [0, 1]."""
        decoded = self._finite("vae", "decoding", lambda dtype: self._coded("decode", x0, dtype))
        return from_network(decoded, size)

    def _coded(self, stage: Literal["encode", "decode"], x: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the VAE's result, computed in one piece, or in strips where one picture does not fit."""
        if self._layers is None or stage not in self._strip_bytes:
            try:
                compute = self.model.encode if stage == "encode" else self.model.decode
                return compute(x, dtype=dtype)
            except (RuntimeError, MemoryError) as error:
                if len(x) > 1 or self._layers is None or not is_out_of_memory(error):
                    raise
            scale = 1 if stage == "encode" else 8
            logger.warning(
                "Lotus: out of memory while %s %dx%d pixels: going on strip by strip, slower, with the same result",
                _CODING[stage],
                x.shape[-1] * scale,
                x.shape[-2] * scale,
            )
            room = self.model.placement.free_memory() // 2
            self._strip_bytes[stage] = max(_LEAST_STRIP_BYTES, min(_MOST_STRIP_BYTES, room))
        return self._coded_in_strips(stage, self._layers, x, dtype)

    def _coded_in_strips(
        self, stage: Literal["encode", "decode"], layers: AutoencoderLayers, x: Tensor, dtype: torch.dtype
    ) -> Tensor:
        """Return the VAE's result strip by strip, with lower strips as long as memory runs out."""
        placement = self.model.placement
        while True:
            strip_bytes = self._strip_bytes[stage]
            run = StripPass(placement.device, dtype, strip_bytes, placement.check_interrupt)
            try:
                with torch.no_grad(), placement.active("vae", 2 * strip_bytes, dtype):
                    return (run.encode if stage == "encode" else run.decode)(layers, x).float()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if strip_bytes <= _LEAST_STRIP_BYTES:
                    raise MemoryLimitError(
                        f"{_CODING[stage]} with {self.model.info.name} does not fit the memory of "
                        f"{placement.device}, not even row by row",
                        found=str(error).splitlines()[0][:160] if str(error) else type(error).__name__,
                        remedy="close what else uses this memory, or compute on the CPU",
                    ) from error
            self._strip_bytes[stage] = max(_LEAST_STRIP_BYTES, strip_bytes // 4)

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
