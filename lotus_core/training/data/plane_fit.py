"""Normals of a depth map by fitting a plane around every pixel."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from ...geometry.normals import unit_normals


@dataclass(frozen=True)
class PlaneFit:
    """Which neighbours a pixel's plane is fitted to.

    The defaults are those with which Lotus prepared Virtual KITTI.

    Attributes:
        side: Side of the square window in pixels, odd.
        tolerance: Neighbours whose depth differs by at least this share from the pixel's are on another surface.
        least: Neighbours, the pixel included, that a fit needs. Where fewer are within tolerance, as on a road seen
            at a grazing angle, all neighbours with a depth are used.
    """

    side: int = 5
    tolerance: float = 0.05
    least: int = 4


def normals_by_plane_fit(
    depth: Tensor, valid: Tensor, intrinsics: Tensor, fit: PlaneFit | None = None
) -> Tensor:
    """Return the normals of a depth map.

    A plane ``a X + b Y + c Z = 1`` seen by a pinhole camera has ``1 / z = a x + b y + c`` with x = X / Z and y = Y / Z:
    inverse depth is linear in the picture, and least squares over the window are exact on a plane.

    Args:
        depth: (H, W) float, z-depth, positive where valid.
        valid: (H, W) bool.
        intrinsics: (3, 3) float, pixels, centres at +0.5.
        fit: Window and tolerance; None for those of the published preparation.

    Returns:
        (H, W, 3) float32 unit vectors in the OpenCV frame, facing the camera; zero where no plane is determined.

    Source: local plane fitting as in DSINE's and Lotus's preparation of Virtual KITTI 2 (there on points in space).
    """
    fit = fit or PlaneFit()
    inverse = torch.where(valid, 1.0 / torch.where(valid, depth.double(), 1.0), 0.0)
    strict = _sums(inverse, valid, fit, check=True)
    loose = _sums(inverse, valid, fit, check=False)
    sums = torch.where(strict[0] >= fit.least, strict, loose)
    count, sx, sy, sxx, sxy, syy, sq, sxq, syq = sums
    n = count.clamp_min(1.0)
    cxx, cxy, cyy = sxx - sx * sx / n, sxy - sx * sy / n, syy - sy * sy / n
    cxq, cyq = sxq - sx * sq / n, syq - sy * sq / n
    determinant = cxx * cyy - cxy * cxy
    solvable = valid & (count >= fit.least) & (determinant > 1e-6)
    safe = torch.where(solvable, determinant, 1.0)
    across = (cxq * cyy - cyq * cxy) / safe  # change of 1 / z from one pixel to the next on its right
    down = (cyq * cxx - cxq * cxy) / safe
    middle = (sq - across * sx - down * sy) / n  # 1 / z of the plane at the pixel itself
    k = intrinsics.double()
    height, width = depth.shape
    a, b = across * k[0, 0], down * k[1, 1]
    x = (torch.arange(width, dtype=torch.float64) + 0.5 - k[0, 2]) / k[0, 0]
    y = (torch.arange(height, dtype=torch.float64) + 0.5 - k[1, 2]) / k[1, 1]
    plane = torch.stack([a, b, middle - a * x[None, :] - b * y[:, None]], dim=-1)
    # a X + b Y + c Z = 1 > 0 at the surface: the plane's vector points away from the camera.
    return torch.where(solvable[..., None], -unit_normals(plane), 0.0).float()


def _sums(inverse: Tensor, valid: Tensor, fit: PlaneFit, *, check: bool) -> Tensor:
    """Return (9, H, W) moments of the used neighbours: 1, x, y, xx, xy, yy, q, xq, yq, in steps from the pixel."""
    reach = fit.side // 2
    padded = torch.nn.functional.pad(inverse, (reach, reach, reach, reach))
    known = torch.nn.functional.pad(valid, (reach, reach, reach, reach))
    height, width = inverse.shape
    sums = inverse.new_zeros(9, height, width)
    for dy, dx in product(range(-reach, reach + 1), repeat=2):
        rows, columns = slice(reach + dy, reach + dy + height), slice(reach + dx, reach + dx + width)
        q, use = padded[rows, columns], known[rows, columns]
        if check:
            # |z' - z| / z < tolerance, with z = 1 / q
            use = use & ((inverse - q).abs() < fit.tolerance * q)
        weight = use.double()
        value = weight * q
        moments = (1.0, dx, dy, dx * dx, dx * dy, dy * dy)
        for row, factor in zip(sums[:6], moments, strict=True):
            if factor:
                row.add_(weight, alpha=float(factor))
        for row, factor in zip(sums[6:], (1.0, dx, dy), strict=True):
            if factor:
                row.add_(value, alpha=float(factor))
    return sums
