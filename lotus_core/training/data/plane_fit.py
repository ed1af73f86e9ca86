"""Normals of a depth map by fitting a plane around every pixel."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Final

import torch
from torch import Tensor

from ...geometry.normals import unit_normals

_LEAST_DETERMINANT: Final = 0.5
"""Of the neighbours' second moments in pixels: at most rounding for pixels on one line, at least 1 for others."""


@dataclass(frozen=True)
class PlaneFit:
    """Which neighbours a pixel's plane is fitted to.

    The defaults are those with which Lotus prepared Virtual KITTI.

    Attributes:
        side: Side of the square window in pixels, odd.
        tolerance: Neighbours whose depth differs by at least this share from the pixel's are on another surface.
        least: Neighbours, the pixel included, that a fit needs. Where fewer are within tolerance or all lie on one
            line, as on a road seen at a grazing angle, all neighbours with a depth are used.
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
    inverse = torch.where(valid, 1.0 / torch.where(valid, depth.float(), 1.0), 0.0)
    across, down, middle, solved = _solve(_sums(inverse, valid, fit, check=True), fit)
    if not bool((solved | ~valid).all()):
        second = _solve(_sums(inverse, valid, fit, check=False), fit)
        across, down, middle = (
            torch.where(solved, first, other)
            for first, other in zip((across, down, middle), second[:3], strict=True)
        )
        solved = solved | second[3]
    height, width = depth.shape
    focal_x, focal_y, x0, y0 = (float(intrinsics[i]) for i in ((0, 0), (1, 1), (0, 2), (1, 2)))
    a, b = across * focal_x, down * focal_y
    x = (torch.arange(width) + 0.5 - x0) / focal_x
    y = (torch.arange(height) + 0.5 - y0) / focal_y
    plane = torch.stack([a, b, inverse + middle - a * x[None, :] - b * y[:, None]], dim=-1)
    # a X + b Y + c Z = 1 > 0 at the surface: the plane's vector points away from the camera.
    return torch.where((solved & valid)[..., None], -unit_normals(plane), 0.0)


def _solve(sums: Tensor, fit: PlaneFit) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return 1 / z's change to the right and down, its offset at the pixel, and where these are determined."""
    count, sx, sy, sxx, sxy, syy, sq, sxq, syq = sums
    n = count.clamp_min(1.0)
    cxx, cxy, cyy = sxx - sx * sx / n, sxy - sx * sy / n, syy - sy * sy / n
    cxq, cyq = sxq - sx * sq / n, syq - sy * sq / n
    determinant = cxx * cyy - cxy * cxy
    solved = (count >= fit.least) & (determinant > _LEAST_DETERMINANT)
    safe = torch.where(solved, determinant, 1.0)
    across, down = (cxq * cyy - cyq * cxy) / safe, (cyq * cxx - cxq * cxy) / safe
    return across, down, (sq - across * sx - down * sy) / n, solved


def _sums(inverse: Tensor, valid: Tensor, fit: PlaneFit, *, check: bool) -> Tensor:
    """Return (9, H, W) moments of the used neighbours: 1, x, y, xx, xy, yy, q, xq, yq.

    x and y count steps from the pixel, and q is 1 / z less the pixel's own, so that float32 keeps the digits.
    """
    reach = fit.side // 2
    padded = torch.nn.functional.pad(inverse, (reach, reach, reach, reach))
    known = torch.nn.functional.pad(valid, (reach, reach, reach, reach))
    height, width = inverse.shape
    sums = inverse.new_zeros(9, height, width)
    for dy, dx in product(range(-reach, reach + 1), repeat=2):
        rows, columns = slice(reach + dy, reach + dy + height), slice(reach + dx, reach + dx + width)
        q, use = padded[rows, columns] - inverse, known[rows, columns]
        if check:
            # |z' - z| / z < tolerance in terms of 1 / z' = q + 1 / z
            use = use & (q.abs() < fit.tolerance * padded[rows, columns])
        weight = use.to(q.dtype)
        q *= weight
        moments = (1.0, dx, dy, dx * dx, dx * dy, dy * dy)
        for row, factor in zip(sums[:6], moments, strict=True):
            if factor:
                row.add_(weight, alpha=float(factor))
        for row, factor in zip(sums[6:], (1.0, dx, dy), strict=True):
            if factor:
                row.add_(q, alpha=float(factor))
    return sums
