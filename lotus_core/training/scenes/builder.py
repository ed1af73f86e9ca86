"""Collects solids and materials while a layout composes a scene."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from .scene import Light, Materials, Optics, Room, Scene, Sky
from .solids import KINDS, SolidKind, Solids
from .textures import PATTERNS

Vector = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class Viewpoints:
    """Where cameras of a scene may stand and look.

    Attributes:
        eye: Lower and upper corner of the box that the camera stands in, world metres.
        target: Lower and upper corner of the box that it looks at.
        nearest: Metres that must be free in front of the camera.
        roll_deg: Standard deviation of the roll in degrees.
    """

    eye: tuple[Vector, Vector]
    target: tuple[Vector, Vector]
    nearest: float = 0.3
    roll_deg: float = 3.0


@dataclass
class SceneBuilder:
    """A scene in the making; a layout draws from its generator and adds to it.

    Attributes:
        rng: Source of all randomness of the scene.
        layout: Name of the layout.
        seed: That the generator was made from.
    """

    rng: Generator
    layout: str
    seed: int
    _solids: list[tuple[int, Vector, np.ndarray, list[float], int, Vector, float]] = field(
        default_factory=list
    )
    _materials: list[tuple[Vector, Vector, int, float, float, float, float, float]] = field(
        default_factory=list
    )

    def uniform(self, low: float, high: float) -> float:
        """Return a number drawn evenly from a range."""
        return float(self.rng.uniform(low, high))

    def chance(self, probability: float) -> bool:
        """Return True with a probability."""
        return bool(self.rng.random() < probability)

    def material(
        self,
        patterns: Sequence[str] = PATTERNS,
        *,
        colour: Vector | None = None,
        period: float | None = None,
        turned: bool = False,
        emission: float = 0.0,
    ) -> int:
        """Add a random material and return its index.

        Args:
            patterns: Patterns to choose from; without a choice, half of the materials are plain.
            colour: Linear reflectance, or None for a random one.
            period: Metres of one tile, or None for a random one.
            turned: Whether the pattern may be rotated by any angle, rather than by quarter turns.
            emission: Light that the surface gives by itself.
        """
        free_choice = patterns is PATTERNS
        name = "plain" if free_choice and self.chance(0.35) else str(self.rng.choice(list(patterns)))
        first = np.asarray(self.colour() if colour is None else colour)
        contrast = self.uniform(0.05, 0.5) if self.chance(0.6) else 1.0
        second = first + (np.asarray(self.colour()) - first) * contrast
        tile = self.uniform(0.0, 1.0) ** 2 * 2.5 + 0.15 if period is None else period
        angle = self.uniform(0, 2 * math.pi) if turned else float(self.rng.integers(4)) * math.pi / 2
        gloss = self.uniform(0.1, 0.8) if self.chance(0.3) else 0.0
        row = (first.tolist(), second.tolist(), PATTERNS.index(name), tile, angle, gloss)
        self._materials.append((*row, 10 ** self.uniform(0.7, 2.2), emission))
        return len(self._materials) - 1

    def colour(self) -> list[float]:
        """Return a random linear reflectance: greys and pale colours often, strong ones now and then."""
        hue, value = self.uniform(0, 1), self.uniform(0.05, 0.95) ** 1.5
        saturation = self.uniform(0, 1) ** (1 if self.chance(0.35) else 3)
        ramp = np.clip(np.abs((hue * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1)
        return (value * (1 - saturation * (1 - ramp))).tolist()

    def add(
        self,
        kind: SolidKind,
        centre: Vector,
        half_size: Vector,
        material: int,
        *,
        yaw: float = 0.0,
        rotation: np.ndarray | None = None,
        velocity: Vector = (0.0, 0.0, 0.0),
        spin: float = 0.0,
    ) -> None:
        """Add a solid: centre and half sizes in metres, turned by ``yaw`` radians or by a rotation matrix."""
        matrix = about_z(yaw) if rotation is None else rotation
        half = [max(float(size), 1e-3) for size in half_size]
        self._solids.append((KINDS.index(kind), centre, matrix, half, material, velocity, spin))

    def pole(self, start: Vector, end: Vector, radius: float, material: int) -> None:
        """Add a cylinder between two points: a leg, a cable, a branch."""
        a, b = np.asarray(start, float), np.asarray(end, float)
        length = float(np.linalg.norm(b - a))
        rotation = frame_along((b - a) / max(length, 1e-6))
        self.add(
            "cylinder", ((a + b) / 2).tolist(), (radius, radius, length / 2), material, rotation=rotation
        )

    def build(
        self, *, lights: tuple[Light, ...], sky: Sky, room: Room | None = None, ground: int | None = None
    ) -> Scene:
        """Return the finished scene."""
        if not self._solids:  # an empty packed table has no dtype or shape: hide a speck far below
            self.add("ball", (0.0, 0.0, -1e3), (1e-3,) * 3, self.material())
        rows = sorted(self._solids, key=lambda row: row[0])
        kind, centre, rotation, half, material, velocity, spin = zip(*rows, strict=True)
        solids = Solids(
            kind=torch.tensor(kind),
            centre=_table(centre),
            rotation=_table(rotation),
            half_size=_table(half),
            material=torch.tensor(material),
            velocity=_table(velocity),
            spin=_table(spin),
        )
        first, second, pattern, *rest = zip(*self._materials, strict=True)
        materials = Materials(
            _table(first), _table(second), torch.tensor(pattern), *[_table(c) for c in rest]
        )
        far = float(10 ** self.rng.uniform(2.0, 2.7))
        return Scene(solids, materials, room, ground, lights, sky, self.optics(), far, self.layout, self.seed)

    def optics(self) -> Optics:
        """Return a random camera response."""
        return Optics(
            exposure=self.uniform(0.2, 0.7),
            white_balance=torch.tensor([self.uniform(0.85, 1.15), 1.0, self.uniform(0.8, 1.2)]),
            contrast=self.uniform(0.85, 1.3),
            noise=self.uniform(0.0, 0.025) ** 2 / 0.025,
            vignette=self.uniform(0.0, 0.4) if self.chance(0.4) else 0.0,
        )


def about_z(angle: float) -> np.ndarray:
    """Return the (3, 3) rotation about +z by an angle in radians."""
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def frame_along(axis: np.ndarray) -> np.ndarray:
    """Return a (3, 3) rotation whose third column is a unit axis."""
    other = np.eye(3)[int(np.abs(axis).argmin())]
    first = np.cross(other, axis)
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(axis, first), axis], axis=1)


def random_rotation(rng: Generator) -> np.ndarray:
    """Return a (3, 3) rotation drawn evenly from all."""
    w, x, y, z = (v := rng.normal(size=4)) / np.linalg.norm(v)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _table(rows: Sequence[object]) -> Tensor:
    return torch.from_numpy(np.asarray(rows, dtype=np.float32))
