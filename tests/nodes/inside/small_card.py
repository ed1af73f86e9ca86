"""Runs a Lotus model through ComfyUI's memory manager on simulated cards smaller than its weights, and reports.

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
import psutil
import torch
from accelerator import CARD, DEVICE, MIB, CardMode, CardTensor

runs, limits = int(sys.argv[1]), [int(size) * MIB for size in sys.argv[2:]]
torch.set_grad_enabled(False)
logging.getLogger().setLevel(logging.WARNING)

module = partial(pack.module, pack.load_pack())
memory, model_of = module("nodes.memory"), module("lotus_core.inference.model")
folds = module("lotus_core.inference.folding").Folds(filtering=False)  # as an accelerator computes
FP32 = torch.float32


def loaded() -> Any:
    """The model, placed by ComfyUI."""
    types = memory.Types(FP32, FP32, FP32)
    model = model_of.build_model(
        large_networks.parts(module),
        lambda unet, codec: memory.ComfyPlacement(unet, codec, types),
        (FP32, FP32),
        folds,
    )
    return memory.ManagedLotusModel.of(model, ("random",))


def unmanaged() -> Any:
    """The same model, placed by nobody: plain modules on the CPU."""
    cpu = torch.device("cpu")
    placement = module("lotus_core.inference.placement").TorchPlacement
    return model_of.build_model(
        large_networks.parts(module),
        lambda unet, codec: placement(unet, codec, cpu, FP32, FP32),
        (FP32, FP32),
        folds,
    )


def stages(model: Any, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    """Latents, x0 and map, on the CPU, of a picture, latents and x0: each stage by itself."""
    results = [model.encode(inputs[0])]
    results += [model.denoise(inputs[1] if len(inputs) > 1 else results[0])]
    results += [model.decode(inputs[2] if len(inputs) > 1 else results[1])]
    return [result.to("cpu") for result in results]


def difference(found: list[torch.Tensor], expected: list[torch.Tensor]) -> list[float]:
    """Largest difference of each stage, as a share of its largest number where that exceeds 1."""
    return [
        (a - b).abs().max().item() / max(1.0, b.abs().max().item())
        for a, b in zip(found, expected, strict=True)
    ]


def on_card(patcher: Any) -> int:
    """Bytes of a model's weights that lie on the card."""
    return sum(p.nbytes for p in patcher.model.parameters() if isinstance(p, CardTensor))


def many_runs(model: Any, inputs: list[torch.Tensor], expected: list[torch.Tensor]) -> list[dict[str, Any]]:
    """What the card and the machine held during and after each of several runs."""
    history: list[dict[str, Any]] = []
    for _ in range(runs):
        CARD.reset_peak()
        found = stages(model, inputs)
        gc.collect()
        history.append(
            {
                "peak": CARD.peak,
                "after": CARD.current,
                "unet_on_card": on_card(model.patcher),
                "vae_on_card": on_card(model.vae_patcher),
                "error": difference(found, expected),
                "resident": psutil.Process().memory_info().rss,
            }
        )
    return history


def beside_another(model: Any, limit: int) -> int:
    """Bytes of ours that stay when another model of three quarters of the card is loaded."""
    big = torch.nn.Module()
    big.layer = torch.nn.Linear(limit // 4 // 1024 * 3 // 4, 1024, bias=False)
    big.device = torch.device("cpu")
    patcher = module("nodes.compat").patcher_class()(
        big, load_device=DEVICE, offload_device=torch.device("cpu")
    )
    mm.load_models_gpu([patcher], memory_required=MIB)
    ours = on_card(model.patcher) + on_card(model.vae_patcher)
    mm.free_memory(1e30, DEVICE)
    return ours


rgb = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
expected = stages(unmanaged(), [rgb])
inputs = [rgb, *expected[:2]]
gc.collect()
CARD.attach(2**40)
model = loaded()
report: dict[str, Any] = {"unet_bytes": sum(p.nbytes for p in model.patcher.model.parameters()), "cards": []}
with CardMode():
    report["device"] = str(model.encode(rgb).device)
    with_all_on_card = stages(model, inputs)
    report["loaded_without_limit"] = on_card(model.patcher)
    mm.unload_all_models()
    gc.collect()
    for limit in limits:
        CARD.limit = limit
        card: dict[str, Any] = {"limit": limit, "history": many_runs(model, inputs, expected)}
        card["equal_to_all_on_card"] = all(map(torch.equal, stages(model, inputs), with_all_on_card))
        card["beside_another"] = beside_another(model, limit)
        card["error_after_another"] = difference(stages(model, inputs), expected)
        mm.unload_all_models()
        gc.collect()
        card["after_unload"] = CARD.current
        card["error_after_unload"] = difference(stages(model, inputs), expected)
        report["cards"].append(card)
    del model
    gc.collect()
    mm.cleanup_models_gc()
    gc.collect()
    report |= {"after_dropping": CARD.current, "known_to_comfyui": len(mm.current_loaded_models)}
pack.report(report)
