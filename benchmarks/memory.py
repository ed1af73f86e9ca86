"""Peak memory of one image, weights included: every contender in a process of its own."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

import torch
from torch import nn

from lotus_core.inference.folding import fold_unet, fold_vae
from lotus_core.inference.latent_codec import LatentCodec
from lotus_core.inference.one_step import PlainOneStep
from lotus_core.inference.precision import choose_precision

from . import report
from .random_weights import full_size, random_image, text_encoder

CONTENDERS = ("plain with text encoder", "plain", "folded", "folded auto")
MIB = 2**20


def main(argv: list[str]) -> int:
    """Run the benchmark."""
    parser = report.parser("memory", __doc__ or "")
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 768], help="image sides in pixels")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--child", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        report.prepare(options)
        print(json.dumps(measure(options.child, options.sizes[0], torch.device(options.device))))
        return 0
    results: dict[str, Any] = {"machine": report.start(options), "sizes": {}}
    for side in options.sizes:
        by_name = {name: _in_process(name, side, options) for name in CONTENDERS}
        base = by_name[CONTENDERS[0]]["peak_mib"]
        rows = [
            [
                n,
                r["parameters_m"],
                r["weights_mib"],
                r["loaded_mib"],
                r["peak_mib"],
                f"{r['peak_mib'] / base:.2f}x",
            ]
            for n, r in by_name.items()
        ]
        columns = [
            "contender",
            "UNet M parameters",
            "weights MiB",
            "loaded MiB",
            "peak of a map, MiB",
            "of the first",
        ]
        report.table(f"{side}x{side}, one image: resident memory", columns, rows)
        results["sizes"][side] = by_name
    report.finish(options, results)
    return 0


def measure(name: str, side: int, device: torch.device) -> dict[str, float]:
    """Build a contender, run one image, and return its parameters (millions) and memory (MiB)."""
    networks = full_size()
    keep: list[nn.Module] = []
    if name.startswith("folded"):
        dtypes = choose_precision("auto" if name.endswith("auto") else "fp32", device)
        step: nn.Module = fold_unet(networks.unet, networks.prompt_embeds, dtype=dtypes[0])
        codec: nn.Module = fold_vae(networks.vae, dtype=dtypes[1])
    else:
        dtypes = choose_precision("fp32", device)
        step, codec = PlainOneStep(networks.unet, networks.prompt_embeds), LatentCodec(networks.vae)
        if name != "plain":
            keep.append(text_encoder().to(device))
    del networks
    step.to(device)
    codec.to(device)
    loaded = _settled(device)
    rgb = random_image(side).to(device, dtypes[1])
    result = codec.decode(step(codec.encode(rgb).to(dtypes[0])).to(dtypes[1]))
    if not torch.isfinite(result).all():
        raise RuntimeError(f"{name} gave NaN or infinity")
    weights = sum(p.numel() * p.element_size() for m in (step, codec, *keep) for p in m.parameters())
    return {
        "parameters_m": sum(p.numel() for p in step.parameters()) / 1e6,
        "weights_mib": weights / MIB,
        "loaded_mib": loaded,
        "peak_mib": _peak(device),
    }


def _in_process(name: str, side: int, options: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks", "memory", "--child", name, "--sizes", str(side)]
    command += ["--device", options.device, "--threads", str(options.threads)]
    command += ["--keep-freed-memory"] if options.keep_freed_memory else []
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def _settled(device: torch.device) -> float:
    """Return the memory that is held once everything is loaded, and start counting the peak from there."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / MIB
    report.return_free_memory()
    return report.status_mib("VmRSS")


def _peak(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / MIB
    return report.status_mib("VmHWM")
