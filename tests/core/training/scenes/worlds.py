"""Hand-made worlds of a few solids, whose pictures follow from algebra."""

from __future__ import annotations

import numpy as np
import torch

from lotus_core.geometry.camera import Camera
from lotus_core.training.scenes import Light, Room, Scene, Sky
from lotus_core.training.scenes.builder import SceneBuilder
from lotus_core.training.scenes.viewpoints import look_at, make_camera


def builder(seed: int = 0) -> SceneBuilder:
    """Return a builder with a fixed generator."""
    return SceneBuilder(np.random.default_rng(seed), "test", seed)


def white_sky(haze_distance: float = float("inf")) -> Sky:
    """Return an even sky without clouds; haze where asked for."""
    one = torch.ones(3)
    return Sky(one, one, 0.0, 0.0, 0.3 * one, 0.3 * one, haze_distance)


def world(
    made: SceneBuilder, *, room: Room | None = None, ground: int | None = None, lights: tuple[Light, ...] = ()
) -> Scene:
    """Return the scene of what a builder holds."""
    return made.build(lights=lights, sky=white_sky(), room=room, ground=ground)


def empty_room(made: SceneBuilder, windows: list[list[float]] | None = None) -> Room:
    """Return a room of 4 x 6 x 3 metres, x from -2 to 2, y from 0 to 6, z from 0 to 3."""
    material = made.material(("plain",))
    return Room(
        torch.tensor([-2.0, 0.0, 0.0]),
        torch.tensor([2.0, 6.0, 3.0]),
        torch.full((6,), material),
        torch.tensor(windows or [], dtype=torch.float32).reshape(-1, 5),
    )


def along_y(height: int = 33, width: int = 65, eye: tuple[float, float, float] = (0.0, 0.0, 1.0)) -> Camera:
    """Return a level camera that looks along the world's +y with 90 degrees across; odd sizes have a middle pixel."""
    return make_camera(look_at(eye, (eye[0], eye[1] + 1.0, eye[2])), 90.0, height, width)
