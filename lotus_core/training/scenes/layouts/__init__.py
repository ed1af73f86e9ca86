"""How scenes are composed: one module per sort of place."""

from __future__ import annotations

from collections.abc import Callable

from ..builder import SceneBuilder, Viewpoints
from ..scene import Scene
from .clutter import clutter
from .landscapes import landscape
from .rooms import room
from .showrooms import showroom
from .streets import street
from .tables import tabletop

Layout = Callable[[SceneBuilder], tuple[Scene, Viewpoints]]

LAYOUTS: dict[str, Layout] = {
    "room": room,
    "tabletop": tabletop,
    "street": street,
    "landscape": landscape,
    "clutter": clutter,
    "showroom": showroom,
}
"""Every layout by name."""

__all__ = ["LAYOUTS", "Layout"]
