"""Which floating-point types the two networks compute in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, get_args

from ..errors import OptionError

if TYPE_CHECKING:
    import torch

Precision = Literal["auto", "fp32", "fp16", "bf16"]

_NAMES: Final = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


def choose_precision(precision: Precision, device: torch.device) -> tuple[torch.dtype, torch.dtype]:
    """Return the types of the UNet and of the autoencoder.

    "auto" is fp16 on CUDA; on a CPU it is bf16 where the processor multiplies bf16 natively (measured there:
    several times faster than fp32) and fp32 elsewhere; fp32 on every other device.

    Args:
        precision: "auto", "fp32", "fp16" or "bf16"; all but "auto" hold for both networks.
        device: Where they compute.

    Returns:
        (UNet's type, autoencoder's type).

    Raises:
        OptionError: Another name.
    """
    import torch

    if precision not in get_args(Precision):
        raise OptionError("precision", precision, f"one of {', '.join(get_args(Precision))}")
    if precision == "auto":
        if device.type == "cuda":
            precision = "fp16"
        else:
            precision = "bf16" if device.type == "cpu" and multiplies_bf16() else "fp32"
    dtype = getattr(torch, _NAMES[precision])
    return dtype, dtype


def multiplies_bf16() -> bool:
    """Say whether this processor has instructions that multiply bf16 (AMX-BF16 or AVX512-BF16).

    Every processor can compute in bf16, but without these it converts to fp32 and back, slower than fp32.
    """
    import torch

    probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    known = [getattr(torch.cpu, name) for name in probes if hasattr(torch.cpu, name)]
    if len(known) == len(probes):
        return any(bool(probe()) for probe in known)
    return bool(_processor_flags() & {"amx_bf16", "avx512_bf16"})


def _processor_flags() -> set[str]:
    """Return the instruction sets that Linux lists for the first processor; none on other systems."""
    listing = Path("/proc/cpuinfo")
    if not listing.is_file():
        return set()
    for line in listing.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("flags"):
            return set(line.partition(":")[2].split())
    return set()
