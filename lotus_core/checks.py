"""Checks of a caller's tensors, done once at the public border, and of what their device can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import ShapeError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def require_shape(name: str, tensor: Tensor, expected: str, *, remedy: str) -> None:
    """Refuse a tensor of another shape than documented.

    Args:
        name: What the tensor is, for the message.
        tensor: The caller's tensor.
        expected: Shape as text, such as ``"(B, H, W, 3)"``: letters stand for any size of at least 1 and a
            repeated letter for the same size, numbers for themselves, a leading ``...`` for any further axes.
        remedy: What to do about it.

    Raises:
        ShapeError: The shape does not fit.
    """
    wanted = [part.strip() for part in expected.strip("()").split(",") if part.strip()]
    shape = list(tensor.shape)
    if wanted and wanted[0] == "...":
        wanted = wanted[1:]
        shape = shape[max(len(shape) - len(wanted), 0) :]
    sizes: dict[str, int] = {}
    fits = len(shape) == len(wanted)
    for size, part in zip(shape, wanted, strict=False):
        fits &= size == int(part) if part.isdigit() else size == sizes.setdefault(part, size) and size >= 1
    if not fits:
        raise ShapeError(name, tensor.shape, expected, remedy=remedy)


def has_float64(device: torch.device) -> bool:
    """Say whether every device of a kind computes in float64: MPS and DirectML do not, an XPU may not.

    Source: torch's notes on MPS and XPU; Intel's Arc cards have no float64 units.
    """
    return device.type in ("cpu", "cuda")
