"""What is fused: one map, normals, mask, picture and camera for each view, checked once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...checks import require_shape
from ...conventions import DepthKind
from ...errors import GeometryError, ShapeError
from ...types import JointPrediction
from ..camera import Camera

MIN_VIEWS, MAX_VIEWS = 2, 100

RIGID_TOLERANCE = 1e-3
"""Largest entry of R^T R - 1 that rounding explains."""


@dataclass(frozen=True)
class ViewInputs:
    """N views that belong together.

    Attributes:
        values: N maps (H_i, W_i) float.
        normals: N maps (H_i, W_i, 3) float, OpenCV camera frame.
        valid: N masks (H_i, W_i) bool; False where a map is not finite.
        images: N pictures (H_i, W_i, 3) float32, [0, 1], or None.
        cameras: N cameras of these sizes, with rigid poses, not all in one place.
        kind: Of all maps.
    """

    values: tuple[Tensor, ...]
    normals: tuple[Tensor, ...]
    valid: tuple[Tensor, ...]
    images: tuple[Tensor, ...] | None
    cameras: tuple[Camera, ...]
    kind: DepthKind

    def __len__(self) -> int:
        return len(self.values)

    def cpu(self) -> ViewInputs:
        """Return the same views in the main memory."""
        values, normals, valid = (
            tuple(t.cpu() for t in part) for part in (self.values, self.normals, self.valid)
        )
        images = None if self.images is None else tuple(image.cpu() for image in self.images)
        return ViewInputs(values, normals, valid, images, self.cameras, self.kind)


def check_inputs(
    predictions: JointPrediction | Sequence[JointPrediction],
    cameras: Sequence[Camera],
    images: Sequence[Tensor] | None,
    masks: Sequence[Tensor] | None,
) -> ViewInputs:
    """Return views that can be fused.

    Args:
        predictions: One batch, or one prediction for each view or group of views of one size.
        cameras: One for each view.
        images: One (H_i, W_i, 3) for each view, or None.
        masks: One (H_i, W_i) for each view, or None.

    Raises:
        ShapeError: A camera, image or mask of another size than its map.
        GeometryError: Anything else that cannot be fused; see `fuse_views`.
    """
    groups = [predictions] if isinstance(predictions, JointPrediction) else list(predictions)
    values = tuple(value for group in groups for value in group.depth.values)
    normals = tuple(normal for group in groups for normal in group.normals.vectors)
    kind = _one_kind(groups)
    check_cameras(cameras, [tuple(value.shape) for value in values])
    for name, parts, channels in (("normals", normals, ", 3"), ("image", images, ", 3"), ("mask", masks, "")):
        if parts is not None:
            _require_sizes(name, parts, values, channels)
    valid = tuple(torch.isfinite(value) for value in values)
    if masks is not None:
        valid = tuple(known & mask.to(known.device).bool() for known, mask in zip(valid, masks, strict=True))
    pictures = None
    if images is not None:
        pictures = tuple(image.to(value.device).float() for image, value in zip(images, values, strict=True))
    return ViewInputs(values, normals, valid, pictures, tuple(cameras), kind)


def check_cameras(cameras: Sequence[Camera], sizes: Sequence[tuple[int, ...]]) -> None:
    """Refuse cameras that cannot have taken pictures of these (height, width) sizes from several places.

    Raises:
        ShapeError: A camera of another size than its picture.
        GeometryError: A wrong number, a pose that is not rigid, intrinsics that are none, or all in one place.
    """
    if not MIN_VIEWS <= len(sizes) <= MAX_VIEWS:
        raise GeometryError(
            f"views are fused from {MIN_VIEWS} to {MAX_VIEWS} pictures",
            found=f"{len(sizes)}",
            remedy="choose among the pictures; neighbours should share at least half of what they see",
        )
    if len(cameras) != len(sizes):
        raise GeometryError(
            "every picture needs its camera",
            found=f"{len(sizes)} pictures, {len(cameras)} cameras",
            remedy="pass them in the same order",
        )
    for index, (camera, size) in enumerate(zip(cameras, sizes, strict=True)):
        if size != (camera.height, camera.width):
            raise ShapeError(
                f"the map of view {index}", size, f"({camera.height}, {camera.width})",
                remedy="resize the intrinsics to the picture (resize_intrinsics), or take the right camera",
            )  # fmt: skip
        _check_pose(camera, index)
    centres = torch.stack([camera.world_from_camera[:3, 3] for camera in cameras]).double()
    spread = float((centres - centres.mean(dim=0)).norm(dim=-1).max())
    if spread <= 1e-6 * float(centres.abs().max().clamp_min(1e-6)):
        raise GeometryError(
            "all cameras stand in one place: without a baseline nothing can be fused",
            remedy="use pictures from different places, or make a mesh of each",
        )


def _check_pose(camera: Camera, index: int) -> None:
    pose, k = camera.world_from_camera.double().cpu(), camera.intrinsics.double().cpu()
    rotation = pose[:3, :3]
    last = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    away = (rotation.T @ rotation - torch.eye(3, dtype=torch.float64)).abs().max()
    rigid = bool(torch.isfinite(pose).all()) and float(away) <= RIGID_TOLERANCE
    if not (rigid and float(torch.linalg.det(rotation)) > 0 and float((pose[3] - last).abs().max()) <= 1e-6):
        raise GeometryError(
            f"the pose of view {index} is not rigid",
            found=f"rotation {[[round(x, 4) for x in row] for row in rotation.tolist()]}",
            remedy="a pose is a rotation without scale, shear or mirroring, and a translation",
        )
    focal_ok = float(k[0, 0]) > 0 and float(k[1, 1]) > 0
    if not (focal_ok and bool(torch.isfinite(k).all()) and abs(float(k[0, 1])) < 1e-3 * float(k[0, 0])):
        raise GeometryError(
            f"the intrinsics of view {index} are no pinhole camera's",
            found=f"{k.tolist()}",
            remedy="expected [[f_x, 0, c_x], [0, f_y, c_y], [0, 0, 1]] in pixels",
        )


def _one_kind(groups: Sequence[JointPrediction]) -> DepthKind:
    kinds = sorted({group.depth.kind for group in groups})
    if len(kinds) != 1:
        raise GeometryError(
            "views can only be fused if all were made with one kind of depth model",
            found=", ".join(kinds) or "no view",
            remedy="run the same model on every picture",
        )
    return groups[0].depth.kind


def _require_sizes(name: str, parts: Sequence[Tensor], values: Sequence[Tensor], channels: str) -> None:
    if len(parts) != len(values):
        raise GeometryError(
            f"every view needs its {name}",
            found=f"{len(parts)} for {len(values)} views",
            remedy="pass them in the same order",
        )
    for index, (part, value) in enumerate(zip(parts, values, strict=True)):
        size = f"({value.shape[0]}, {value.shape[1]}{channels})"
        require_shape(
            f"the {name} of view {index}", part, size, remedy="pass what belongs to the same picture"
        )
