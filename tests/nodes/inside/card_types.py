"""On the simulated card: weights in every type that ComfyUI stores, layers streamed one by one, strips, overflow.

One argument: the folder of a checkpoint whose decoder overflows fp16.
"""

from __future__ import annotations

import gc
import logging
import sys
import warnings
from functools import partial
from typing import Any

import comfy.cli_args
import comfy.model_management as mm
import large_networks
import pack
import torch
from accelerator import CARD, MIB, CardMode

torch.set_grad_enabled(False)

module = partial(pack.module, pack.load_pack())
adopt, memory, model_of = module("nodes.adopt"), module("nodes.memory"), module("lotus_core.inference.model")
checkpoint, image = module("lotus_core.loading.checkpoint"), module("lotus_core.inference.image")
stages_of, placement_of = module("lotus_core.inference.stages"), module("lotus_core.inference.placement")
FP32, FP16, BF16, FP8 = torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn
OVERFLOWING = sys.argv[1]
LEAVES = (torch.nn.Linear, torch.nn.Conv2d, torch.nn.GroupNorm, torch.nn.LayerNorm)


def parts(source: str = "lotus-tiny-depth-d") -> Any:
    """The bundled depth model, or a checkpoint in a folder."""
    loaded = checkpoint.load_parts(source, output="disparity")
    loaded.vae.float()
    return loaded


def managed(types: Any, **changes: Any) -> Any:
    """The bundled model under ComfyUI."""
    return model_of.build_model(
        parts(**changes),
        lambda unet, codec: memory.ComfyPlacement(unet, codec, types),
        (types.unet, types.vae),
    )


def unmanaged(types: Any, **changes: Any) -> Any:
    """The same weights, rounded to the same types, in plain modules on the CPU."""
    folds = module("lotus_core.inference.folding").Folds(filtering=False)

    def place(unet: torch.nn.Module, codec: torch.nn.Module) -> Any:
        adopt.store(unet, types.unet_stored, types.unet)
        return placement_of.TorchPlacement(unet, codec, torch.device("cpu"), types.unet, types.vae)

    return model_of.build_model(parts(**changes), place, (types.unet, types.vae), folds)


def compared(types: Any) -> dict[str, Any]:
    """Differences of each stage, and the types in which weights lie, with every layer streamed to the card."""
    rgb = torch.rand(1, 3, 96, 64, generator=torch.Generator().manual_seed(2)) * 2 - 1
    plain = unmanaged(types)
    latents = plain.encode(rgb)
    x0 = plain.denoise(latents)
    expected = [latents, x0, plain.decode(x0)]
    model = managed(types)
    mm.vram_state = mm.VRAMState.NO_VRAM
    with CardMode():
        found = [x.to("cpu") for x in (model.encode(rgb), model.denoise(latents), model.decode(x0))]
    mm.unload_all_models()
    mm.vram_state = mm.VRAMState.NORMAL_VRAM
    kept = sorted({str(p.dtype).removeprefix("torch.") for p in model.unet.parameters()})
    differences = [(a - b).abs().max().item() for a, b in zip(found, expected, strict=True)]
    return {"difference": differences, "kept": kept, "finite": all(bool(x.isfinite().all()) for x in found)}


def adoption() -> dict[str, Any]:
    """Which layers were adopted, and what is said of one that cannot be."""
    model = managed(memory.Types(FP32, FP32, FP32))
    leaves = [m for net in (model.unet, model.vae) for m in net.modules() if isinstance(m, LEAVES)]
    with_weights = [
        m
        for net in (model.unet, model.vae)
        for m in net.modules()
        if next(m.parameters(recurse=False), None) is not None
    ]
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Conv1d(2, 2, 1), torch.nn.PReLU())
    try:
        adopt.adopt(net)
        refusal = None
    except module("lotus_core.errors").ArchitectureError as error:
        refusal = str(error)
    return {
        "leaves": len(leaves),
        "with_weights": len(with_weights),
        "adopted": sum(type(m).__module__ == "comfy.ops" for m in leaves),
        "own_lists": len({id(m.weight_function) for m in leaves}) == len(leaves),
        "refusal": refusal,
    }


def overflow() -> dict[str, Any]:
    """A VAE whose activations exceed fp16, decoded in fp16 and, by itself, again in fp32."""
    x0 = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    size = image.working_size(64, 64, 0)
    expected = stages_of.Stages(unmanaged(memory.Types(FP32, FP32, FP32), source=OVERFLOWING)).decode(
        x0, size
    )
    without_factor = stages_of.Stages(unmanaged(memory.Types(FP32, FP32, FP32))).decode(x0, size)
    model = managed(memory.Types(FP16, FP16, FP16), source=OVERFLOWING)
    with CardMode(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        in_fp16 = bool(model.decode(x0).isfinite().all())
        found = stages_of.Stages(model).decode(x0, size).to("cpu")
    mm.unload_all_models()
    said = [str(w.message) for w in caught if "overflowed" in str(w.message)]
    return {
        "finite_in_fp16": in_fp16,
        "said": said,
        "difference": (found - expected).abs().max().item(),
        "factor_cancels": (without_factor - expected).abs().max().item(),
    }


def strips() -> dict[str, Any]:
    """A VAE at a size that the card cannot hold in one piece, and its log."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("lotus_geometry").addHandler(handler)
    types = memory.Types(FP32, FP32, FP32)
    folds = module("lotus_core.inference.folding").Folds(filtering=False)
    plain = model_of.build_model(
        large_networks.parts(module, unet_widths=(32, 32, 32, 32)),
        lambda unet, codec: placement_of.TorchPlacement(unet, codec, torch.device("cpu"), FP32, FP32),
        (FP32, FP32),
        folds,
    )
    model = model_of.build_model(
        large_networks.parts(module, unet_widths=(32, 32, 32, 32)),
        lambda unet, codec: memory.ComfyPlacement(unet, codec, types),
        (FP32, FP32),
        folds,
    )
    images = torch.rand(1, 288, 320, 3, generator=torch.Generator().manual_seed(4))
    size = image.working_size(288, 320, 0)
    whole = stages_of.Stages(plain)
    latents = whole.encode(images, size)
    expected = whole.decode(latents, size)
    CARD.limit = 64 * MIB
    with CardMode():
        cramped = stages_of.Stages(model)
        found_latents = cramped.encode(images, size).to("cpu")
        CARD.reset_peak()
        found = cramped.decode(latents, size).to("cpu")
        peak = CARD.peak
    mm.unload_all_models()
    CARD.limit = 2**40
    return {
        "lines": lines,
        "peak": peak,
        "latents": (found_latents - latents).abs().max().item(),
        "maps": (found - expected).abs().max().item(),
    }


def chosen(*switches: str) -> list[str]:
    """Types that "auto" chooses under ComfyUI's switches: stored and computed of the UNet, then the VAE's."""
    for switch in switches:
        setattr(comfy.cli_args.args, switch, True)
    types = memory.choose_types("auto", 10**9)
    for switch in switches:
        setattr(comfy.cli_args.args, switch, False)
    return [str(t).removeprefix("torch.") for t in (types.unet_stored, types.unet, types.vae)]


switches = ("fp16_unet", "bf16_unet", "fp8_e4m3fn_unet", "fp8_e5m2_unet", "fp16_vae", "bf16_vae", "fp32_vae")
by_switch = {"none": chosen()} | {switch: chosen(switch) for switch in switches}
CARD.attach(2**40)
report = {
    "by_switch": by_switch,
    "types": {
        "fp16": compared(memory.Types(FP16, FP16, FP16)),
        "bf16": compared(memory.Types(BF16, BF16, BF16)),
        "fp8 in fp32": compared(memory.Types(FP8, FP32, FP32)),
        "fp8 in bf16": compared(memory.Types(FP8, BF16, BF16)),
    },
    "adoption": adoption(),
    "overflow": overflow(),
    "strips": strips(),
}
gc.collect()
pack.report(report | {"left_on_card": CARD.current})
