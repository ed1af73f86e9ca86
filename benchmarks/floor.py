"""The arithmetic floor: multiply-adds of each stage, counted, over the machine's measured peak."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from lotus_core.inference.folding import fold_unet, fold_vae
from lotus_core.inference.folding.minimal_filtering import winograd, winograd_after_upsampling
from lotus_core.inference.latent_codec import Codec, LatentCodec
from lotus_core.inference.one_step import OneStep, PlainOneStep

from . import report
from .random_weights import unet_on_meta, vae_on_meta
from .timing import seconds_of

GIGA = 1e9


def main(argv: list[str]) -> int:
    """Run the benchmark."""
    parser = report.parser("floor", __doc__ or "")
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 768], help="image sides in pixels")
    parser.add_argument(
        "--filtered",
        action="store_true",
        help="also count minimal filtering, as fp32 on the CPU uses it (minutes)",
    )
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(argv)
    results: dict[str, Any] = {"machine": report.start(options), "sizes": {}}
    device = torch.device(options.device)
    results["peaks"] = {name: peaks(getattr(torch, name), device) for name in options.dtypes}
    rows = [[n, p["matmul"] / GIGA, p["conv"] / GIGA] for n, p in results["peaks"].items()]
    report.table(
        "Measured peaks, G multiply-adds per second", ["type", "matrix product", "convolution"], rows
    )
    for side in options.sizes:
        results["sizes"][side] = counts(side, options.filtered)
        show(side, results["sizes"][side], results["peaks"])
    report.finish(options, results)
    return 0


def counts(side: int, filtered: bool) -> dict[str, dict[str, int]]:
    """Return the multiply-adds of every stage for one image: plain, folded, and folded with minimal filtering."""
    prompt = torch.zeros(1, 2, 1024, device="meta")
    with torch.device("meta"):  # nothing is computed, not even the constants
        plain = PlainOneStep(unet_on_meta(), prompt), LatentCodec(vae_on_meta())
        folded = fold_unet(unet_on_meta(), prompt), fold_vae(vae_on_meta())
        results = {"plain": _counts(*plain, side), "folded": _counts(*folded, side)}
    if filtered:
        for transforms in (winograd, winograd_after_upsampling):
            transforms()  # made outside, where tensors have values
        with FakeTensorMode(allow_non_fake_inputs=True), torch.device("cpu"):
            for network in folded:
                _without_values(network)
            results["folded, filtered"] = _counts(*folded, side)
    return results


def _counts(step: OneStep, codec: Codec, side: int) -> dict[str, int]:
    rgb, latents = torch.zeros(1, 3, side, side), torch.zeros(1, 4, side // 8, side // 8)
    return {
        "encode": multiply_adds(lambda: codec.encode(rgb)),
        "step": multiply_adds(lambda: step(latents)),
        "decode": multiply_adds(lambda: codec.decode(latents)),
    }


def _without_values(network: nn.Module) -> None:
    """Replace weights by fake ones on the CPU: the code takes the CPU's way, and nothing is computed."""
    for module in network.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(
                module, name, nn.Parameter(torch.empty_like(parameter, device="cpu"), requires_grad=False)
            )


def multiply_adds(work: Callable[[], object]) -> int:
    """Return the multiply-adds of some work, as torch's own counter counts them."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() // 2


def peaks(dtype: torch.dtype, device: torch.device) -> dict[str, float]:
    """Return the most multiply-adds per second in matrix products and in 3x3 convolutions of usual sizes."""
    rates: dict[str, float] = {"matmul": 0.0, "conv": 0.0}
    for n in (1024, 2048, 3072):
        a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
        rates["matmul"] = max(rates["matmul"], n**3 / _best(lambda a=a, b=b: a @ b))
    for channels, side in ((512, 64), (512, 128), (256, 128), (320, 64)):
        x = torch.randn(1, channels, side, side, device=device).to(dtype, memory_format=torch.channels_last)
        w = torch.randn(channels, channels, 3, 3, device=device).to(dtype, memory_format=torch.channels_last)
        seconds = _best(lambda x=x, w=w: F.conv2d(x, w, padding=1))
        rates["conv"] = max(rates["conv"], 9 * channels**2 * side**2 / seconds)
    return rates


def show(side: int, counted: dict[str, dict[str, int]], measured: dict[str, dict[str, float]]) -> None:
    """Print one size's table."""
    rows = [
        [
            name,
            stage,
            count / 1e12,
            *(f"{count / max(peak.values()):.2f}" for peak in measured.values()),
        ]
        for name, stages in counted.items()
        for stage, count in {**stages, "all": sum(stages.values())}.items()
    ]
    columns = ["network", "stage", "T multiply-adds", *(f"floor s, {name}" for name in measured)]
    report.table(f"{side}x{side}, one image", columns, rows)


def _best(work: Callable[[], Tensor], repeats: int = 5) -> float:
    work()
    return min(seconds_of(work) for _ in range(repeats))
