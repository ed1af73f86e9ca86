"""Runs a Lotus model with random weights through ComfyUI's memory manager, and reports what each stage takes.

One argument, JSON: ``card`` "cuda" (a real one) or "simulated"; ``cap`` bytes that may be used, or null for all;
``side`` of the square picture in pixels; ``precision``; ``small`` true for narrow networks; ``runs``.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import logging
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import comfy.model_management as mm
import large_networks
import pack
import torch
from torch import Tensor

settings: dict[str, Any] = json.loads(sys.argv[1])
torch.set_grad_enabled(False)
module = partial(pack.module, pack.load_pack())
memory, model_of = module("nodes.memory"), module("lotus_core.inference.model")
stages_of, image = module("lotus_core.inference.stages"), module("lotus_core.inference.image")
estimate = module("lotus_core.inference.memory").activation_bytes
folds = module("lotus_core.inference.folding").Folds(filtering=False)  # as an accelerator computes


class Meter(Protocol):
    """What a card says of its memory."""

    def __enter__(self) -> Meter: ...
    def __exit__(self, *_: object) -> None: ...
    def reset(self) -> None:
        """Forget the peak so far."""

    def peak(self) -> int:
        """Most bytes of tensors since `reset`."""

    def now(self) -> int:
        """Bytes of tensors on the card."""


class CudaMeter:
    """The CUDA device, told to stay under a cap: by torch's allocator, and by ComfyUI as with --reserve-vram."""

    def __init__(self, cap: int | None) -> None:
        self._total = torch.cuda.get_device_properties(0).total_memory
        if cap is not None:
            torch.cuda.set_per_process_memory_fraction(min(1.0, cap / self._total))
            mm.EXTRA_RESERVED_VRAM = max(mm.EXTRA_RESERVED_VRAM, self._total - cap)

    def __enter__(self) -> CudaMeter:
        return self

    def __exit__(self, *_: object) -> None:
        torch.cuda.synchronize()

    def reset(self) -> None:
        """Forget the peak so far."""
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()

    def peak(self) -> int:
        """Most bytes of tensors since `reset`."""
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated()

    def now(self) -> int:
        """Bytes of tensors on the card."""
        return torch.cuda.memory_allocated()


class SimulatedMeter:
    """The simulated card."""

    def __init__(self, cap: int | None) -> None:
        import accelerator

        self._card, self._mode = accelerator.CARD, accelerator.CardMode()
        self._card.attach(2**40 if cap is None else cap)

    def __enter__(self) -> SimulatedMeter:
        self._mode.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._mode.__exit__(None, None, None)

    def reset(self) -> None:
        """Forget the peak so far."""
        self._card.reset_peak()

    def peak(self) -> int:
        """Most bytes of tensors since `reset`."""
        return self._card.peak

    def now(self) -> int:
        """Bytes of tensors on the card."""
        return self._card.current


def parts() -> Any:
    """Networks with random weights: of Stable Diffusion 2's size, or narrow ones."""
    small = large_networks.parts(module, unet_widths=(32, 32, 64, 64))
    if settings["small"]:
        return small
    path = pack.REPOSITORY / "benchmarks" / "random_weights.py"
    spec = importlib.util.spec_from_file_location("random_weights", path)
    random_weights = importlib.util.module_from_spec(spec)
    sys.modules["random_weights"] = random_weights
    spec.loader.exec_module(random_weights)
    networks = random_weights.full_size()
    return type(small)(networks.unet, networks.vae, networks.prompt_embeds, small.info)


def loaded() -> Any:
    """The model under ComfyUI."""
    made = parts()
    types = memory.choose_types(settings["precision"], sum(p.numel() for p in made.unet.parameters()))
    model = model_of.build_model(
        made, lambda unet, codec: memory.ComfyPlacement(unet, codec, types), (types.unet, types.vae), folds
    )
    return memory.ManagedLotusModel.of(model, ("random",))


def measured(meter: Meter, compute: Callable[[], Tensor]) -> tuple[Tensor, dict[str, Any]]:
    """A stage's result, and what the card held before, at most, and after."""
    gc.collect()
    meter.reset()
    started, before = time.perf_counter(), meter.now()
    result = compute().to("cpu")
    facts = {"before": before, "peak": meter.peak(), "after": meter.now()}
    return result, facts | {"seconds": time.perf_counter() - started, "finite": bool(result.isfinite().all())}


def one_run(model: Any, meter: Meter) -> dict[str, dict[str, Any]]:
    """Every stage of one picture."""
    side = settings["side"]
    size = image.working_size(side, side, 0)
    stages = stages_of.Stages(model)
    picture = torch.rand(1, side, side, 3, generator=torch.Generator().manual_seed(5))
    found: dict[str, dict[str, Any]] = {}
    latents, found["encode"] = measured(meter, lambda: stages.encode(picture, size))
    x0, found["denoise"] = measured(meter, lambda: stages.denoise(latents, None, "annotation"))
    _, found["decode"] = measured(meter, lambda: stages.decode(x0, size))
    for stage, facts in found.items():
        itemsize = model.placement.dtype("unet" if stage == "denoise" else "vae").itemsize
        facts["estimate"] = estimate(stage, model.widths, 1, *size.latent, itemsize)
    return found


lines: list[str] = []
handler = logging.Handler()
handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
logging.getLogger("lotus_geometry").addHandler(handler)
meter = CudaMeter(settings["cap"]) if settings["card"] == "cuda" else SimulatedMeter(settings["cap"])
model = loaded()
report: dict[str, Any] = {
    "device": torch.cuda.get_device_name() if settings["card"] == "cuda" else "simulated",
    "weights": {
        name: sum(p.nbytes for p in net.parameters())
        for name, net in (("unet", model.unet), ("vae", model.vae))
    },
}
with meter:
    report["runs"] = [one_run(model, meter) for _ in range(settings["runs"])]
    report["loaded"] = {"unet": model.patcher.loaded_size(), "vae": model.vae_patcher.loaded_size()}
    mm.unload_all_models()
    gc.collect()
    mm.soft_empty_cache()
    report["after_unload"] = meter.now()
pack.report(report | {"lines": lines})
