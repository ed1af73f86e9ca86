"""Many solids in any pose: on a floor, against a backdrop or in the air."""

from __future__ import annotations

from .. import furniture
from ..builder import SceneBuilder, Viewpoints, random_rotation
from ..daylight import indoor_light, outdoor_light
from ..scene import Scene
from .rooms import room_shell


def clutter(builder: SceneBuilder) -> tuple[Scene, Viewpoints]:
    """Return a heap of solids in a room or in the open, and where its cameras stand."""
    indoors = builder.chance(0.65)
    scale = 10 ** builder.uniform(-0.5, 0.5)
    spread = 2.2 * scale
    for _ in range(int(builder.rng.integers(6, 40))):
        x, y = builder.rng.normal(0, 0.5, 2) * spread
        flying = builder.chance(0.35)
        z = builder.uniform(0.0, 1.2) * spread if flying else 0.0
        size = scale * 10 ** builder.uniform(-1.0, 0.1)
        furniture.loose_solid(builder, (float(x), float(y) + 2.5 * scale, z), size, upright=not flying)
    for _ in range(int(builder.rng.integers(0, 8))):
        at = builder.rng.normal(0, 0.5, 3) * spread + [0, 2.5 * scale, 0.5 * spread]
        end = at + random_rotation(builder.rng)[0] * builder.uniform(0.5, 2.0) * scale
        thickness = builder.uniform(0.006, 0.03) * scale
        builder.pole(at.tolist(), end.tolist(), thickness, builder.material(("plain", "stripes")))
    views = Viewpoints(
        eye=((-1.2 * scale, -1.6 * scale, 0.2 * scale), (1.2 * scale, 0.2 * scale, 1.8 * scale)),
        target=((-0.5 * scale, 2.0 * scale, 0.0), (0.5 * scale, 3.0 * scale, 0.9 * scale)),
        nearest=0.2 * scale,
        roll_deg=15.0 if builder.chance(0.3) else 3.0,
    )
    if not indoors:
        lights, sky = outdoor_light(builder)
        return builder.build(lights=lights, sky=sky, ground=builder.material(turned=True)), views
    lower = (-3.2 * scale, -2.2 * scale, 0.0)
    upper = (3.2 * scale, builder.uniform(3.5, 8.0) * scale, builder.uniform(2.2, 4.0) * scale)
    walls = room_shell(builder, lower, upper, window_chance=0.15)
    lights, sky = indoor_light(builder, lower, upper, sunlit=False)
    return builder.build(lights=lights, sky=sky, room=walls), views
