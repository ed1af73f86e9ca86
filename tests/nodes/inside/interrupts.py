"""Presses Cancel while a stage computes, and reports which stages still ran."""

from __future__ import annotations

from functools import partial
from typing import Any

import comfy.model_management as mm
import pack
import torch

module = partial(pack.module, pack.load_pack())
registry, bridge = module("nodes.registry"), module("nodes.bridge")
predict, options = module("lotus_core.inference.predict"), module("lotus_core.inference.options")
passes, stages = module("lotus_core.inference.strips.passes"), module("lotus_core.inference.stages")

module("nodes.folders").register()
model = registry.shared_model(
    "lotus-tiny-depth-d",
    precision="fp32",
    output=None,
    vae=None,
    prompt_embeds=None,
    progress=bridge.DownloadProgress(),
)
images = torch.rand(3, 32, 32, 3)
one_by_one = options.InferenceOptions(resolution=32, batch_size=1)


def stopped(action: Any) -> str | None:
    """The name of what an action raises, an interrupt by its class."""
    try:
        action()
    except BaseException as error:  # noqa: BLE001  # an interrupt is no Exception in newer versions
        return type(error).__name__
    return None


def stop_during(stage: str) -> dict[str, Any]:
    """Cancel inside one stage's computation, the first time."""
    computed: list[str] = []
    originals = {"encode": model.vae.encode, "decode": model.vae.decode, "denoise": model.unet.forward}

    def watched(name: str) -> Any:
        def compute(*args: Any) -> torch.Tensor:
            result = originals[name](*args)
            computed.append(name)
            if name == stage:
                mm.interrupt_current_processing(True)
            return result

        return compute

    model.vae.encode, model.vae.decode, model.unet.forward = map(watched, ("encode", "decode", "denoise"))
    raised = stopped(lambda: predict.predict_depth(model, images, one_by_one))
    del model.vae.encode, model.vae.decode, model.unet.forward
    mm.interrupt_current_processing(False)
    return {"computed": computed, "raised": raised}


def stop_in_strips() -> dict[str, Any]:
    """Cancel while the VAE works in strips, after its fifth layer."""
    layers: list[int] = []
    convolution = passes.StripPass._convolution

    def no_room(rgb: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("CUDA out of memory")

    def watched(self: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        layers.append(len(layers))
        if len(layers) == 5:
            mm.interrupt_current_processing(True)
        return convolution(self, *args, **kwargs)

    model.vae.encode, passes.StripPass._convolution = no_room, watched
    raised = stopped(lambda: predict.predict_depth(model, images[:1], one_by_one))
    del model.vae.encode
    passes.StripPass._convolution = convolution
    mm.interrupt_current_processing(False)
    return {"layers": len(layers), "raised": raised}


report: dict[str, Any] = {"during": {stage: stop_during(stage) for stage in ("encode", "denoise", "decode")}}
report["strips"] = stop_in_strips()
depth = predict.predict_depth(model, images, one_by_one)
pack.report(report | {"clean_after": bool(depth.values.isfinite().all()) and len(depth.values) == 3})
