"""Random lights and skies."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from .builder import SceneBuilder
from .scene import Light, Sky


def warm_to_cool(temperature: float) -> list[float]:
    """Return a linear light colour from warm (0) to cool (1), brightest channel 1."""
    rgb = np.array([1.0 - 0.35 * temperature, 0.82 - 0.02 * temperature, 0.55 + 0.45 * temperature])
    return (rgb / rgb.max()).tolist()


def outdoor_light(builder: SceneBuilder, *, haze: bool = True) -> tuple[tuple[Light, ...], Sky]:
    """Return a random sun (or none, under an overcast sky) and sky."""
    overcast = builder.chance(0.25)
    dusk = builder.chance(0.15)
    bright = builder.uniform(0.6, 1.2) * (0.3 if dusk else 1.0)
    blue = 0.1 if overcast else builder.uniform(0.3, 0.8)
    zenith = np.array([1 - blue, 1 - 0.6 * blue, 1.0]) * bright
    horizon = np.array([1.0, 0.75, 0.55] if dusk else [1 - 0.3 * blue, 1 - 0.2 * blue, 1.0])
    horizon = horizon * bright * builder.uniform(0.9, 1.3)
    ambient = (zenith + horizon) / 2 * builder.uniform(0.35, 0.8) * (1.6 if overcast else 1.0)
    lights: tuple[Light, ...] = ()
    if not overcast:
        elevation = math.radians(builder.uniform(4, 18) if dusk else builder.uniform(18, 80))
        azimuth = builder.uniform(0, 2 * math.pi)
        towards = [math.cos(elevation) * math.cos(azimuth), math.cos(elevation) * math.sin(azimuth)]
        colour = np.array(warm_to_cool(0.0 if dusk else builder.uniform(0.2, 0.8))) * builder.uniform(
            1.0, 3.0
        )
        lights = (Light(torch.tensor([*towards, math.sin(elevation)]), _colour(colour), is_sun=True),)
    sky = Sky(
        horizon=_colour(horizon),
        zenith=_colour(zenith),
        clouds=0.0 if builder.chance(0.35) else builder.uniform(0.2, 0.8),
        cloud_angle=builder.uniform(0, 6.3),
        ambient_up=_colour(ambient),
        ambient_down=_colour(ambient * builder.uniform(0.2, 0.6)),
        haze_distance=10 ** builder.uniform(1.8, 3.2) if haze and builder.chance(0.7) else math.inf,
    )
    return lights, sky


def indoor_light(
    builder: SceneBuilder, lower: Sequence[float], upper: Sequence[float], *, sunlit: bool
) -> tuple[tuple[Light, ...], Sky]:
    """Return random lamps below a ceiling (and the sun, behind a window) with an outdoor sky.

    Args:
        builder: Of the scene.
        lower: Corner of the space that is lit, world metres.
        upper: The opposite corner.
        sunlit: Whether a sun may shine in.
    """
    outside, sky = outdoor_light(builder, haze=False)
    lights: list[Light] = list(outside) if sunlit else []
    level = builder.uniform(0.25, 0.8)
    for _ in range(1 if lights or builder.chance(0.6) else 2):
        inset = builder.uniform(0.1, 0.45)
        low = [a + (b - a) * inset for a, b in zip(lower, upper, strict=True)]
        high = [b - (b - a) * inset for a, b in zip(lower, upper, strict=True)]
        place = [builder.uniform(low[0], high[0]), builder.uniform(low[1], high[1])]
        height = builder.uniform(0.55, 0.95) * (upper[2] - lower[2]) + lower[2]
        reach = (upper[0] - lower[0]) * (upper[1] - lower[1]) / 8 + 0.3
        colour = np.array(warm_to_cool(builder.uniform(0, 1))) * reach * builder.uniform(0.3, 1.6)
        lights.append(Light(torch.tensor([*place, height]), _colour(colour), is_sun=False))
    ambient = np.array(warm_to_cool(builder.uniform(0.2, 0.9))) * level
    indoor = Sky(
        horizon=sky.horizon,
        zenith=sky.zenith,
        clouds=sky.clouds,
        cloud_angle=sky.cloud_angle,
        ambient_up=_colour(ambient),
        ambient_down=_colour(ambient * builder.uniform(0.5, 1.1)),
        haze_distance=math.inf,
    )
    return tuple(lights[:2]), indoor


def _colour(rgb: np.ndarray) -> torch.Tensor:
    return torch.tensor(rgb, dtype=torch.float32)
