"""Cameras and depths of several views from ComfyUI's Depth Anything 3 geometry packet.

Convention:
    The packet (``DA3_GEOMETRY``, mode "multiview") is a dict: ``depth`` (S, H, W) z-depth, ``extrinsics``
    (1, S, 3, 4) camera_from_world in OpenCV axes, ``intrinsics`` (1, S, 3, 3) in pixels of the size that the
    model ran at, which is not that of ``depth``: its sides are multiples of 14 and its principal point is the
    middle. Lengths are in one unknown unit that poses and depths share.

Source: ComfyUI 0.33, comfy_extras/nodes_depth_anything_3.py and comfy/ldm/depth_anything_3/model.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..checks import require_shape
from ..errors import GeometryError
from .anchors import DepthAnchors, anchors_from_depth
from .camera import Camera, invert_rigid, resize_intrinsics

PATCH = 14
"""Sides at which Depth Anything 3 runs are multiples of this."""

UNSURE_SHARE = 0.25
"""Share of each view's pixels, least confident first, that give no anchor."""


def views_from_da3(packet: Mapping[str, Any]) -> tuple[list[Camera], DepthAnchors]:
    """Return the cameras of a multi-view packet, and its depths as anchors.

    Args:
        packet: What ComfyUI's "Run Depth Anything 3" gives in multi-view mode.

    Returns:
        cameras: One a view, in pixels of the packet's depth maps.
        anchors: Every fourth pixel's depth, without the sky and the least confident quarter of each view.

    Raises:
        GeometryError: A single-view packet, or one whose model estimated no poses.
        ShapeError: Tensors of other shapes than documented.
    """
    depth, extrinsics, intrinsics = (_tensor(packet, key) for key in ("depth", "extrinsics", "intrinsics"))
    require_shape("depth", depth, "(S, H, W)", remedy="pass the node's output as it is")
    views, height, width = depth.shape
    require_shape("extrinsics", extrinsics, f"(1, {views}, R, 4)", remedy="pass the node's output as it is")
    require_shape("intrinsics", intrinsics, f"(1, {views}, 3, 3)", remedy="pass the node's output as it is")
    matrices = extrinsics[0].float()
    if views > 1 and bool((matrices[:, :3] == matrices[:1, :3]).all()):
        raise GeometryError(
            "this Depth Anything 3 geometry has no camera poses",
            found="the same pose for every view",
            remedy="use a model with a camera decoder (Small or Base)",
        )
    bottom = matrices.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(views, 1, 4)
    poses = invert_rigid(torch.cat([matrices[:, :3], bottom], dim=1))
    scaled = _in_pixels_of_depth(intrinsics[0].float(), height, width)
    cameras = [Camera(k, pose, width, height) for k, pose in zip(scaled, poses, strict=True)]
    return cameras, anchors_from_depth(list(_trusted_depth(packet, depth.float())))


def _tensor(packet: Mapping[str, Any], key: str) -> Tensor:
    value = packet.get(key)
    if not isinstance(value, Tensor):
        raise GeometryError(
            "this Depth Anything 3 geometry has no camera poses",
            found=f"mode {packet.get('mode')!r} without {key}",
            remedy='run Depth Anything 3 (Small or Base) in "multiview" mode',
        )
    return value


def _in_pixels_of_depth(intrinsics: Tensor, height: int, width: int) -> Tensor:
    """Scale (S, 3, 3) intrinsics from the size that the model ran at to the depth maps' size."""
    ran_width, ran_height = (2 * intrinsics[:, i, 2].median().item() for i in (0, 1))
    if abs(ran_width - width) < 0.5 and abs(ran_height - height) < 0.5:
        return intrinsics
    ran_size = (max(round(ran_height / PATCH), 1) * PATCH, max(round(ran_width / PATCH), 1) * PATCH)
    return resize_intrinsics(intrinsics, ran_size, (height, width))


def _trusted_depth(packet: Mapping[str, Any], depth: Tensor) -> Tensor:
    """Depth with NaN in the sky and where the model is least sure."""
    keep = torch.ones_like(depth, dtype=torch.bool)
    sky, confidence = packet.get("sky"), packet.get("confidence")
    if isinstance(sky, Tensor):
        keep &= sky < 0.5
    if isinstance(confidence, Tensor):
        least = torch.stack(
            [torch.quantile(view.flatten()[::7], UNSURE_SHARE) for view in confidence.float()]
        )
        keep &= confidence >= least[:, None, None]
    return torch.where(keep, depth, torch.full_like(depth, float("nan")))
