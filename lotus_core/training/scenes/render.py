"""Renders a scene: picture, exact z-depth, normals and masks."""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import OptionError
from ...geometry.camera import Camera, pixel_rays
from .scene import Frame, Scene
from .shading import expose, shade
from .tracing import MISSED, Hits, Pairs, trace


def render(
    scene: Scene, camera: Camera, *, colour: bool = True, supersample: int = 1, gain: float | None = None
) -> Frame:
    """Return what a camera sees of a scene.

    Depth, normals and masks are exact at the pixels' centres, also when the picture is supersampled.

    Args:
        scene: The world.
        camera: Where it is seen from, and at which size.
        colour: False leaves the picture black and saves its time.
        supersample: The picture is averaged over this many rays squared in each pixel, 1 to 4.
        gain: Exposure of an earlier frame of the same clip, or None to expose this one.

    Returns:
        The frame.

    Raises:
        OptionError: A supersampling factor outside 1 to 4.
    """
    if supersample not in (1, 2, 3, 4):
        raise OptionError("supersample", supersample, "1, 2, 3 or 4")
    height, width = camera.height, camera.width
    origin = camera.world_from_camera[:3, 3]
    rotation = camera.world_from_camera[:3, :3]
    rays = pixel_rays(camera.intrinsics[None], height, width)[0].reshape(-1, 3)
    directions = rays @ rotation.T
    hits = _trace_pixels(scene, camera, origin, directions, 1)
    distance = torch.where(hits.distance > scene.far, float("inf"), hits.distance)
    surface = torch.where(distance.isinf(), MISSED, hits.surface)
    valid = surface != MISSED
    normals = (hits.normal @ rotation) * valid[:, None]
    # A normal on a silhouette may turn away by rounding: the ray met the surface, so it faces it.
    normals = torch.where(((normals * rays).sum(-1) > 0)[:, None], -normals, normals)
    rgb, used = torch.zeros(height, width, 3), 1.0
    if colour:
        light = _light(scene, camera, origin, directions, hits, supersample)
        noise = torch.Generator().manual_seed(scene.seed % 2**31 + 7)
        rgb, used = expose(light, scene.optics, gain, noise)
    shape = (height, width)
    return Frame(
        rgb=rgb,
        depth=distance.view(shape),
        normals=normals.view(*shape, 3),
        valid=valid.view(shape),
        sky=~valid.view(shape),
        surface=surface.view(shape),
        camera=camera,
        gain=used,
    )


def _light(
    scene: Scene, camera: Camera, origin: Tensor, directions: Tensor, hits: Hits, supersample: int
) -> Tensor:
    """Return linear light, (H, W, 3)."""
    height, width = camera.height, camera.width
    pixel_angle = 1.0 / float(camera.intrinsics[0, 0]) / supersample
    if supersample == 1:
        return shade(scene, origin, directions, hits, pixel_angle).view(height, width, 3)
    fine = camera.intrinsics.clone()
    fine[:2] *= supersample
    rays = pixel_rays(fine[None], height * supersample, width * supersample)[0].reshape(-1, 3)
    directions = rays @ camera.world_from_camera[:3, :3].T
    hits = _trace_pixels(scene, camera, origin, directions, supersample)
    light = shade(scene, origin, directions, hits, pixel_angle)
    return light.view(height, supersample, width, supersample, 3).mean((1, 3))


def _trace_pixels(scene: Scene, camera: Camera, origin: Tensor, directions: Tensor, factor: int) -> Hits:
    return trace(scene, origin, directions, _candidates(scene, camera, factor))


def _candidates(scene: Scene, camera: Camera, factor: int) -> Pairs:
    """Return the pixels inside each solid's projected bounding rectangle."""
    size = torch.tensor([camera.width, camera.height]) * factor
    in_camera = (scene.solids.corners() - camera.world_from_camera[:3, 3]) @ camera.world_from_camera[:3, :3]
    depth = in_camera[..., 2]
    pixels = (in_camera @ camera.intrinsics.T)[..., :2] / depth.clamp_min(1e-6)[..., None] * factor
    # Where the outline passes the camera plane there is no finite rectangle: take the whole picture.
    around = (depth <= 0.01).any(-1)[:, None]
    low = torch.where(around, 0.0, pixels.amin(1)).clamp_min(0.0).minimum(size).floor().long()  # (N, 2)
    high = torch.where(around, size, pixels.amax(1)).clamp_min(0.0).minimum(size).ceil().long()
    extent = (high - low).masked_fill((depth <= 0.01).all(-1)[:, None], 0)
    count = extent.prod(-1)
    solid = torch.repeat_interleave(torch.arange(len(scene.solids)), count)
    nth = torch.arange(solid.shape[0]) - torch.repeat_interleave(count.cumsum(0) - count, count)
    across = extent[solid, 0]
    down = torch.div(nth, across, rounding_mode="floor")
    ray = (low[solid, 1] + down) * int(size[0]) + low[solid, 0] + nth - down * across
    return Pairs(ray, solid)
