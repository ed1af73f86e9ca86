"""From a checkpoint on disk to the first map, phase by phase, in a fresh process."""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from . import report
from .random_weights import full_size, random_image


def main(argv: list[str]) -> int:
    """Run the benchmark."""
    parser = report.parser("startup", __doc__ or "")
    parser.add_argument("--size", type=int, default=512, help="image side in pixels")
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "fp16", "bf16"])
    parser.add_argument("--folder", type=Path, help="where the checkpoint is written (default: temporary)")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        report.prepare(options)
        print(json.dumps(phases(options.child, options.size, options.precision)))
        return 0
    results: dict[str, Any] = {"machine": report.start(options), "precision": options.precision}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        checkpoint = write_checkpoint(Path(folder) / "random-lotus-depth-d")
        size = sum(f.stat().st_size for f in checkpoint.rglob("*.safetensors"))
        command = [sys.executable, "-m", "benchmarks", "startup", "--child", str(checkpoint)]
        command += ["--size", str(options.size), "--precision", options.precision]
        command += ["--threads", str(options.threads)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    results["phases"] = json.loads(done.stdout.splitlines()[-1])
    rows = [[p["phase"], p["seconds"], p["resident_mib"], p["peak_mib"]] for p in results["phases"]]
    title = f"{size / 1e9:.2f} GB of fp16 weights, {options.precision}, {options.size}x{options.size}"
    report.table(title, ["phase", "seconds", "resident MiB after", "peak MiB so far"], rows)
    report.finish(options, results)
    return 0


def write_checkpoint(folder: Path) -> Path:
    """Write full-size random networks as a diffusers folder in fp16, and return it."""
    from safetensors.torch import save_file

    networks = full_size()
    for name in ("unet", "vae"):
        network = getattr(networks, name)
        torch.nn.Module.to(network, torch.float16)
        network.save_config(folder / name)
        tensors = {k: v.contiguous() for k, v in network.state_dict().items()}
        save_file(tensors, folder / name / "diffusion_pytorch_model.fp16.safetensors")
    return folder


def phases(checkpoint: Path, side: int, precision: str) -> list[dict[str, Any]]:
    """Return seconds and memory of every phase from the imports to the second map."""
    done: list[dict[str, Any]] = []
    clock = time.perf_counter()

    def note(phase: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        memory = {f"{k}_mib": report.status_mib(v) for k, v in (("resident", "VmRSS"), ("peak", "VmHWM"))}
        done.append({"phase": phase, "seconds": now - clock, **memory})
        clock = time.perf_counter()

    from lotus_core.inference.folding import fold_unet, fold_vae
    from lotus_core.inference.precision import choose_precision
    from lotus_core.loading.checkpoint import load_parts

    note("import the library")
    for module in ("unets.unet_2d_condition", "autoencoders.autoencoder_kl"):
        importlib.import_module(f"diffusers.models.{module}")

    note("import diffusers")
    full_prompt = torch.zeros(1, 2, 1024)
    parts = load_parts(checkpoint, prompt_embeds=full_prompt, output="depth")
    note("open and check the files")
    dtypes = choose_precision(precision, torch.device("cpu"))  # type: ignore[arg-type]
    step = fold_unet(parts.unet, parts.prompt_embeds, dtype=dtypes[0])
    codec = fold_vae(parts.vae, dtype=dtypes[1])
    del parts
    note("read, fold, cast and lay out")
    rgb = random_image(side).to(dtypes[1])
    for which in ("first map", "second map"):
        codec.decode(step(codec.encode(rgb).to(dtypes[0])).to(dtypes[1]))
        note(which)
    return done
