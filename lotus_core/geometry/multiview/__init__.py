"""Several photographs with known cameras, fused into one surface."""

from __future__ import annotations

from .alignment import Alignment, align_views
from .fusion import FusedViews, FusionOptions, fuse_views
from .inputs import check_cameras
from .lenses import undistort_views
from .orientation import opencv_from_world, turn_mesh
from .resolved import common_maps, view_geometry

__all__ = [
    "Alignment",
    "FusedViews",
    "FusionOptions",
    "align_views",
    "check_cameras",
    "common_maps",
    "fuse_views",
    "opencv_from_world",
    "turn_mesh",
    "undistort_views",
    "view_geometry",
]
