"""Closed, otherwise empty rooms with a few boxes, balls, cylinders and ramps: the geometry benchmark's scenes."""

from __future__ import annotations

from ..builder import SceneBuilder, Viewpoints
from ..daylight import indoor_light
from ..scene import Scene
from ..solids import SolidKind
from .rooms import room_shell

SHOWN: tuple[SolidKind, ...] = ("box", "ball", "cylinder", "ramp")


def showroom(builder: SceneBuilder) -> tuple[Scene, Viewpoints]:
    """Return a room without windows with 4 to 9 solids on its floor, seen from one side."""
    wide, deep, high = builder.uniform(3.0, 8.0), builder.uniform(4.0, 9.0), builder.uniform(2.3, 4.0)
    lower, upper = (-wide / 2, 0.0, 0.0), (wide / 2, deep, high)
    walls = room_shell(builder, lower, upper, window_chance=0.0)
    for _ in range(int(builder.rng.integers(4, 10))):
        kind = SHOWN[int(builder.rng.choice(4, p=[0.4, 0.25, 0.25, 0.1]))]
        half = builder.rng.uniform(0.12, 0.6, 3)
        half[2] *= builder.uniform(0.7, 1.8)
        if kind == "ball":
            half[:] = half[0]
        if kind == "cylinder":
            half[1] = half[0]
        x = builder.uniform(lower[0] + 0.6, upper[0] - 0.6)
        y = builder.uniform(0.4, 0.95) * deep
        builder.add(kind, (x, y, float(half[2])), half, builder.material(), yaw=builder.uniform(0, 6.3))
    lights, sky = indoor_light(builder, lower, upper, sunlit=False)
    views = Viewpoints(
        eye=((lower[0] + 0.4, 0.15, 0.4), (upper[0] - 0.4, 0.25 * deep, min(high - 0.3, 2.2))),
        target=((lower[0] * 0.7, 0.6 * deep, 0.2), (upper[0] * 0.7, deep, high * 0.7)),
        nearest=0.5,
        roll_deg=4.0,
    )
    return builder.build(lights=lights, sky=sky, room=walls), views
