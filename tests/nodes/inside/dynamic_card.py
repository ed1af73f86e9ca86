"""Runs a Lotus model under ComfyUI's dynamic VRAM on simulated cards, and reports; for versions that have it.

Arguments: how many runs, then the cards' sizes in MiB.
"""

from __future__ import annotations

import gc
import logging
import sys
from functools import partial
from typing import Any

import comfy.model_management as mm
import large_networks
import pack
import torch
import virtual_memory
from accelerator import CARD, DEVICE, MIB, CardMode

runs, limits = int(sys.argv[1]), [int(size) * MIB for size in sys.argv[2:]]
torch.set_grad_enabled(False)
logging.getLogger().setLevel(logging.WARNING)
module = partial(pack.module, pack.load_pack())
memory, model_of = module("nodes.memory"), module("lotus_core.inference.model")
placement_of = module("lotus_core.inference.placement")
folds = module("lotus_core.inference.folding").Folds(filtering=False)
FP32 = torch.float32


def built(place: Any) -> Any:
    """The random model on a placement."""
    return model_of.build_model(large_networks.parts(module), place, (FP32, FP32), folds)


def run_stages(model: Any, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    """Each stage by itself, on the CPU."""
    results = (model.encode(inputs[0]), model.denoise(inputs[1]), model.decode(inputs[2]))
    return [result.to("cpu") for result in results]


def difference(found: list[torch.Tensor], expected: list[torch.Tensor]) -> list[float]:
    """Largest difference of each stage, as a share of its largest number where that exceeds 1."""
    return [
        (a - b).abs().max().item() / max(1.0, b.abs().max().item())
        for a, b in zip(found, expected, strict=True)
    ]


plain = built(lambda unet, codec: placement_of.TorchPlacement(unet, codec, torch.device("cpu"), FP32, FP32))
rgb = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
latents = plain.encode(rgb)
x0 = plain.denoise(latents)
inputs, expected = [rgb, latents, x0], [latents, x0, plain.decode(x0)]
del plain
gc.collect()

CARD.attach(2**40)
virtual_memory.attach()
types = memory.Types(FP32, FP32, FP32)
model = memory.ManagedLotusModel.of(
    built(lambda unet, codec: memory.ComfyPlacement(unet, codec, types)), ("random",)
)
report: dict[str, Any] = {"dynamic": model.patcher.is_dynamic(), "cards": []}
with CardMode():
    for limit in limits:
        CARD.limit = limit
        history = []
        for _ in range(runs):
            CARD.reset_peak()
            error = difference(run_stages(model, inputs), expected)
            buffer = model.patcher._vbar_get()
            history.append(
                {
                    "peak": CARD.peak,
                    "error": error,
                    "loaded": model.patcher.loaded_size(),
                    "after": CARD.current,
                    "misses": buffer.misses,
                }
            )
        mm.free_memory(1e30, DEVICE)
        gc.collect()
        report["cards"].append({"limit": limit, "history": history, "after_free": CARD.current})
    report["models"] = [patcher is model.patcher for patcher in model.get_models()]
    del model, buffer
    gc.collect()
    mm.cleanup_models_gc()
    gc.collect()
pack.report(report | {"after_dropping": CARD.current})
