"""One view of fused ones, as the geometry of a single picture, and all views' maps on one scale."""

from __future__ import annotations

import torch
from torch import Tensor

from ...types import JointPrediction
from ..calibrate import Calibration
from ..camera import Camera
from ..edges import cut_grid
from ..joint import JointGeometry
from ..normals import facing_normals, normals_from_points
from ..points import unproject
from .alignment import Alignment
from .fusion import FusedViews


def view_geometry(
    fused: FusedViews, prediction: JointPrediction, cameras: tuple[Camera, ...] | list[Camera], index: int
) -> JointGeometry:
    """Return one fused view as a batch of one: its depth and points in the unit of the poses, its known camera.

    Args:
        fused: What `fuse_views` made of them.
        prediction: The same batch of views.
        cameras: The same cameras.
        index: Which view.

    Returns:
        Camera, points and normals in the view's own OpenCV frame (``world_from_camera`` brings them into the
        world). ``clipped`` are the pixels at the ends of the map's range; ``scale_meaning`` is "poses";
        ``calibration`` says that the focal length is given and holds the shift that all views agreed on, with an
        infinite ``sd_log_focal``: the picture was not asked.
    """
    camera, alignment = cameras[index], fused.alignment
    depth = fused.depths[index].float().cpu()[None]
    values = prediction.depth.values[index].cpu()
    intrinsics = camera.intrinsics.float().cpu()[None]
    normals = facing_normals(prediction.normals.vectors[index : index + 1].float().cpu(), intrinsics)
    valid = depth.isfinite() & (depth > 0) & values.isfinite() & (normals.square().sum(-1) > 0.5)
    depth = torch.where(valid, depth, torch.ones_like(depth))
    points = unproject(depth, intrinsics)
    cuts = cut_grid(depth, normals, intrinsics, valid=valid)
    edges = cuts.pixels() & valid
    clipped = ~alignment.unclipped(index, values.nan_to_num())[None] & valid
    angle = _median_angle(normals_from_points(points, valid=valid), normals, valid & ~edges & ~clipped)
    return JointGeometry(
        depth=depth,
        points=points,
        normals=normals,
        intrinsics=intrinsics,
        cuts=cuts,
        edges=edges,
        valid=valid,
        clipped=clipped,
        calibration=_calibration(alignment, camera, index, angle, valid & ~clipped),
        scale_meaning=("poses",),
        refined=False,
    )


def common_maps(fused: FusedViews) -> list[Tensor]:
    """Return every view's depth as a map of the kind that went in, on one scale for all views.

    Returns:
        N maps (H_i, W_i) float32 in [0, 1]. Kind "depth": z / z_far, with z_far the largest depth of all views.
        Kind "disparity": z_near / z, with z_near the smallest. What is unknown is as far as can be: 1, or 0.
    """
    known = [(depth.isfinite() & (depth > 0)).cpu() for depth in fused.depths]
    depths = [depth.float().cpu() for depth in fused.depths]
    everything = torch.cat([d[k] for d, k in zip(depths, known, strict=True)])
    if fused.alignment.kind == "depth":
        far = everything.max()
        return [torch.where(k, d / far, torch.ones_like(d)) for d, k in zip(depths, known, strict=True)]
    near = everything.min()
    return [torch.where(k, near / d, torch.zeros_like(d)) for d, k in zip(depths, known, strict=True)]


def _calibration(
    alignment: Alignment, camera: Camera, index: int, angle: Tensor, used: Tensor
) -> Calibration:
    """The known camera in the form of an estimated one."""
    return Calibration(
        intrinsics=camera.intrinsics.float().cpu()[None],
        fov_x_deg=torch.tensor([camera.fov_x_deg]),
        shift=alignment.shift[index : index + 1].float(),
        low=alignment.low[index : index + 1].float(),
        sd_log_focal=torch.tensor([float("inf")]),
        focal_source=("given",),
        shift_source=("normals",),
        reason=("",),
        angle_deg=angle[None],
        coverage=used.float().mean((1, 2)),
        kind=alignment.kind,
    )


def _median_angle(first: Tensor, second: Tensor, where: Tensor) -> Tensor:
    """Median angle between unit vectors (1, H, W, 3) where both are known, degrees; NaN where none is."""
    known = where & (first.square().sum(-1) > 0.5)
    if not bool(known.any()):
        return torch.tensor(float("nan"))
    cosine = (first * second).sum(-1)[known].clamp(-1.0, 1.0)
    return torch.rad2deg(cosine.acos()).median()
