"""Furnished rooms, corridors and halls."""

from __future__ import annotations

import math

import torch

from .. import furniture
from ..builder import SceneBuilder, Vector, Viewpoints
from ..daylight import indoor_light
from ..scene import Room, Scene

WALLS = ("plain", "plaster", "stripes", "bricks", "tiles", "dots")
FLOORS = ("planks", "tiles", "checker", "wood", "speckle", "plain", "marble")


def room(builder: SceneBuilder) -> tuple[Scene, Viewpoints]:
    """Return a furnished room and where its cameras stand: at one side, looking across."""
    corridor = builder.chance(0.12)
    wide = builder.uniform(1.4, 2.2) if corridor else builder.uniform(2.6, 8.0)
    deep = builder.uniform(6.0, 14.0) if corridor else builder.uniform(3.0, 9.0)
    high = builder.uniform(2.2, 3.2) if builder.chance(0.8) else builder.uniform(3.2, 5.0)
    lower, upper = (-wide / 2, 0.0, 0.0), (wide / 2, deep, high)
    walls = room_shell(builder, lower, upper, window_chance=0.45)
    furnish(builder, lower, upper)
    decorate_walls(builder, lower, upper)
    lights, sky = indoor_light(builder, lower, upper, sunlit=len(walls.windows) > 0 and builder.chance(0.6))
    margin = min(0.4, wide * 0.15)
    views = Viewpoints(
        eye=((lower[0] + margin, 0.15, 0.25), (upper[0] - margin, 0.35 * deep, min(high - 0.3, 2.3))),
        target=((lower[0], 0.55 * deep, 0.0), (upper[0], deep, high * 0.85)),
        roll_deg=10.0 if builder.chance(0.15) else 2.0,
    )
    return builder.build(lights=lights, sky=sky, room=walls), views


def room_shell(builder: SceneBuilder, lower: Vector, upper: Vector, *, window_chance: float) -> Room:
    """Return the walls of a room, with windows at random."""
    wall = builder.material(WALLS)
    faces = [wall if builder.chance(0.75) else builder.material(WALLS) for _ in range(4)]
    faces += [
        builder.material(FLOORS, turned=builder.chance(0.3)),
        builder.material(("plain", "plaster", "planks")),
    ]
    windows = []
    while builder.chance(window_chance) and len(windows) < 3:
        face = int(builder.rng.choice([0, 1, 3]))
        axis = 1 if face < 2 else 0
        span = upper[axis] - lower[axis]
        width = builder.uniform(0.15, 0.5) * span
        start = lower[axis] + builder.uniform(0.05, 0.95) * (span - width)
        sill = 0.02 if builder.chance(0.2) else builder.uniform(0.6, 1.1)
        top = min(upper[2] - 0.1, sill + builder.uniform(0.7, 1.9))
        windows.append([face, start, sill, start + width, top])
    return Room(
        lower=torch.tensor(lower, dtype=torch.float32),
        upper=torch.tensor(upper, dtype=torch.float32),
        material=torch.tensor(faces),
        windows=torch.tensor(windows, dtype=torch.float32).reshape(-1, 5),
    )


def furnish(builder: SceneBuilder, lower: Vector, upper: Vector) -> None:
    """Add furniture along the walls and in the middle, and loose things on the floor."""
    wide, deep = upper[0] - lower[0], upper[1] - lower[1]
    for _ in range(int(builder.rng.integers(1, 2 + round(wide * deep / 7)))):
        against_wall = builder.chance(0.6)
        yaw = float(builder.rng.integers(4)) * math.pi / 2 if against_wall else builder.uniform(0, 6.3)
        x = builder.uniform(lower[0] + 0.5, upper[0] - 0.5)
        y = builder.uniform(lower[1] + 0.4 * deep, upper[1] - 0.45)
        if against_wall:
            x, y, yaw = _to_wall(builder, lower, upper, y)
        _piece(builder, (x, y, 0.0), yaw)
    for _ in range(int(builder.rng.integers(0, 7))):
        at = (builder.uniform(lower[0], upper[0]) * 0.9, builder.uniform(0.3, 0.95) * deep, 0.0)
        loose_size = builder.uniform(0.15, 0.8)
        furniture.loose_solid(builder, at, loose_size)
    if builder.chance(0.15):
        ramp = builder.rng.uniform([0.4, 0.3, 0.15], [1.2, 0.8, 0.7])
        at = (builder.uniform(lower[0], upper[0]) * 0.6, builder.uniform(0.5, 0.9) * deep, float(ramp[2]))
        builder.add("ramp", at, ramp.tolist(), builder.material(), yaw=builder.uniform(0, 6.3))


def decorate_walls(builder: SceneBuilder, lower: Vector, upper: Vector) -> None:
    """Add pictures, pipes, rugs, columns and hanging lamps."""
    deep, high = upper[1] - lower[1], upper[2] - lower[2]
    for _ in range(int(builder.rng.integers(0, 5))):
        half = builder.rng.uniform([0.15, 0.12], [0.6, 0.5])
        picture = builder.material(("poster",), period=builder.uniform(0.4, 1.5))
        x, z = builder.uniform(lower[0], upper[0]) * 0.7, builder.uniform(0.5, 0.75) * high
        if builder.chance(0.5):
            builder.add("box", (x, upper[1] - 0.01, z), (half[0], 0.02, half[1]), picture)
        else:
            side = lower[0] if builder.chance(0.5) else upper[0]
            builder.add("box", (side, builder.uniform(0.3, 0.9) * deep, z), (0.02, half[0], half[1]), picture)
    if builder.chance(0.35):
        rug = (builder.uniform(0.5, 1.3), builder.uniform(0.5, 1.3), 0.006)
        builder.add("box", (0.0, 0.6 * deep, 0.006), rug, builder.material(), yaw=builder.uniform(0, 6.3))
    for _ in range(int(builder.rng.choice([0, 1, 3], p=[0.7, 0.2, 0.1]))):
        x, y = builder.uniform(lower[0], upper[0]) * 0.9, builder.uniform(0.45, 0.95) * deep
        radius = builder.uniform(0.02, 0.25)
        builder.add("cylinder", (x, y, high / 2), (radius, radius, high / 2), builder.material())
    if builder.chance(0.4):
        x, y = builder.uniform(lower[0], upper[0]) * 0.4, builder.uniform(0.4, 0.8) * deep
        drop = builder.uniform(0.3, 0.9)
        builder.pole((x, y, high), (x, y, high - drop), 0.008, builder.material(("plain",)))
        lamp = builder.material(("plain",), emission=builder.uniform(0.0, 2.0))
        builder.add("ball", (x, y, high - drop), (builder.uniform(0.08, 0.25),) * 3, lamp)


def _to_wall(builder: SceneBuilder, lower: Vector, upper: Vector, y: float) -> tuple[float, float, float]:
    """Return a place against the left, right or far wall, with the back to it."""
    side = int(builder.rng.integers(3))
    if side == 2:
        return builder.uniform(lower[0] + 0.5, upper[0] - 0.5), upper[1] - 0.45, 0.0
    return (lower[0] + 0.45, y, math.pi / 2) if side == 0 else (upper[0] - 0.45, y, -math.pi / 2)


def _piece(builder: SceneBuilder, at: Vector, yaw: float) -> None:
    choice = str(builder.rng.choice(["table", "chair", "sofa", "shelf", "lamp", "plant", "block", "person"]))
    if choice == "table":
        half = (builder.uniform(0.35, 0.9), builder.uniform(0.3, 0.55))
        height = builder.uniform(0.4, 1.0)
        furniture.table(builder, at, yaw, half, height)
        for _ in range(int(builder.rng.integers(0, 4))):
            spot = (builder.uniform(-0.7, 0.7) * half[0], builder.uniform(-0.7, 0.7) * half[1], height)
            furniture.loose_solid(builder, furniture.place(at, yaw, spot), builder.uniform(0.08, 0.35))
        return
    if choice == "block":
        half_size = builder.rng.uniform([0.25, 0.2, 0.3], [0.8, 0.4, 1.1])
        centre = (at[0], at[1], float(half_size[2]))
        builder.add("box", centre, half_size.tolist(), builder.material(), yaw=yaw)
        return
    {
        "chair": lambda: furniture.chair(builder, at, yaw),
        "sofa": lambda: furniture.sofa(builder, at, yaw),
        "shelf": lambda: furniture.shelf(builder, at, yaw),
        "lamp": lambda: furniture.floor_lamp(builder, at),
        "plant": lambda: furniture.plant(builder, at, builder.uniform(0.5, 1.6)),
        "person": lambda: furniture.person(builder, at, yaw),
    }[choice]()
