"""Views taken through real lenses, as pinhole cameras would have taken them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ...types import JointPrediction
from ..camera import Camera
from ..distortion import Distortion, undistort_image
from ..normals import unit_normals


def undistort_views(
    prediction: JointPrediction, images: Tensor, cameras: Sequence[Camera], lenses: Sequence[Distortion]
) -> tuple[JointPrediction, Tensor, Tensor]:
    """Return predictions and pictures of a batch without their lenses' distortion.

    A map says the same about a point of the scene wherever the lens has put it, so that what was estimated on the
    distorted picture is moved, not estimated again. Uncertainties are dropped.

    Args:
        prediction: B views.
        images: (B, H, W, 3) float in [0, 1].
        cameras: B cameras of this size.
        lenses: Their distortions; perfect ones change nothing.

    Returns:
        prediction: B views, float32 on the CPU.
        images: (B, H, W, 3) float32 on the CPU.
        seen: (B, H, W) bool, False where the lens saw nothing.

    Raises:
        ShapeError: A camera of another size than the pictures.
    """
    values, vectors, pictures, seen = [], [], [], []
    for index, (camera, lens) in enumerate(zip(cameras, lenses, strict=True)):
        value = prediction.depth.values[index].float().cpu()
        vector = prediction.normals.vectors[index].float().cpu()
        picture, sees = images[index, ..., :3].float().cpu(), torch.ones_like(value, dtype=torch.bool)
        if not lens.is_zero:
            picture, sees = undistort_image(picture, camera, lens)
            value = undistort_image(value[..., None].expand(-1, -1, 3), camera, lens)[0][..., 0]
            vector = unit_normals(undistort_image(vector, camera, lens)[0])
        values.append(value)
        vectors.append(vector)
        pictures.append(picture)
        seen.append(sees)
    straight = JointPrediction(
        depth=replace(prediction.depth, values=torch.stack(values), uncertainty=None),
        normals=replace(prediction.normals, vectors=torch.stack(vectors), uncertainty=None),
    )
    return straight, torch.stack(pictures), torch.stack(seen)
