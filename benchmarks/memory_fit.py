"""How close the memory estimate comes to what is measured: ``python -m benchmarks memory_fit``.

Peaks are counted at torch's dispatcher on tensors without content, so that a network of full size at 2048 pixels is
measured in a second. Two ways through the folded networks are measured: the one that every accelerator takes, in
every type, and the one that the CPU takes in fp32, whose minimal filtering works in scratch memory.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from lotus_core.inference.folding.minimal_filtering import winograd, winograd_after_upsampling
from lotus_core.inference.memory import STAGES, Stage, activation_bytes

from .live_memory import LiveBytes
from .networks import MINI, SD2, Networks, refilled, weightless

Way = Literal["accelerator", "cpu"]

ACCELERATOR_LATENTS = ((1, 32, 32), (1, 64, 64), (1, 96, 96), (4, 96, 72), (1, 128, 96), (1, 256, 256))
CPU_LATENTS = ((1, 8, 8), (1, 16, 16), (1, 32, 32), (2, 32, 32), (1, 64, 64))


@dataclass(frozen=True)
class Peak:
    """One measured peak beside its estimate.

    Attributes:
        way: Way through the networks.
        stage: Stage of a run.
        latents: (batch, rows, columns).
        dtype: Type that was computed in.
        measured: Bytes.
        estimated: Bytes.
    """

    way: Way
    stage: Stage
    latents: tuple[int, int, int]
    dtype: torch.dtype
    measured: int
    estimated: int

    @property
    def ratio(self) -> float:
        """Estimate over measurement; under 0.95 is too little."""
        return self.estimated / self.measured


def peaks(
    networks: Networks, way: Way, latents: Sequence[tuple[int, int, int]], dtype: torch.dtype
) -> Iterator[Peak]:
    """Yield the peak of every stage at every size of latents.

    Args:
        networks: Folded networks; their weights are replaced by empty ones.
        way: "accelerator", or "cpu" (fp32 only).
        latents: (batch, rows, columns) each.
        dtype: Type to compute in.
    """
    with _tensors_without_content(way) as device, torch.no_grad():
        unet, codec = refilled(networks.unet, device, dtype), refilled(networks.codec, device, dtype)
        computations: dict[Stage, Any] = {"encode": codec.encode, "denoise": unet, "decode": codec.decode}
        for batch, rows, columns in latents:
            for stage in STAGES:
                x = _input(stage, networks, (batch, rows, columns)).to(device, dtype)
                with LiveBytes() as live:
                    result = computations[stage](x)
                    del result
                estimated = activation_bytes(stage, networks.widths, batch, rows, columns, dtype.itemsize)
                yield Peak(way, stage, (batch, rows, columns), dtype, live.peak, estimated)


def main(arguments: Sequence[str]) -> None:
    """Print the table, and the lowest and highest ratio of estimate and measurement."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks memory_fit", description=__doc__)
    parser.add_argument("--cpu", action="store_true", help="the CPU's way too (minutes)")
    chosen = parser.parse_args(arguments)
    found: list[Peak] = []
    print(
        f"{'network':8} {'way':12} {'type':9} {'latents':14} {'stage':8} {'measured':>10} {'estimate':>10}  ratio"
    )
    for name, widths in (("sd2", SD2), ("mini", MINI)):
        for way in ("accelerator", "cpu") if chosen.cpu else ("accelerator",):
            latents = ACCELERATOR_LATENTS if way == "accelerator" else CPU_LATENTS
            types = (torch.float32, torch.float16) if way == "accelerator" else (torch.float32,)
            for dtype in types:
                for peak in peaks(weightless(widths), way, latents, dtype):
                    found.append(peak)
                    print(_line(name, peak), flush=True)
    low, high = min(found, key=lambda peak: peak.ratio), max(found, key=lambda peak: peak.ratio)
    print(f"lowest ratio {low.ratio:.3f} ({low.stage}), highest {high.ratio:.3f} ({high.stage})")


def _line(name: str, peak: Peak) -> str:
    size = "x".join(map(str, peak.latents))
    kind = str(peak.dtype).removeprefix("torch.")
    mib = f"{peak.measured / 2**20:9.1f}M {peak.estimated / 2**20:9.1f}M"
    return f"{name:8} {peak.way:12} {kind:9} {size:14} {peak.stage:8} {mib}  {peak.ratio:.3f}"


def _input(stage: Stage, networks: Networks, latents: tuple[int, int, int]) -> Tensor:
    batch, rows, columns = latents
    if stage == "encode":
        return torch.empty(batch, 3, 8 * rows, 8 * columns, device="meta")
    return torch.empty(
        batch, networks.unet.in_channels if stage == "denoise" else 4, rows, columns, device="meta"
    )


@contextmanager
def _tensors_without_content(way: Way) -> Iterator[str]:
    """Compute on the meta device as an accelerator does, or on stand-ins for the CPU's tensors."""
    if way == "accelerator":
        attention = torch.nn.functional.scaled_dot_product_attention
        torch.nn.functional.scaled_dot_product_attention = _attention_in_blocks
        try:
            yield "meta"
        finally:
            torch.nn.functional.scaled_dot_product_attention = attention
        return
    winograd(), winograd_after_upsampling()  # real constants, made before the stand-ins
    with FakeTensorMode(allow_non_fake_inputs=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield "cpu"


def _attention_in_blocks(query: Tensor, *_: Any, **__: Any) -> Tensor:
    """What memory-efficient attention allocates; on the meta device torch would pick the quadratic one."""
    return torch.empty_like(query)
