"""Several photographs with known cameras, fused into one surface.

Convention:
    Poses are world_from_camera in OpenCV camera axes; the world's axes and unit are those of the poses and are kept:
    the mesh lies in the world, where the cameras say that they stand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ...errors import GeometryError, OptionError
from ...types import JointPrediction
from ..anchors import DepthAnchors
from ..camera import Camera, pixel_rays
from ..mesh import Mesh
from ..refine import refine
from .alignment import LEAST_AGREEMENT, Alignment, align_views
from .consensus import Consensus, disagreement, reach_consensus
from .inputs import ViewInputs, check_inputs
from .marching import mesh_from_blocks
from .tsdf import DepthView, integrate, surface_blocks

VOXELS_ACROSS = 256
"""Voxels along the scene's longest side when no size is given."""

REFINE_GAIN = 0.8
"""Refined depth must bring the views this much closer together, as a factor, to be taken."""

Progress = Callable[[int, int], None]
"""Called with the steps done and the number of all; it may raise, to stop."""


@dataclass(frozen=True)
class FusionOptions:
    """How views are fused.

    Attributes:
        voxel: Side of a voxel in the unit of the poses, positive; None: the scene's longest side / 256.
        refine: Whether depth is first refined by the normals, if the views then agree better.
        least_support: Neighbours that must see a pixel's surface at the same place, 0 to 6. 0 keeps what one view
            alone sees, and what flies between surfaces.
        least_agreement: Share, 0 to 1, of what neighbouring views both see that they must put at the same place; less
            is taken for wrong poses and refused. 0 takes whatever comes out.

    Raises:
        OptionError: A value outside its range.
    """

    voxel: float | None = None
    refine: bool = True
    least_support: int = 1
    least_agreement: float = LEAST_AGREEMENT

    def __post_init__(self) -> None:
        if self.voxel is not None and not 0 < self.voxel < float("inf"):
            raise OptionError("voxel", self.voxel, "a positive length in the unit of the poses")
        if isinstance(self.least_support, bool) or self.least_support not in range(7):
            raise OptionError("least_support", self.least_support, "a whole number from 0 to 6")
        if not 0 <= self.least_agreement <= 1:
            raise OptionError("least_agreement", self.least_agreement, "a share from 0 to 1")


@dataclass(frozen=True)
class FusedViews:
    """Several views as one surface.

    Attributes:
        mesh: In the world of the poses, wound toward the cameras, with normals and, if pictures were given, vertex
            colours. On the CPU.
        depths: N maps (H_i, W_i) float32, z-depth in the unit of the poses, after refinement and consensus.
        supported: N masks (H_i, W_i) bool, pixels that went into the mesh.
        alignment: Scales and shifts, and how well they fit.
        voxel: Side of a voxel.
    """

    mesh: Mesh
    depths: tuple[Tensor, ...]
    supported: tuple[Tensor, ...]
    alignment: Alignment
    voxel: float


def fuse_views(
    predictions: JointPrediction | Sequence[JointPrediction],
    cameras: Sequence[Camera],
    anchors: DepthAnchors | None = None,
    *,
    images: Sequence[Tensor] | None = None,
    masks: Sequence[Tensor] | None = None,
    options: FusionOptions | None = None,
    progress: Progress | None = None,
) -> FusedViews:
    """Return the surface that 2 to 100 views with known cameras show together.

    Args:
        predictions: Depth and normals of every view: one batch, or one prediction for each view or for each group of
            views of one size, in the cameras' order. All of one depth kind.
        cameras: Intrinsics and pose of every view, in pixels of its map.
        anchors: Known depths (`anchors_from_points`, `anchors_from_depth`), or None.
        images: (H_i, W_i, 3) float in [0, 1] for every view, or None. They give the mesh its colours, and fix the
            scale: without them and without anchors all views together may be some percent too large or too small.
        masks: (H_i, W_i) bool for every view, True where it counts, or None for everywhere.
        options: How to fuse.
        progress: Hears of every step.

    Returns:
        The surface, and every view's depth.

    Raises:
        ShapeError: A camera, image or mask of another size than its map.
        GeometryError: Fewer than 2 or more than 100 views; other numbers of cameras; mixed depth kinds; a pose that
            is not rigid; cameras in one place; a constant map; a view that shares nothing with the others; poses
            that do not match the pictures; no surface.
        MissingExtraError: scikit-image is not installed.
    """
    options = options or FusionOptions()
    inputs = check_inputs(predictions, cameras, images, masks)
    count = len(inputs)
    tell = progress or (lambda done, total: None)
    alignment = align_views(inputs, anchors, least_agreement=options.least_agreement)
    tell(count, 4 * count)
    depths, believed = _resolve(inputs, alignment, options.refine)
    tell(2 * count, 4 * count)
    heard: list[Consensus] = []
    for index in range(count):
        heard.append(reach_consensus(index, depths, believed, inputs.cameras, alignment.near[index]))
        tell(2 * count + index + 1, 4 * count)
    supported = tuple(
        m & (c.supporters >= options.least_support) for m, c in zip(believed, heard, strict=True)
    )
    fused = tuple(c.depth for c in heard)
    mesh, voxel = _mesh(_depth_views(inputs, fused, supported), options.voxel, tell)
    return FusedViews(mesh, fused, supported, alignment, voxel)


def _resolve(inputs: ViewInputs, alignment: Alignment, refined: bool) -> tuple[list[Tensor], list[Tensor]]:
    """Every view's z-depth, and where it is believed: valid and not cut off at the ends of the map's range.

    Refined depth is taken if the views agree better with it: maps that agree already are only harmed.
    """
    depths, believed, better = [], [], []
    for index, value in enumerate(inputs.values):
        mask = inputs.valid[index] & alignment.unclipped(index, value)
        depth = alignment.resolve_depth(index, value.nan_to_num())
        if refined:
            intrinsics = inputs.cameras[index].intrinsics.to(depth)[None]
            normals = inputs.normals[index].to(depth)[None]
            better.append(refine(depth[None], normals, intrinsics, kind=inputs.kind, valid=mask[None])[0])
        depths.append(depth)
        believed.append(mask)
    if refined:
        first, second = (disagreement(d, believed, inputs.cameras, alignment.near) for d in (depths, better))
        return (better if second < REFINE_GAIN * first else depths), believed
    return depths, believed


def _depth_views(
    inputs: ViewInputs, depths: Sequence[Tensor], supported: Sequence[Tensor]
) -> list[DepthView]:
    return [
        DepthView(
            depth=depths[i],
            weight=supported[i].float(),
            cosine=_cosine(inputs.normals[i], camera),
            image=None if inputs.images is None else inputs.images[i],
            camera=camera,
        )
        for i, camera in enumerate(inputs.cameras)
    ]


def _cosine(normals: Tensor, camera: Camera) -> Tensor:
    """(H, W) cosine between each pixel's ray and its surface's normal, at least .1."""
    rays = pixel_rays(camera.intrinsics.to(normals)[None], camera.height, camera.width)[0]
    unit = functional.normalize(rays, dim=-1)
    return -(unit * functional.normalize(normals, dim=-1)).sum(dim=-1).clamp(-1.0, -0.1)


def _mesh(views: Sequence[DepthView], voxel: float | None, progress: Progress) -> tuple[Mesh, float]:
    centres = torch.stack([view.camera.world_from_camera[:3, 3] for view in views]).float().cpu()
    origin = centres.mean(dim=0)  # near the scene, so that float32 is fine enough
    size = _scene_size(views) / VOXELS_ACROSS if voxel is None else voxel
    blocks = surface_blocks(views, origin, size)
    total, count = len(blocks), len(views)
    mesh = mesh_from_blocks(
        integrate(views, blocks, origin, size),
        origin,
        size,
        progress=lambda done: progress(3 * count + count * done // total, 4 * count),
    )
    return mesh, size


def _scene_size(views: Sequence[DepthView]) -> float:
    """Longest side of the box that holds the middle 96 % of all believed points along each axis."""
    points = []
    for view in views:
        rays = pixel_rays(view.camera.intrinsics.to(view.depth)[None], *view.depth.shape)[0]
        local = (rays * view.depth[..., None])[view.weight > 0][::16]
        pose = view.camera.world_from_camera.to(local)
        points.append((local @ pose[:3, :3].T + pose[:3, 3]).cpu())
    cloud = torch.cat(points)
    if len(cloud) == 0:
        raise GeometryError(
            "no view supports another anywhere",
            found=f"{len(views)} views",
            remedy="check that poses and pictures belong together",
        )
    ordered = cloud.sort(dim=0).values
    cut = int(0.02 * (len(cloud) - 1))
    return float((ordered[len(cloud) - 1 - cut] - ordered[cut]).max())
