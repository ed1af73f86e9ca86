"""Things made of several solids, added to a scene in the making."""

from __future__ import annotations

import math

import numpy as np

from .builder import SceneBuilder, Vector, about_z, random_rotation
from .solids import SolidKind

WOODS = ("wood", "planks", "plain")
CLOTH = ("plain", "stripes", "checker", "speckle", "dots")


def place(centre: Vector, yaw: float, local: Vector) -> list[float]:
    """Return the world point of a local offset of something turned by ``yaw`` radians."""
    return (np.asarray(centre, float) + about_z(yaw) @ np.asarray(local, float)).tolist()


def loose_solid(builder: SceneBuilder, centre: Vector, size: float, *, upright: bool = True) -> None:
    """Add one solid of any kind about ``size`` metres across; upright ones stand at ``centre``'s height."""
    rng = builder.rng
    kinds: tuple[SolidKind, ...] = ("box", "ball", "cylinder", "ramp")
    kind = kinds[int(rng.choice(4, p=[0.45, 0.2, 0.25, 0.1]))]
    half = size / 2 * rng.uniform(0.3, 1.0, 3)
    if kind == "ball" and builder.chance(0.7):
        half[:] = half.max()
    if kind == "cylinder":
        half[1] = half[0] = half[0] * (0.25 if builder.chance(0.25) else 1.0)
    rotation = about_z(builder.uniform(0, 6.3)) if upright else random_rotation(rng)
    at = [centre[0], centre[1], centre[2] + (half[2] if upright else 0.0)]
    builder.add(kind, at, half.tolist(), builder.material(turned=True), rotation=rotation)


def table(
    builder: SceneBuilder, centre: Vector, yaw: float, half: tuple[float, float], height: float
) -> None:
    """Add a table top on four legs, standing at ``centre``."""
    top, thick = builder.material(WOODS), builder.uniform(0.012, 0.04)
    builder.add("box", place(centre, yaw, (0, 0, height - thick)), (*half, thick), top, yaw=yaw)
    leg = builder.uniform(0.012, 0.045)
    round_ = builder.chance(0.5)
    for sx in (-1, 1):
        for sy in (-1, 1):
            at = place(centre, yaw, (sx * (half[0] - 2 * leg), sy * (half[1] - 2 * leg), height / 2 - thick))
            builder.add("cylinder" if round_ else "box", at, (leg, leg, height / 2 - thick), top, yaw=yaw)


def chair(builder: SceneBuilder, centre: Vector, yaw: float) -> None:
    """Add a chair with thin legs and a back of slats or a board."""
    seat, half = builder.uniform(0.4, 0.5), builder.uniform(0.19, 0.25)
    table(builder, centre, yaw, (half, half), seat)
    back, top = builder.material(WOODS), seat + builder.uniform(0.35, 0.6)
    if builder.chance(0.5):
        at = place(centre, yaw, (0, half - 0.02, (seat + top) / 2))
        builder.add("box", at, (half, 0.015, (top - seat) / 2), back, yaw=yaw)
        return
    for x in np.linspace(-half + 0.02, half - 0.02, int(builder.rng.integers(2, 6))):
        at = place(centre, yaw, (float(x), half - 0.02, (seat + top) / 2))
        builder.add("cylinder", at, (0.012, 0.012, (top - seat) / 2), back)
    builder.add("box", place(centre, yaw, (0, half - 0.02, top)), (half, 0.015, 0.04), back, yaw=yaw)


def sofa(builder: SceneBuilder, centre: Vector, yaw: float) -> None:
    """Add a sofa: seat, back and arms."""
    width, depth = builder.uniform(0.5, 1.1), builder.uniform(0.35, 0.5)
    seat, top = builder.uniform(0.35, 0.45), builder.uniform(0.7, 0.95)
    cloth = builder.material(CLOTH)
    builder.add("box", place(centre, yaw, (0, 0, seat / 2)), (width, depth, seat / 2), cloth, yaw=yaw)
    builder.add("box", place(centre, yaw, (0, depth - 0.1, top / 2)), (width, 0.12, top / 2), cloth, yaw=yaw)
    for side in (-1, 1):
        arm = place(centre, yaw, (side * width, 0, (seat + 0.2) / 2))
        builder.add("box", arm, (0.1, depth, (seat + 0.2) / 2), cloth, yaw=yaw)
    for _ in range(int(builder.rng.integers(0, 3))):
        at = place(centre, yaw, (builder.uniform(-width, width) * 0.7, 0.1, seat + 0.16))
        builder.add("ball", at, (0.2, 0.09, 0.17), builder.material(CLOTH), yaw=yaw)


def shelf(builder: SceneBuilder, centre: Vector, yaw: float) -> None:
    """Add an open shelf with boards, sides and things on it."""
    width, depth, height = builder.uniform(0.3, 0.8), builder.uniform(0.12, 0.2), builder.uniform(0.8, 2.1)
    wood, boards = builder.material(WOODS), int(builder.rng.integers(3, 6))
    for side in (-1, 1):
        at = place(centre, yaw, (side * width, 0, height / 2))
        builder.add("box", at, (0.012, depth, height / 2), wood, yaw=yaw)
    for level in np.linspace(0.03, height - 0.02, boards):
        builder.add("box", place(centre, yaw, (0, 0, float(level))), (width, depth, 0.012), wood, yaw=yaw)
        if level < height - 0.1:
            for _ in range(int(builder.rng.integers(0, 3))):
                x = builder.uniform(-width, width) * 0.8
                size = builder.uniform(0.08, min(0.3, height / boards))
                loose_solid(builder, place(centre, yaw, (x, 0, float(level) + 0.012)), size)
    if builder.chance(0.5):
        builder.add(
            "box", place(centre, yaw, (0, depth, height / 2)), (width, 0.008, height / 2), wood, yaw=yaw
        )


def floor_lamp(builder: SceneBuilder, centre: Vector) -> None:
    """Add a thin stem with a glowing shade."""
    height = builder.uniform(1.2, 1.9)
    metal = builder.material(("plain",))
    builder.pole(centre, place(centre, 0, (0, 0, height)), 0.012, metal)
    builder.add("cylinder", place(centre, 0, (0, 0, 0.01)), (0.14, 0.14, 0.012), metal)
    shade = builder.material(("plain",), emission=builder.uniform(0.0, 2.0))
    size = builder.uniform(0.1, 0.22)
    kind: SolidKind = "ball" if builder.chance(0.3) else "cylinder"
    builder.add(kind, place(centre, 0, (0, 0, height)), (size, size, size * 0.8), shade)


def plant(builder: SceneBuilder, centre: Vector, height: float) -> None:
    """Add a pot with thin stems and leaves."""
    pot = builder.uniform(0.1, 0.2) * height
    builder.add("cylinder", place(centre, 0, (0, 0, pot)), (pot * 0.8, pot * 0.8, pot), builder.material())
    green = builder.material(("leaves", "plain"), colour=_green(builder))
    for _ in range(int(builder.rng.integers(3, 8))):
        lean = builder.rng.normal(0, 0.25, 2) * height
        tip = place(centre, 0, (lean[0], lean[1], height * builder.uniform(0.6, 1.0)))
        builder.pole(place(centre, 0, (0, 0, pot)), tip, 0.006 + 0.005 * height, green)
        leaf = builder.uniform(0.05, 0.16) * height
        builder.add("ball", tip, (leaf, leaf * 0.6, leaf * 0.3), green, rotation=random_rotation(builder.rng))


def tree(builder: SceneBuilder, centre: Vector) -> None:
    """Add a trunk and a crown of one to four balls."""
    height = builder.uniform(2.5, 8.0)
    lean = builder.rng.normal(0, 0.05, 2) * height
    top = place(centre, 0, (lean[0], lean[1], height * 0.7))
    bark = builder.material(("wood", "speckle"), colour=(0.12, 0.08, 0.05))
    builder.pole(centre, top, 0.02 * height + 0.03, bark)
    green = builder.material(("leaves",), colour=_green(builder), period=1.0)
    for _ in range(int(builder.rng.integers(1, 5))):
        offset = builder.rng.normal(0, 0.1, 3) * height
        size = builder.rng.uniform(0.12, 0.28, 3) * height
        builder.add("ball", place(top, 0, offset), size.tolist(), green)


def person(builder: SceneBuilder, centre: Vector, yaw: float, speed: float = 0.0) -> None:
    """Add a standing figure of cylinders and balls, walking along its yaw at some metres per second."""
    tall = builder.uniform(1.5, 1.9)
    cloth, legs, skin = builder.material(CLOTH), builder.material(("plain",)), (0.5, 0.32, 0.22)
    face = builder.material(("plain",), colour=[c * builder.uniform(0.3, 1.3) for c in skin])
    velocity = (speed * math.cos(yaw), speed * math.sin(yaw), 0.0)
    for side in (-1, 1):
        leg = place(centre, yaw, (side * 0.06, side * 0.09, tall * 0.24))
        builder.add("cylinder", leg, (0.07, 0.07, tall * 0.24), legs, velocity=velocity)
        arm = place(centre, yaw, (-side * 0.05, side * 0.23, tall * 0.62))
        builder.add("cylinder", arm, (0.045, 0.045, tall * 0.18), cloth, velocity=velocity)
    builder.add(
        "ball", place(centre, yaw, (0, 0, tall * 0.65)), (0.14, 0.2, tall * 0.2), cloth, velocity=velocity
    )
    builder.add("ball", place(centre, yaw, (0, 0, tall * 0.93)), (0.1, 0.09, 0.12), face, velocity=velocity)


def car(builder: SceneBuilder, centre: Vector, yaw: float, speed: float = 0.0) -> None:
    """Add a car along its yaw: body, cabin, slanted windscreen and wheels."""
    length, width, height = builder.uniform(1.8, 2.4), builder.uniform(0.8, 0.95), builder.uniform(1.3, 1.9)
    velocity = (speed * math.cos(yaw), speed * math.sin(yaw), 0.0)
    paint = builder.material(("plain",))
    glass, rubber = builder.material(("plain",), colour=(0.03, 0.04, 0.05)), builder.material(("plain",))
    body = (length, width, height * 0.24)
    builder.add("box", place(centre, yaw, (0, 0, height * 0.42)), body, paint, yaw=yaw, velocity=velocity)
    cabin, rise = length * builder.uniform(0.3, 0.5), height * 0.18
    roof = place(centre, yaw, (-0.1 * length, 0, height * 0.66 + rise))
    builder.add("box", roof, (cabin, width * 0.88, rise), paint, yaw=yaw, velocity=velocity)
    for sign, turn in ((1, 0.0), (-1, math.pi)):
        at = place(centre, yaw, (-0.1 * length + sign * (cabin + 0.25), 0, height * 0.66 + rise))
        builder.add("ramp", at, (0.25, width * 0.86, rise), glass, yaw=yaw + turn, velocity=velocity)
    upright = about_z(yaw) @ np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])
    for x in (-0.62, 0.62):
        for side in (-1, 1):
            at = place(centre, yaw, (x * length, side * width * 0.9, 0.32))
            builder.add("cylinder", at, (0.32, 0.32, 0.12), rubber, rotation=upright, velocity=velocity)


def _green(builder: SceneBuilder) -> list[float]:
    return [builder.uniform(0.03, 0.3), builder.uniform(0.12, 0.4), builder.uniform(0.02, 0.12)]
