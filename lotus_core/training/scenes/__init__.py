"""Procedural scenes with exact geometry: a vectorised ray caster on the CPU.

Convention:
    World: +x right, +y forward, +z up, metres. Cameras and normals: OpenCV (+x right, +y down, +z forward).
"""

from __future__ import annotations

from .render import render
from .sampling import sample_clip, sample_frame, sample_scene, sample_view, sample_views
from .scene import Frame, Light, Materials, Optics, Room, Scene, Sky
from .solids import Solids

__all__ = [
    "Frame",
    "Light",
    "Materials",
    "Optics",
    "Room",
    "Scene",
    "Sky",
    "Solids",
    "render",
    "sample_clip",
    "sample_frame",
    "sample_scene",
    "sample_view",
    "sample_views",
]
