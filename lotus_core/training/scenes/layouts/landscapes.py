"""Open ground under an open sky: hills, rocks, trees, fences, a hut."""

from __future__ import annotations

import math

from .. import furniture
from ..builder import SceneBuilder, Viewpoints, random_rotation
from ..daylight import outdoor_light
from ..scene import Scene


def landscape(builder: SceneBuilder) -> tuple[Scene, Viewpoints]:
    """Return open country and where its cameras stand: low above the ground, the horizon in sight."""
    soil = [builder.uniform(0.08, 0.5), builder.uniform(0.1, 0.45), builder.uniform(0.03, 0.3)]
    ground = builder.material(
        ("clouds", "leaves", "speckle", "plain"), colour=soil, period=builder.uniform(0.5, 6)
    )
    for _ in range(int(builder.rng.integers(0, 6))):
        size = builder.rng.uniform([8, 8, 1.0], [50, 50, 9.0])
        away = float(size[:2].max()) + builder.uniform(8, 90)
        turn = builder.uniform(-0.8, 0.8)
        at = (away * math.sin(turn), away * math.cos(turn), -0.2)
        hill = builder.material(("clouds", "leaves", "speckle"), colour=soil, period=builder.uniform(2, 12))
        builder.add("ball", at, size.tolist(), hill, yaw=builder.uniform(0, 6.3))
    for _ in range(int(builder.rng.integers(3, 14))):
        away, turn = 2.5 * 10 ** builder.uniform(0, 1.2), builder.uniform(-0.7, 0.7)
        _feature(builder, (away * math.sin(turn), away * math.cos(turn), 0.0))
    lights, sky = outdoor_light(builder)
    views = Viewpoints(
        eye=((-1.5, -0.5, 0.4), (1.5, 0.5, 2.2 if builder.chance(0.8) else 12.0)),
        target=((-6.0, 10.0, -1.5), (6.0, 30.0, 5.0)),
        nearest=0.5,
        roll_deg=8.0 if builder.chance(0.15) else 2.0,
    )
    return builder.build(lights=lights, sky=sky, ground=ground), views


def _feature(builder: SceneBuilder, at: tuple[float, float, float]) -> None:
    choice = str(builder.rng.choice(["tree", "rock", "rock", "post", "hut", "person", "block", "bush"]))
    if choice == "rock":
        size = builder.rng.uniform(0.2, 1.4, 3)
        stone = builder.material(("clouds", "speckle", "marble"), turned=True)
        kind = "ball" if builder.chance(0.6) else "box"
        builder.add(kind, at, size.tolist(), stone, rotation=random_rotation(builder.rng))
    elif choice == "post":
        tall, wood = builder.uniform(0.6, 4.0), builder.material(("wood", "plain"))
        for index in range(int(builder.rng.integers(1, 6))):
            x = at[0] + index * 1.6
            builder.pole((x, at[1], 0.0), (x, at[1], tall), builder.uniform(0.02, 0.12), wood)
    elif choice == "hut":
        _hut(builder, at)
    elif choice == "bush":
        size = builder.rng.uniform(0.2, 0.9, 3)
        leaves = builder.material(("leaves",), colour=(0.08, 0.2, 0.05), period=0.6)
        builder.add("ball", (at[0], at[1], float(size[2]) * 0.6), size.tolist(), leaves)
    else:
        {
            "tree": lambda: furniture.tree(builder, at),
            "person": lambda: furniture.person(builder, at, builder.uniform(0, 6.3), builder.uniform(0, 1.5)),
            "block": lambda: furniture.loose_solid(builder, at, builder.uniform(0.4, 2.5)),
        }[choice]()


def _hut(builder: SceneBuilder, at: tuple[float, float, float]) -> None:
    """Add a house with a gable roof of two ramps."""
    wide, deep, high = builder.uniform(1.5, 4.0), builder.uniform(1.5, 4.0), builder.uniform(1.0, 2.0)
    yaw = builder.uniform(0, 6.3)
    away = (at[0] * 1.5, at[1] + 6.0, 0.0)
    wall = builder.material(("planks", "bricks", "plaster", "plain"))
    builder.add("box", furniture.place(away, yaw, (0, 0, high)), (wide, deep, high), wall, yaw=yaw)
    roof, rise = builder.material(("tiles", "planks", "plain")), builder.uniform(0.4, 1.2)
    for side, turn in ((1, 0.0), (-1, math.pi)):
        top = furniture.place(away, yaw, (side * wide / 2, 0, 2 * high + rise))
        builder.add("ramp", top, (wide / 2, deep * 1.05, rise), roof, yaw=yaw + turn)
