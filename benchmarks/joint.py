"""Depth and normals of one picture, together and apart, through the public functions."""

from __future__ import annotations

from typing import Any

import torch

import lotus_core as lc
from lotus_core.conventions import OutputKind
from lotus_core.inference.model import LotusModel, build_model
from lotus_core.inference.placement import TorchPlacement
from lotus_core.inference.precision import choose_precision
from lotus_core.loading.checkpoint import LoadedParts
from lotus_core.types import ModelInfo

from . import report
from .random_weights import filled, random_image, random_prompt, unet_on_meta, vae_on_meta
from .timing import interleave


def main(argv: list[str]) -> int:
    """Run the benchmark."""
    parser = report.parser("joint", __doc__ or "")
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 768], help="image sides in pixels")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "fp16", "bf16"])
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(argv)
    results: dict[str, Any] = {"machine": report.start(options), "sizes": {}}
    device = torch.device(options.device)
    depth, normal = (
        random_model(k, device, options.precision, seed) for seed, k in enumerate(("depth", "normal"))
    )
    for side in options.sizes:
        images = random_image(side).movedim(1, -1) * 0.5 + 0.5
        run = lc.InferenceOptions(resolution=side)
        times = interleave(
            {
                "depth": lambda images=images, run=run: lc.predict_depth(depth, images, run),
                "normals": lambda images=images, run=run: lc.predict_normals(normal, images, run),
                "joint": lambda images=images, run=run: lc.predict_joint(
                    depth, normal, images, run, resolve=False
                ),
            },
            options.repeats,
        )
        apart = [d + n for d, n in zip(times["depth"].seconds, times["normals"].seconds, strict=True)]
        share = sorted(j / a for j, a in zip(times["joint"].seconds, apart, strict=True))[
            options.repeats // 2
        ]
        rows = [[name, t.median, t.best] for name, t in times.items()]
        report.table(f"{side}x{side}: joint takes {share:.2f} of apart", ["call", "median s", "min s"], rows)
        seconds = {name: list(t.seconds) for name, t in times.items()}
        results["sizes"][side] = {"seconds": seconds, "joint_of_apart": share}
    report.finish(options, results)
    return 0


def random_model(output: OutputKind, device: torch.device, precision: str, seed: int) -> LotusModel:
    """Return a full-size model with random weights; all have the same VAE."""
    info = ModelInfo(f"random-{output}", "d", output, 768, "random", "random", 867_556_804, 1024)
    parts = LoadedParts(filled(unet_on_meta(), 10 * seed), filled(vae_on_meta(), 1), random_prompt(), info)
    dtypes = choose_precision(precision, device)  # type: ignore[arg-type]
    return build_model(parts, lambda unet, vae: TorchPlacement(unet, vae, device, *dtypes), dtypes)
