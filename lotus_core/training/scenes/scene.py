"""What a scene is, and what a rendered frame holds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...geometry.camera import Camera
from .solids import Solids


@dataclass(frozen=True)
class Materials:
    """K surface materials.

    Attributes:
        colour_a: (K, 3) float32, linear reflectance in [0, 1] where the pattern is 0.
        colour_b: (K, 3) float32, likewise where the pattern is 1.
        pattern: (K,) int64, layer of the texture atlas.
        period: (K,) float32, metres that one tile of the atlas covers.
        angle: (K,) float32, rotation of the pattern in radians.
        gloss: (K,) float32, strength of the highlight, [0, 1].
        sharpness: (K,) float32, exponent of the highlight.
        emission: (K,) float32, light that the surface gives by itself, as a multiple of its colour.
    """

    colour_a: Tensor
    colour_b: Tensor
    pattern: Tensor
    period: Tensor
    angle: Tensor
    gloss: Tensor
    sharpness: Tensor
    emission: Tensor


@dataclass(frozen=True)
class Room:
    """A box seen from inside.

    Attributes:
        lower: (3,) float32, corner with the smallest world coordinates, metres.
        upper: (3,) float32, the opposite corner.
        material: (6,) int64, of the faces -x, +x, -y, +y, floor, ceiling.
        windows: (W, 5) float32 rectangles through which the sky is seen: face index, then the lower and upper
            bounds (a0, b0, a1, b1) along the face's two axes in ascending order, world metres.
    """

    lower: Tensor
    upper: Tensor
    material: Tensor
    windows: Tensor


@dataclass(frozen=True)
class Light:
    """One light that casts shadows.

    Attributes:
        position: (3,) float32; for a lamp its place in the world in metres, for the sun the unit direction
            towards it.
        colour: (3,) float32, linear; for a lamp at one metre's distance.
        is_sun: Whether the rays are parallel.
    """

    position: Tensor
    colour: Tensor
    is_sun: bool


@dataclass(frozen=True)
class Sky:
    """What is seen where nothing is hit, and the light that comes from everywhere.

    Attributes:
        horizon: (3,) float32, linear colour at the horizon, also of the haze.
        zenith: (3,) float32, linear colour overhead.
        clouds: Share of cloud, [0, 1].
        cloud_angle: Radians by which the clouds are turned.
        ambient_up: (3,) float32, linear light that reaches surfaces facing up.
        ambient_down: (3,) float32, likewise facing down.
        haze_distance: Metres after which 63 % of the light is haze; infinite indoors.
    """

    horizon: Tensor
    zenith: Tensor
    clouds: float
    cloud_angle: float
    ambient_up: Tensor
    ambient_down: Tensor
    haze_distance: float


@dataclass(frozen=True)
class Optics:
    """How the camera turns light into a picture.

    Attributes:
        exposure: Mean of the picture after exposure, before the tone curve, about 0.2 to 0.7.
        white_balance: (3,) float32 gains.
        contrast: Exponent of the tone curve around 1.
        noise: Standard deviation of the sensor's noise in sRGB units.
        vignette: Share of the light lost in the corners.
    """

    exposure: float
    white_balance: Tensor
    contrast: float
    noise: float
    vignette: float


@dataclass(frozen=True)
class Scene:
    """A world that can be rendered from any camera.

    Attributes:
        solids: Convex bodies.
        materials: Their surfaces.
        room: Walls around everything, or None outdoors.
        ground: Material of the infinite plane z = 0, or None without one.
        lights: Those that cast shadows.
        sky: Background and ambient light.
        optics: Of the camera.
        far: z-depth in metres beyond which everything counts as sky.
        layout: Name of the layout that made it.
        seed: That made it.
    """

    solids: Solids
    materials: Materials
    room: Room | None
    ground: int | None
    lights: tuple[Light, ...]
    sky: Sky
    optics: Optics
    far: float
    layout: str
    seed: int

    def at_time(self, seconds: float) -> Scene:
        """Return the scene with its moving solids where they are after some seconds."""
        turn = self.solids.spin * seconds
        zero, one = torch.zeros_like(turn), torch.ones_like(turn)
        cos, sin = turn.cos(), turn.sin()
        about_z = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=-1).unflatten(
            -1, (3, 3)
        )
        moved = replace(
            self.solids,
            centre=self.solids.centre + self.solids.velocity * seconds,
            rotation=about_z @ self.solids.rotation,
        )
        return replace(self, solids=moved)


@dataclass(frozen=True)
class Frame:
    """One rendered picture with its exact geometry.

    Attributes:
        rgb: (H, W, 3) float32, sRGB in [0, 1].
        depth: (H, W) float32, z-depth in metres at the pixel's centre; infinite in the sky.
        normals: (H, W, 3) float32 unit vectors in the OpenCV camera frame, facing the camera (n . ray < 0);
            zero in the sky.
        valid: (H, W) bool, where a surface is seen.
        sky: (H, W) bool, where none is.
        surface: (H, W) int64, which one: row of the scene's solids, then the six faces of the room, then the
            ground; -1 in the sky.
        camera: Intrinsics and pose.
        gain: Exposure gain that was applied; pass it to the next frame of a clip to avoid flicker.
    """

    rgb: Tensor
    depth: Tensor
    normals: Tensor
    valid: Tensor
    sky: Tensor
    surface: Tensor
    camera: Camera
    gain: float
