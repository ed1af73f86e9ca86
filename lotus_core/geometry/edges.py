"""Occlusions: which neighbouring pixels lie on different surfaces."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..checks import require_shape
from .normals import facing_normals, log_depth_slopes

LEAST_JUMP = 0.04
"""Jump of ln z between neighbours, beyond what the slopes explain, that separates two surfaces: about 4 %."""

SLOPE_ALLOWANCE = 1.5
"""How many times either pixel's slope may explain the step: noise of normals and depth."""

SLOPE_CAP = 1.0 / 0.15
"""Largest slope that explains a step, times the focal length: silhouettes turn away without end."""


@dataclass(frozen=True)
class GridCuts:
    """Which edges of a pixel grid cross an occlusion.

    Attributes:
        right: (B, H, W - 1) bool, True between a pixel and its right neighbour.
        down: (B, H - 1, W) bool, True between a pixel and the one below.
    """

    right: Tensor
    down: Tensor

    def pixels(self) -> Tensor:
        """Return the pixels that touch a cut edge, (B, H, W) bool."""
        across = functional.pad(self.right, (0, 1)) | functional.pad(self.right, (1, 0))
        return across | functional.pad(self.down, (0, 0, 0, 1)) | functional.pad(self.down, (0, 0, 1, 0))


def cut_grid(depth: Tensor, normals: Tensor, intrinsics: Tensor, *, valid: Tensor | None = None) -> GridCuts:
    """Return the grid edges along which depth jumps by more than the normals explain.

    Args:
        depth: (B, H, W) float z-depth, positive, any unit.
        normals: (B, H, W, 3) float, OpenCV camera frame, facing the camera.
        intrinsics: (B, 3, 3) float, pixels of this size.
        valid: (B, H, W) bool; edges to an invalid pixel are cut. None: all finite, positive depths.

    Returns:
        The cut edges.

    Raises:
        ShapeError: Another shape than documented.
    """
    require_shape("depth", depth, "(B, H, W)", remedy="pass one channel, with a batch axis first")
    count, height, width = depth.shape
    require_shape(
        "normals", normals, f"({count}, {height}, {width}, 3)", remedy="pass normals of the same pictures"
    )
    require_shape("intrinsics", intrinsics, f"({count}, 3, 3)", remedy="pass one camera for each picture")
    usable = depth.isfinite() & (depth > 0)
    if valid is not None:
        require_shape(
            "valid", valid, f"({count}, {height}, {width})", remedy="pass one mask for each picture"
        )
        usable &= valid
    log_depth = torch.where(usable, depth, 1.0).log()
    slope_x, slope_y, _ = log_depth_slopes(facing_normals(normals, intrinsics), intrinsics)
    cap = SLOPE_CAP / intrinsics[:, 0, 0, None, None]
    slope_x, slope_y = slope_x.clamp(-cap, cap), slope_y.clamp(-cap, cap)
    return GridCuts(right=_cut(log_depth, slope_x, usable, 2), down=_cut(log_depth, slope_y, usable, 1))


def occlusion_edges(
    depth: Tensor, normals: Tensor, intrinsics: Tensor, *, valid: Tensor | None = None
) -> Tensor:
    """Return the valid pixels at an occlusion, on either side, (B, H, W) bool; arguments as `cut_grid`."""
    touching = cut_grid(depth, normals, intrinsics, valid=valid).pixels()
    return touching if valid is None else touching & valid


def _cut(log_depth: Tensor, slope: Tensor, usable: Tensor, axis: int) -> Tensor:
    """A step is explained where it lies between zero and the steeper of the two tangent planes of its sign."""
    size = log_depth.shape[axis] - 1
    step = log_depth.narrow(axis, 1, size) - log_depth.narrow(axis, 0, size)
    first, second = slope.narrow(axis, 0, size), slope.narrow(axis, 1, size)
    rise = torch.maximum(first, second).clamp_min(0.0) * SLOPE_ALLOWANCE
    fall = torch.minimum(first, second).clamp_max(0.0) * SLOPE_ALLOWANCE
    joined = usable.narrow(axis, 0, size) & usable.narrow(axis, 1, size)
    return (step > rise + LEAST_JUMP) | (step < fall - LEAST_JUMP) | ~joined
