"""Several photographs with known cameras, fused into one surface."""

from __future__ import annotations

from .alignment import Alignment, align_views
from .fusion import FusedViews, FusionOptions, fuse_views
from .inputs import check_cameras
from .orientation import opencv_from_world, turn_mesh

__all__ = [
    "Alignment",
    "FusedViews",
    "FusionOptions",
    "align_views",
    "check_cameras",
    "fuse_views",
    "opencv_from_world",
    "turn_mesh",
]
