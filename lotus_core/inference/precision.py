"""In which floating-point type each part computes."""

from __future__ import annotations

import torch

from ..errors import OptionError

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def choose_precision(precision: str, device: torch.device) -> tuple[torch.dtype, torch.dtype]:
    """Return the types in which the UNet and the VAE compute.

    "auto" is fp16 on CUDA, bf16 on a processor that multiplies bf16 matrices natively (AMX), else fp32.

    Raises:
        OptionError: An unknown precision.
    """
    if precision in PRECISIONS:
        return PRECISIONS[precision], PRECISIONS[precision]
    if precision != "auto":
        raise OptionError("precision", precision, f"auto or one of {', '.join(PRECISIONS)}")
    if device.type == "cuda":
        return torch.float16, torch.float16
    return torch.float32, torch.float32
