"""From hits to light, and from light to an sRGB picture."""

from __future__ import annotations

import torch
from torch import Tensor

from .scene import Light, Materials, Optics, Scene, Sky
from .textures import PATTERNS, sample
from .tracing import MISSED, Hits, lit


def shade(scene: Scene, origin: Tensor, directions: Tensor, hits: Hits, pixel_angle: float) -> Tensor:
    """Return the linear light that comes along each ray.

    Args:
        scene: The world.
        origin: (3,) float32, world.
        directions: (M, 3) float32, world, any length.
        hits: What the rays met.
        pixel_angle: Radians that one pixel spans, for the textures' prefilter.

    Returns:
        (M, 3) float32, linear, not negative.
    """
    unit = directions / directions.norm(dim=-1, keepdim=True)
    background = sky_colour(scene.sky, unit)
    away = (hits.point - origin).norm(dim=-1)
    facing = (hits.normal * unit).sum(-1).abs().clamp_min(0.1)
    albedo = _albedo(scene.materials, hits, away * pixel_angle / facing)
    light = _ambient(scene, hits) + scene.materials.emission[hits.material][:, None]
    glare = torch.zeros_like(albedo)
    for source in scene.lights:
        diffuse, highlight = _lighting(scene, source, hits, unit)
        light, glare = light + diffuse, glare + highlight
    colour = albedo * light + glare
    if scene.sky.haze_distance != float("inf"):
        haze = 1.0 - torch.exp(-away / scene.sky.haze_distance)
        colour = torch.lerp(colour, scene.sky.horizon.expand_as(colour), haze[:, None])
    return torch.where((hits.surface == MISSED)[:, None], background, colour)


def sky_colour(sky: Sky, unit: Tensor) -> Tensor:
    """Return the linear colour of the sky along unit directions, (M, 3) float32."""
    height = unit[:, 2].clamp(0.0, 1.0)
    colour = torch.lerp(sky.horizon.expand_as(unit), sky.zenith.expand_as(unit), height.sqrt()[:, None])
    if sky.clouds <= 0:
        return colour
    turn = torch.tensor(sky.cloud_angle)
    flat = unit[:, :2] / (height + 0.15)[:, None] * 0.12
    u = flat[:, 0] * turn.cos() - flat[:, 1] * turn.sin()
    v = flat[:, 0] * turn.sin() + flat[:, 1] * turn.cos()
    layer = torch.full(u.shape, PATTERNS.index("clouds"))
    density = sample(layer, torch.stack([u, v], dim=-1), torch.full_like(u, 1e-3))
    cover = ((density - 1.0 + sky.clouds) * 3.0).clamp(0.0, 1.0) * (height * 6).clamp_max(1.0)
    white = (sky.horizon.max() * 1.1).expand_as(unit)
    return torch.lerp(colour, white, cover[:, None])


def expose(
    linear: Tensor, optics: Optics, gain: float | None, generator: torch.Generator
) -> tuple[Tensor, float]:
    """Return an sRGB picture of linear light, and the gain that was used.

    Args:
        linear: (H, W, 3) float32, not negative.
        optics: Of the camera.
        gain: Exposure gain, or None to choose it from the picture's mean.
        generator: Of the sensor's noise.

    Returns:
        (H, W, 3) float32 in [0, 1], and the gain.
    """
    height, width = linear.shape[:2]
    if gain is None:
        gain = optics.exposure / max(float(linear.clamp_max(4 * float(linear.mean()) + 1e-6).mean()), 1e-6)
    y = torch.linspace(-1, 1, height)[:, None]
    x = torch.linspace(-1, 1, width)[None]
    corner = 1.0 - optics.vignette * (x.square() + y.square()) / 2
    light = linear * (gain * optics.white_balance) * corner[..., None]
    # A shoulder keeps bright sky and lamps from clipping hard: slope 1 at black, 1 in the limit.
    toned = light * (1.0 + light / 9.0) / (1.0 + light)
    srgb = toned.clamp(1e-6, 1.0).pow(optics.contrast / 2.2)
    noise = torch.randn(linear.shape, generator=generator) * optics.noise
    return (srgb + noise).clamp_(0.0, 1.0), gain


def _albedo(materials: Materials, hits: Hits, footprint: Tensor) -> Tensor:
    index = hits.material
    angle, period = materials.angle[index], materials.period[index]
    cos, sin = angle.cos(), angle.sin()
    u, v = hits.uv.unbind(-1)
    uv = torch.stack([u * cos - v * sin, u * sin + v * cos], dim=-1) / period[:, None]
    mix = sample(materials.pattern[index], uv, footprint / period)
    return torch.lerp(materials.colour_a[index], materials.colour_b[index], mix[:, None])


def _ambient(scene: Scene, hits: Hits) -> Tensor:
    up = (hits.normal[:, 2:3] + 1.0) / 2.0
    light = torch.lerp(
        scene.sky.ambient_down.expand_as(hits.normal), scene.sky.ambient_up.expand_as(hits.normal), up
    )
    if scene.room is not None:
        # Corners of a room see less of it: darken towards every wall but the own one.
        gap = torch.cat([hits.point - scene.room.lower, scene.room.upper - hits.point], dim=-1).clamp_min(0.0)
        own = gap < 1e-3
        light = light * (1.0 - 0.45 * torch.exp(-gap / 0.35).masked_fill(own, 0.0)).prod(-1, keepdim=True)
    elif scene.ground is not None:
        low = torch.exp(-hits.point[:, 2].clamp_min(0.0) / 0.3) * (hits.normal[:, 2] < 0.9)
        light = light * (1.0 - 0.4 * low)[:, None]
    return light


def _lighting(scene: Scene, light: Light, hits: Hits, unit: Tensor) -> tuple[Tensor, Tensor]:
    """Return the diffuse light and the highlight of one source, each (M, 3)."""
    if light.is_sun:
        towards = light.position.expand_as(hits.point)
        strength = torch.ones(hits.point.shape[0])
    else:
        gap = light.position - hits.point
        distance = gap.norm(dim=-1).clamp_min(1e-3)
        towards, strength = gap / distance[:, None], 1.0 / distance.square().clamp_min(0.05)
    cosine = (hits.normal * towards).sum(-1).clamp_min(0.0)
    lit_side = (cosine > 0).nonzero()[:, 0]
    reached = lit(scene, light, hits.point[lit_side], hits.surface[lit_side])
    strength = strength * torch.zeros_like(strength).index_copy_(0, lit_side, reached.float())
    half = towards - unit
    half = half / half.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    gloss, power = scene.materials.gloss[hits.material], scene.materials.sharpness[hits.material]
    peak = (half * hits.normal).sum(-1).clamp_min(1e-6).pow(power) * gloss * (cosine > 0)
    return (cosine * strength)[:, None] * light.colour, (peak * strength)[:, None] * light.colour
