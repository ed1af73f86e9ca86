"""On simulated cards: batches and pictures for which the one step has no room, through the nodes, and what is said."""

from __future__ import annotations

import gc
import logging
import re
from functools import partial
from typing import Any

import comfy.model_management as mm
import large_networks
import pack
import torch
from accelerator import CARD, DEVICE, MIB, CardMode

torch.set_grad_enabled(False)

module = partial(pack.module, pack.load_pack())
module("nodes.folders").register()
infer, memory, model_of = module("nodes.infer"), module("nodes.memory"), module("lotus_core.inference.model")
checkpoint = module("lotus_core.loading.checkpoint")
placement_of = module("lotus_core.inference.placement")
predict, options = module("lotus_core.inference.predict"), module("lotus_core.inference.options")
MemoryLimitError = module("lotus_core.errors").MemoryLimitError
FOLDS = module("lotus_core.inference.folding").Folds(filtering=False)
FP32, FP16 = torch.float32, torch.float16
UNET_WIDTHS = (160, 32, 32, 32)
"""Wide where the maps are large, so that the one step takes more than the VAE and its weights little: older versions
of ComfyUI load 128 MiB of weights at least, however small the card."""


def parts() -> Any:
    """A wide UNet between the bundled VAE's halves."""
    bundled = checkpoint.load_parts("lotus-tiny-depth-d").vae.float()
    made = large_networks.parts(module, unet_widths=UNET_WIDTHS)
    return type(made)(made.unet, bundled, made.prompt_embeds, made.info)


def managed(types: Any) -> Any:
    """The model under ComfyUI."""
    built = model_of.build_model(
        parts(), lambda unet, codec: memory.ComfyPlacement(unet, codec, types), (types.unet, types.vae), FOLDS
    )
    return memory.ManagedLotusModel.of(built, ("random",))


def unmanaged() -> Any:
    """The same in plain modules on the CPU."""
    cpu = torch.device("cpu")
    return model_of.build_model(
        parts(),
        lambda unet, codec: placement_of.TorchPlacement(unet, codec, cpu, FP32, FP32),
        (FP32, FP32),
        FOLDS,
    )


def estimated(model: Any, images: torch.Tensor, resolution: int, batch_size: int) -> torch.Tensor:
    """Depth of pictures as the node gives it."""
    widgets = {"seed": 0, "ensemble_size": 1, "sequence": "images", "upsample": "bilinear"}
    result = infer.LotusDepth.execute(
        lotus_model=model,
        image=images,
        working_size="custom",
        resolution=resolution,
        batch_size=batch_size,
        **widgets,
    )
    return result.args[1].depth.values


def too_many_at_once(model: Any, limit: int) -> dict[str, Any]:
    """Eight pictures asked for at once on a card that holds fewer, and the log."""
    images = torch.rand(8, 192, 192, 3, generator=torch.Generator().manual_seed(1))
    expected = predict.predict_depth(unmanaged(), images, options.InferenceOptions(192, batch_size=1))
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("lotus_geometry").addHandler(handler)
    CARD.limit = limit
    with CardMode():
        CARD.reset_peak()
        found = estimated(model, images, 192, 8)
    logging.getLogger("lotus_geometry").removeHandler(handler)
    return {
        "limit": limit,
        "peak": CARD.peak,
        "lines": [line for line in lines if "out of memory" in line],
        "difference": (found - expected.values).abs().max().item(),
    }


def too_large(model: Any, limit: int, side: int) -> dict[str, Any]:
    """One picture too large for the card; then what the error proposes, tried."""
    images = torch.rand(1, side, side, 3, generator=torch.Generator().manual_seed(2))
    CARD.limit = limit
    with CardMode():
        try:
            estimated(model, images, side, 0)
            return {"said": None}
        except MemoryLimitError as error:
            said = str(error)
        gc.collect()
        proposed = int(re.search(r"lower the resolution to (\d+)", said)[1])
        halved = int(re.search(r"choose fp16 or bf16 and (\d+) pixels", said)[1])
        CARD.reset_peak()
        lowered = bool(estimated(model, images, proposed, 0).isfinite().all())
        peak = CARD.peak
    facts = {"said": said, "proposed": proposed, "halved": halved, "lowered": lowered}
    return facts | {"limit": limit, "peak": peak}


def in_fp16(limit: int, side: int) -> dict[str, Any]:
    """A picture on the same card in half precision."""
    images = torch.rand(1, side, side, 3, generator=torch.Generator().manual_seed(2))
    model = managed(memory.Types(FP16, FP16, FP16))
    CARD.limit = limit
    with CardMode():
        CARD.reset_peak()
        finite = bool(estimated(model, images, side, 0).isfinite().all())
    mm.free_memory(1e30, DEVICE)
    return {"finite": finite, "peak": CARD.peak}


def reserved(model: Any, limit: int) -> dict[str, int]:
    """What the placement counts as free on an empty card, without and with memory reserved for others."""
    CARD.limit = limit
    placement = model.placement
    before = placement.free_memory(), placement.obtainable_memory()
    mm.EXTRA_RESERVED_VRAM = 24 * MIB
    after = placement.free_memory(), placement.obtainable_memory()
    mm.EXTRA_RESERVED_VRAM = 0
    return {"free": before[0] - after[0], "obtainable": before[1] - after[1]}


CARD.attach(2**40)
model = managed(memory.Types(FP32, FP32, FP32))
report: dict[str, Any] = {"weights": sum(p.nbytes for p in model.unet.parameters())}
report["batch"] = too_many_at_once(model, 48 * MIB)
report["picture"] = too_large(model, 64 * MIB, 592)
report["reserved"] = reserved(model, 512 * MIB)
report["fp16"] = in_fp16(64 * MIB, report["picture"]["halved"])
mm.unload_all_models()
del model
gc.collect()
mm.cleanup_models_gc()
gc.collect()
pack.report(report | {"left_on_card": CARD.current})
