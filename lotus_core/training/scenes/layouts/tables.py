"""Things on a table, seen from close by."""

from __future__ import annotations

from .. import furniture
from ..builder import SceneBuilder, Viewpoints
from ..daylight import indoor_light
from ..scene import Scene
from .rooms import decorate_walls, room_shell


def tabletop(builder: SceneBuilder) -> tuple[Scene, Viewpoints]:
    """Return a table with things on it in a room, seen from arm's length."""
    wide, deep, high = builder.uniform(2.5, 6.0), builder.uniform(2.5, 6.0), builder.uniform(2.3, 3.0)
    lower, upper = (-wide / 2, 0.0, 0.0), (wide / 2, deep, high)
    walls = room_shell(builder, lower, upper, window_chance=0.3)
    half = (builder.uniform(0.5, 1.1), builder.uniform(0.35, 0.7))
    height = builder.uniform(0.6, 0.95)
    centre = (0.0, builder.uniform(0.9 + half[1], deep - half[1]), 0.0)
    furniture.table(builder, centre, builder.uniform(-0.3, 0.3), half, height)
    scale = builder.uniform(0.12, 0.4)
    for _ in range(int(builder.rng.integers(3, 18))):
        x, y = builder.uniform(-0.85, 0.85) * half[0], builder.uniform(-0.85, 0.85) * half[1]
        on_top = (centre[0] + x, centre[1] + y, height)
        draw = builder.rng.random()
        if draw < 0.75:
            furniture.loose_solid(builder, on_top, scale * builder.uniform(0.3, 1.2))
        elif draw < 0.85:
            furniture.plant(builder, on_top, builder.uniform(0.15, 0.5))
        else:
            _leaning_pencils(builder, on_top)
    decorate_walls(builder, lower, upper)
    lights, sky = indoor_light(builder, lower, upper, sunlit=len(walls.windows) > 0)
    near = centre[1] - half[1]
    views = Viewpoints(
        eye=((-0.7, max(0.1, near - 0.7), height + 0.1), (0.7, near + 0.1, height + 1.0)),
        target=((-0.4, centre[1] - 0.3, height - 0.1), (0.4, centre[1] + half[1], height + 0.2)),
        nearest=0.15,
        roll_deg=12.0 if builder.chance(0.25) else 3.0,
    )
    return builder.build(lights=lights, sky=sky, room=walls), views


def _leaning_pencils(builder: SceneBuilder, at: tuple[float, float, float]) -> None:
    """Add a cup with thin sticks."""
    radius, tall = builder.uniform(0.03, 0.05), builder.uniform(0.07, 0.12)
    builder.add("cylinder", (at[0], at[1], at[2] + tall / 2), (radius, radius, tall / 2), builder.material())
    for _ in range(int(builder.rng.integers(2, 6))):
        lean = builder.rng.normal(0, 0.03, 2)
        tip = (at[0] + lean[0], at[1] + lean[1], at[2] + tall * builder.uniform(1.4, 2.2))
        builder.pole(
            (at[0], at[1], at[2] + 0.02), tip, builder.uniform(0.003, 0.006), builder.material(("plain",))
        )
