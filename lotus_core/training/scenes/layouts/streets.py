"""Streets between buildings, with traffic, trees, poles and people."""

from __future__ import annotations

import math

from .. import furniture
from ..builder import SceneBuilder, Viewpoints
from ..daylight import outdoor_light
from ..scene import Scene

FACADES = ("facade", "bricks", "plaster", "tiles", "planks")


def street(builder: SceneBuilder) -> tuple[Scene, Viewpoints]:
    """Return a street along +y and where its cameras stand: on it, looking along."""
    half_road = builder.uniform(2.5, 6.0)
    pavement = builder.uniform(1.2, 4.0)
    ground = builder.material(("speckle", "plain", "clouds", "bricks"), colour=_asphalt(builder))
    for side in (-1, 1):
        kerb = builder.material(("tiles", "bricks", "plain", "speckle"))
        middle = side * (half_road + pavement / 2)
        builder.add("box", (middle, 60.0, 0.0), (pavement / 2, 80.0, builder.uniform(0.08, 0.16)), kerb)
        _buildings(builder, side, half_road + pavement)
        _roadside(builder, side, half_road, pavement)
    _lane_marks(builder)
    for _ in range(int(builder.rng.integers(0, 7))):
        side = 1 if builder.chance(0.5) else -1
        parked = builder.chance(0.6)
        x = side * (half_road - 1.1 if parked else half_road * 0.45)
        speed = 0.0 if parked else builder.uniform(3.0, 14.0)
        heading = math.pi / 2 if side > 0 else -math.pi / 2
        furniture.car(builder, (x, builder.uniform(5, 60), 0.0), heading, speed)
    lights, sky = outdoor_light(builder)
    views = Viewpoints(
        eye=((-half_road, 0.0, 0.5), (half_road, 1.0, 2.4 if builder.chance(0.8) else 9.0)),
        target=((-half_road * 1.5, 12.0, 0.0), (half_road * 1.5, 45.0, 5.0)),
        nearest=0.8,
        roll_deg=6.0 if builder.chance(0.1) else 1.5,
    )
    return builder.build(lights=lights, sky=sky, ground=ground), views


def _buildings(builder: SceneBuilder, side: int, start: float) -> None:
    y = builder.uniform(-6.0, 2.0)
    while y < 110.0:
        length = builder.uniform(4.0, 16.0)
        if builder.chance(0.85):
            depth, high = builder.uniform(3.0, 8.0), builder.uniform(1.8, 14.0)
            setback = builder.uniform(0.0, 1.5)
            wall = builder.material(FACADES, period=builder.uniform(2.0, 9.0))
            x = side * (start + setback + depth)
            builder.add("box", (x, y + length / 2, high), (depth, length / 2 - 0.05, high), wall)
            if builder.chance(0.3) and high < 6:
                roof = builder.material(("tiles", "planks", "plain"))
                yaw = 0.0 if side < 0 else math.pi
                at = (x, y + length / 2, 2 * high + 1.2)
                builder.add("ramp", at, (depth, length / 2, 1.2), roof, yaw=yaw)
            if builder.chance(0.3):
                at = (side * (start + setback - 0.4), y + length / 2, builder.uniform(2.4, 3.2))
                builder.add("box", at, (0.6, length / 3, 0.06), builder.material())
        y += length + (0.0 if builder.chance(0.7) else builder.uniform(1.0, 8.0))


def _roadside(builder: SceneBuilder, side: int, half_road: float, pavement: float) -> None:
    x = side * (half_road + 0.4)
    spacing = builder.uniform(7.0, 18.0)
    what = str(builder.rng.choice(["tree", "lamp", "both", "nothing"]))
    for index in range(int(50 / spacing)):
        y = 4.0 + index * spacing + builder.uniform(-0.5, 0.5)
        if what in ("tree", "both"):
            furniture.tree(builder, (x, y, 0.1))
        if what in ("lamp", "both"):
            _street_lamp(builder, (x, y + spacing / 2), side)
    if builder.chance(0.3):
        _fence(builder, side * (half_road + pavement - 0.1))
    for _ in range(int(builder.rng.integers(0, 4))):
        at = (side * (half_road + builder.uniform(0.3, 1.0) * pavement), builder.uniform(3, 35), 0.1)
        furniture.person(builder, at, builder.uniform(0, 6.3), builder.uniform(0.0, 1.8))
    if builder.chance(0.4):
        y, radius = builder.uniform(4, 20), builder.uniform(0.02, 0.04)
        sign = builder.material(("poster", "plain"), period=0.7)
        builder.pole((x, y, 0.0), (x, y, 2.4), radius, builder.material(("plain",)))
        builder.add("box", (x, y - 0.04, 2.3), (0.3, 0.012, 0.3), sign)


def _street_lamp(builder: SceneBuilder, at: tuple[float, float], side: int) -> None:
    metal, high = builder.material(("plain",)), builder.uniform(4.0, 8.0)
    arm = at[0] - side * builder.uniform(0.5, 1.8)
    builder.pole((*at, 0.0), (*at, high), builder.uniform(0.04, 0.1), metal)
    builder.pole((*at, high), (arm, at[1], high + 0.2), 0.04, metal)
    builder.add("box", (arm, at[1], high + 0.15), (0.25, 0.12, 0.06), metal)


def _fence(builder: SceneBuilder, x: float) -> None:
    metal, high = builder.material(("plain",)), builder.uniform(0.8, 1.8)
    start, gap = builder.uniform(2, 8), builder.uniform(0.5, 1.8)
    count = int(builder.rng.integers(5, 12))
    for index in range(count):
        builder.pole((x, start + index * gap, 0), (x, start + index * gap, high), 0.025, metal)
    for level in (0.4, 0.95):
        builder.pole((x, start, high * level), (x, start + (count - 1) * gap, high * level), 0.02, metal)


def _lane_marks(builder: SceneBuilder) -> None:
    if builder.chance(0.6):
        white = builder.material(("plain",), colour=(0.7, 0.7, 0.65))
        for index in range(8):
            builder.add("box", (0.0, 3.0 + index * 6.0, 0.0), (0.08, 1.2, 0.003), white)


def _asphalt(builder: SceneBuilder) -> list[float]:
    grey = builder.uniform(0.04, 0.35)
    return [grey, grey * builder.uniform(0.9, 1.05), grey * builder.uniform(0.8, 1.1)]
