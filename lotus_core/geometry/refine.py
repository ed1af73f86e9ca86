"""Depth refined by normals: log depth whose slopes agree with the normals and which stays near the first depth.

For each pixel and each of its four neighbours, the residual is ``r = f q (du - g)``: the sine of the angle by
which the step in u = ln z leaves the tangent plane. Opposite neighbours compete (bilateral weights), so that a
surface leans on its own side of an occlusion.

Source: Cao et al., "Bilateral Normal Integration", ECCV 2022, for the one-sided weights.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..checks import require_shape
from ..conventions import DepthKind
from ..errors import GeometryError
from .multigrid import Stencil, solve
from .normals import facing_normals, log_depth_slopes
from .snap import snap_mixed_pixels

SCREEN_SHARE = 1.0 / 9.0
"""Distance, as a share of the width, over which the first depth outweighs the normals."""

SIDEDNESS = (0.4,) * 6 + (2.0,) * 2
"""Steepness of the sigmoid between the two sides of a pixel, in 1 / rad^2, at each reweighting: low at first, as the
noise of a slope must not split a surface, then higher, as a surface must not lean on another one."""

ITERATIONS = 4
"""Conjugate gradient iterations at each reweighting."""

LEAST_STIFFNESS = 1e-5
"""Stiffness that is left across an occlusion, as a share of f^2: keeps slivers from drifting."""


def refine(
    depth: Tensor,
    normals: Tensor,
    intrinsics: Tensor,
    *,
    kind: DepthKind = "disparity",
    valid: Tensor | None = None,
    snap: bool = True,
) -> Tensor:
    """Return z-depth refined by normals.

    Args:
        depth: (B, H, W) float z-depth, positive, up to one scale (which is kept).
        normals: (B, H, W, 3) float, OpenCV camera frame, facing the camera, any length.
        intrinsics: (B, 3, 3) float, pixels of this size.
        kind: What the network estimated, "depth" or "disparity": its decoder blurs occlusions linearly in that.
        valid: (B, H, W) bool, pixels to refine, or None for all that are finite; others come back unchanged.
        snap: Whether mixed pixels at occlusions are first moved to one of the two surfaces.

    Returns:
        (B, H, W) float, positive, in depth's unit.

    Raises:
        ShapeError: Another shape than documented.
        GeometryError: A valid depth that is not positive.
    """
    require_shape("depth", depth, "(B, H, W)", remedy="pass one channel, with a batch axis first")
    count, height, width = depth.shape
    require_shape(
        "normals", normals, f"({count}, {height}, {width}, 3)", remedy="pass normals of the same pictures"
    )
    require_shape("intrinsics", intrinsics, f"({count}, 3, 3)", remedy="pass one camera for each picture")
    usable = depth.isfinite() & normals.isfinite().all(-1)
    if valid is not None:
        require_shape(
            "valid", valid, f"({count}, {height}, {width})", remedy="pass one mask for each picture"
        )
        usable &= valid
    if bool((usable & (depth <= 0)).any()):
        raise GeometryError(
            "depth must be positive to be refined",
            found=f"{float(depth[usable].min()):.3g}",
            remedy="resolve the affine shift first (calibrate)",
        )
    facing = facing_normals(torch.where(usable[..., None], normals, 0.0), intrinsics)
    usable = usable & (facing.square().sum(-1) > 0.5)
    first = torch.where(usable, depth, 1.0).log()
    slope_x, slope_y, cosine = log_depth_slopes(facing, intrinsics)
    focal_x, focal_y = intrinsics[:, 0, 0, None, None], intrinsics[:, 1, 1, None, None]
    if snap:
        first, _ = snap_mixed_pixels(first, slope_x, slope_y, cosine, focal_x, usable, kind)
    across = _Sides(slope_x, cosine, focal_x, usable, 2)
    down = _Sides(slope_y, cosine, focal_y, usable, 1)
    screen = torch.where(usable, (focal_x / (width * SCREEN_SHARE)).square(), 1.0)
    refined = _integrate(first, across, down, screen)
    return torch.where(usable, refined.exp(), depth)


def _integrate(first: Tensor, across: _Sides, down: _Sides, screen: Tensor) -> Tensor:
    """Return log depth that agrees with the slopes and stays near the first one, by iterated reweighting."""
    refined = first
    for sidedness in SIDEDNESS:
        links_x, drive_x = across.weigh(refined, sidedness)
        links_y, drive_y = down.weigh(refined, sidedness)
        right_side = screen * first + drive_x + drive_y
        refined = solve(Stencil.of(links_x, links_y, screen), right_side, refined, iterations=ITERATIONS)
    return refined


class _Sides:
    """The residuals of every pixel with its two neighbours along one axis."""

    def __init__(self, slope: Tensor, cosine: Tensor, focal: Tensor, usable: Tensor, axis: int) -> None:
        self.axis = axis
        self.slope = slope
        self.stiffness = (cosine * focal).square()  # its root turns a step of ln z into a sine
        self.both = self._low(usable) & self._high(usable)
        self.floor = LEAST_STIFFNESS * focal.square()

    def weigh(self, log_depth: Tensor, sidedness: float) -> tuple[Tensor, Tensor]:
        """Return the links of the stencil and their share of the right side, at the current log depth."""
        step = self._high(log_depth) - self._low(log_depth)
        forward = self._low(self.stiffness) * (step - self._low(self.slope)).square()
        backward = self._high(self.stiffness) * (step - self._high(self.slope)).square()
        # Outside the grid and towards invalid pixels there is no side to lean on: infinite residual.
        forward = torch.where(self.both, forward, float("inf"))
        backward = torch.where(self.both, backward, float("inf"))
        shape = list(log_depth.shape)
        shape[self.axis] = 1
        outside = log_depth.new_full(shape, float("inf"))
        all_forward = torch.cat([forward, outside], dim=self.axis)
        all_backward = torch.cat([outside, backward], dim=self.axis)
        lean = torch.sigmoid(sidedness * torch.nan_to_num(all_backward - all_forward, nan=0.0))
        weight_forward = self._low(lean) * self._low(self.stiffness) * self.both
        weight_backward = self._high(1.0 - lean) * self._high(self.stiffness) * self.both
        flow = weight_forward * self._low(self.slope) + weight_backward * self._high(self.slope)
        empty = log_depth.new_zeros(shape)
        drive = torch.cat([empty, flow], dim=self.axis) - torch.cat([flow, empty], dim=self.axis)
        return weight_forward + weight_backward + self.floor * self.both, drive

    def _low(self, grid: Tensor) -> Tensor:
        return grid.narrow(self.axis, 0, grid.shape[self.axis] - 1)

    def _high(self, grid: Tensor) -> Tensor:
        return grid.narrow(self.axis, 1, grid.shape[self.axis] - 1)
