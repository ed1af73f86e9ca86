"""Reports torch's global and thread-local state before and after loading, running, failing and stopping."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import comfy.model_management as mm
import pack
import torch
from torch.utils import _python_dispatch

sys.path.append(str(pack.REPOSITORY / "tests" / "nodes" / "host" / "probe_pack"))
from torch_settings import torch_settings

module = partial(pack.module, pack.load_pack())
module("nodes.folders").register()
registry, bridge = module("nodes.registry"), module("nodes.bridge")
predict, options = module("lotus_core.inference.predict"), module("lotus_core.inference.options")
errors = module("lotus_core.errors")


def state() -> dict[str, Any]:
    """Everything global, and what belongs to this thread."""
    return torch_settings() | {
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "dispatch_modes": len(_python_dispatch._get_current_dispatch_mode_stack()),
        "seed": torch.initial_seed(),
    }


def load(name: str) -> Any:
    """A model as the loader node makes it."""
    return registry.shared_model(
        name,
        precision="auto",
        output=None,
        vae=None,
        prompt_embeds=None,
        progress=bridge.DownloadProgress(),
    )


def run_all(depth: Any, normal: Any, settings: Any) -> None:
    """Every kind of inference once."""
    predict.predict_depth(depth, images, settings)
    predict.predict_normals(normal, images, settings)
    predict.predict_joint(depth, normal, images, settings)
    predict.reconstruct(depth, images, settings)


images = torch.rand(2, 40, 32, 3)
settings = options.InferenceOptions(resolution=40)
report: dict[str, Any] = {"before": state()}
depth, normal = load("lotus-tiny-depth-d"), load("lotus-tiny-normal-d")
report["after loading"] = state()
run_all(depth, normal, settings)
report["after running"] = state()
try:
    predict.predict_depth(normal, images, settings)
except errors.ModelTaskError:
    report["after an error"] = state()
mm.interrupt_current_processing(True)
try:
    predict.predict_depth(depth, images, settings)
except mm.InterruptProcessingException:
    report["after a stop"] = state()
mm.interrupt_current_processing(False)

torch.manual_seed(1234)
torch.set_grad_enabled(False)
torch.use_deterministic_algorithms(True, warn_only=True)
torch.set_float32_matmul_precision("medium")
report["unusual before"] = state()
run_all(depth, normal, settings)
report["unusual after"] = state()
pack.report(report)
