"""Random scenes by seed: one picture, several views, or a clip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...errors import OptionError
from ...geometry.camera import Camera
from .builder import SceneBuilder, Viewpoints
from .layouts import LAYOUTS
from .render import render
from .scene import Frame, Scene
from .viewpoints import FOV_X_DEG, dolly, orbit, sample_camera

LAYOUT_SHARES = {"room": 0.36, "tabletop": 0.16, "street": 0.18, "landscape": 0.12, "clutter": 0.18}
"""How often each layout is drawn where none is asked for."""


def sample_scene(seed: int, *, layout: str | None = None) -> tuple[Scene, Viewpoints]:
    """Return the scene of a seed and where its cameras may stand.

    Args:
        seed: Any integer of at least 0; the same seed gives the same scene.
        layout: Name of a layout, or None to draw one.

    Raises:
        OptionError: No such layout, or a negative seed.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise OptionError("seed", seed, "an integer of at least 0")
    rng = np.random.default_rng([seed, 1])
    if layout is None:
        layout = str(rng.choice(list(LAYOUT_SHARES), p=list(LAYOUT_SHARES.values())))
    if layout not in LAYOUTS:
        raise OptionError("layout", layout, f"one of {', '.join(LAYOUTS)}")
    return LAYOUTS[layout](SceneBuilder(rng, layout, seed))


def sample_view(
    seed: int,
    *,
    layout: str | None = None,
    height: int,
    width: int,
    fov_x_deg: tuple[float, float] = FOV_X_DEG,
) -> tuple[Scene, Camera]:
    """Return the scene of a seed and one random camera in it.

    Args:
        seed: As `sample_scene`.
        layout: As `sample_scene`.
        height: Pixels down.
        width: Pixels across.
        fov_x_deg: Range of the horizontal field of view in degrees.
    """
    scene, views = sample_scene(seed, layout=layout)
    camera = sample_camera(scene, views, np.random.default_rng([seed, 2]), height, width, fov_x_deg)
    return scene, camera


def sample_frame(
    seed: int,
    *,
    layout: str | None = None,
    height: int,
    width: int,
    supersample: int = 1,
    colour: bool = True,
) -> Frame:
    """Return one rendered picture of the scene of a seed; arguments as `sample_view` and `render`."""
    scene, camera = sample_view(seed, layout=layout, height=height, width=width)
    return render(scene, camera, colour=colour, supersample=supersample)


def sample_views(
    seed: int, count: int, *, layout: str | None = None, height: int, width: int, arc_deg: float = 50.0
) -> tuple[Scene, list[Camera]]:
    """Return the scene of a seed and several cameras around one target, for multi-view geometry.

    Args:
        seed: As `sample_scene`.
        count: Number of cameras.
        layout: As `sample_scene`.
        height: Pixels down.
        width: Pixels across.
        arc_deg: Angle between the first and the last camera, seen from the target.
    """
    scene, views = sample_scene(seed, layout=layout)
    rng = np.random.default_rng([seed, 3])
    return scene, orbit(scene, views, rng, count, height, width, arc_deg=arc_deg)


def sample_clip(
    seed: int,
    frames: int,
    *,
    layout: str | None = None,
    height: int,
    width: int,
    frames_per_second: float = 24.0,
    moving_camera: bool = True,
    moving_solids: bool = True,
    colour: bool = True,
) -> list[Frame]:
    """Return the frames of a clip: a moving camera among moving solids, under one exposure.

    Args:
        seed: As `sample_scene`.
        frames: Number of frames.
        layout: As `sample_scene`.
        height: Pixels down.
        width: Pixels across.
        frames_per_second: Of the clip.
        moving_camera: Whether the camera moves.
        moving_solids: Whether some loose solids drift and turn, besides cars and people.
        colour: As `render`.
    """
    scene, camera = sample_view(seed, layout=layout, height=height, width=width)
    rng = np.random.default_rng([seed, 4])
    if moving_solids:
        scene = _set_moving(scene, rng)
    cameras = dolly(camera, rng, frames, frames_per_second) if moving_camera else [camera] * frames
    out: list[Frame] = []
    for index, place in enumerate(cameras):
        gain = out[0].gain if out else None
        out.append(render(scene.at_time(index / frames_per_second), place, colour=colour, gain=gain))
    return out


def _set_moving(scene: Scene, rng: np.random.Generator) -> Scene:
    """Give a fifth of the small solids a velocity and a spin."""
    solids = scene.solids
    small = solids.half_size.amax(-1) < 0.6
    chosen = small & (solids.velocity.norm(dim=-1) == 0)
    chosen &= small.new_tensor(rng.random(len(solids)) < 0.2)
    drift = solids.velocity.new_tensor(rng.normal(0, [0.4, 0.4, 0.05], (len(solids), 3)))
    turn = solids.spin.new_tensor(rng.normal(0, 0.8, len(solids)))
    velocity = solids.velocity + drift * chosen[:, None]
    return replace(scene, solids=replace(solids, velocity=velocity, spin=solids.spin + turn * chosen))
