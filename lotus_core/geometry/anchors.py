"""What else is known of a scene's depth: sparse points of structure from motion, or depth maps of another source.

Anchors fix the scale that several views share, and hold each view's shift where its normals say little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import require_shape
from ..errors import GeometryError
from .camera import Camera
from .points import project, transform_points


@dataclass(frozen=True)
class SparsePoints:
    """Points of the scene, as structure from motion finds them.

    Attributes:
        positions: (N, 3) float, world.
        views: (M,) int64, which view saw, for each observation; None when the file does not say.
        points: (M,) int64, which point was seen; None likewise.
    """

    positions: Tensor
    views: Tensor | None = None
    points: Tensor | None = None


@dataclass(frozen=True)
class DepthAnchors:
    """Known depths at single pixels of the views.

    Attributes:
        view: (N,) int64, index of the view.
        pixels: (N, 2) float32, (x, y), centres at +0.5.
        depth: (N,) float32 z-depth in the unit of the cameras' poses, positive.
    """

    view: Tensor
    pixels: Tensor
    depth: Tensor

    def of_view(self, index: int) -> tuple[Tensor, Tensor]:
        """Return the (n, 2) pixels and (n,) depths of one view."""
        mine = self.view == index
        return self.pixels[mine], self.depth[mine]


def anchors_from_points(points: SparsePoints, cameras: Sequence[Camera]) -> DepthAnchors:
    """Project sparse points into the views that saw them.

    Args:
        points: World points; without observations every point counts in every picture that it falls into,
            and those hidden behind a surface have to be told by their disagreement.
        cameras: The views.

    Returns:
        The depths that they give.

    Raises:
        ShapeError: Positions that are not (N, 3).
        GeometryError: No point falls into any picture.
    """
    require_shape("positions", points.positions, "(N, 3)", remedy="pass x, y, z of each point")
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for index, camera in enumerate(cameras):
        positions = points.positions
        if points.views is not None and points.points is not None:
            positions = positions[points.points[points.views == index]]
        inside = transform_points(positions.double(), camera.camera_from_world.to(positions.device).double())
        pixels, depth = project(inside[None], camera.intrinsics.to(inside)[None])
        pixels, depth = pixels[0], depth[0]
        size = pixels.new_tensor([camera.width, camera.height])
        seen = ((pixels >= 0) & (pixels < size)).all(dim=-1) & torch.isfinite(depth)  # NaN compares false
        view = torch.full((int(seen.sum()),), index, dtype=torch.int64, device=depth.device)
        found.append((view, pixels[seen].float(), depth[seen].float()))
    anchors = DepthAnchors(*(torch.cat(part) for part in zip(*found, strict=True)))
    if len(anchors.view) == 0:
        raise GeometryError(
            "no sparse point falls into any picture",
            found=f"{len(points.positions)} points, {len(cameras)} views",
            remedy="check that points and poses come from the same reconstruction",
        )
    return anchors


def anchors_from_depth(depths: Sequence[Tensor], *, stride: int = 4) -> DepthAnchors:
    """Take every n-th pixel of depth maps that another source gives, in the unit of the poses.

    Args:
        depths: One (H, W) float z-depth map a view, of the view's size; NaN, infinite or <= 0 where unknown.
        stride: Use every n-th pixel along both sides.

    Returns:
        The depths.

    Raises:
        ShapeError: A map that is not (H, W).
        GeometryError: No pixel is known.
    """
    views, pixels, values = [], [], []
    for index, depth in enumerate(depths):
        require_shape("depth", depth, "(H, W)", remedy="pass one map for each view")
        thin = depth[stride // 2 :: stride, stride // 2 :: stride]
        row, column = torch.nonzero(torch.isfinite(thin) & (thin > 0), as_tuple=True)
        pixels.append(torch.stack([column, row], dim=-1).float() * stride + stride // 2 + 0.5)
        values.append(thin[row, column].float())
        views.append(torch.full_like(row, index))
    anchors = DepthAnchors(torch.cat(views), torch.cat(pixels), torch.cat(values))
    if len(anchors.view) == 0:
        raise GeometryError(
            "no depth is known in any of the given maps",
            found=f"{len(depths)} maps",
            remedy="pass positive depths, NaN where unknown",
        )
    return anchors
