"""Which surface a ray meets first, and whether a light reaches a point."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .scene import Light, Room, Scene
from .solids import Solids, local_normal, path_inside

MISSED = -1
NEAREST_HIT = 1e-4


@dataclass(frozen=True)
class Hits:
    """The first surface along each of M rays.

    Attributes:
        distance: (M,) float32, in units of the ray's direction; infinite where nothing is hit.
        surface: (M,) int64, as `Frame.surface`.
        point: (M, 3) float32, world, metres; zero where nothing is hit.
        normal: (M, 3) float32 unit vectors, world, against the ray; zero where nothing is hit.
        uv: (M, 2) float32, metres along the surface, for its texture.
        material: (M,) int64; 0 where nothing is hit.
    """

    distance: Tensor
    surface: Tensor
    point: Tensor
    normal: Tensor
    uv: Tensor
    material: Tensor


@dataclass(frozen=True)
class Pairs:
    """Which rays may meet which solids.

    Attributes:
        ray: (P,) int64.
        solid: (P,) int64, ascending, so that solids of one kind lie together.
    """

    ray: Tensor
    solid: Tensor

    def of(self, rows: slice) -> Pairs:
        """Return the pairs of a range of solids."""
        start, stop = torch.searchsorted(
            self.solid.contiguous(), torch.tensor([rows.start, rows.stop])
        ).tolist()
        return Pairs(self.ray[start:stop], self.solid[start:stop])


def trace(scene: Scene, origin: Tensor, directions: Tensor, candidates: Pairs) -> Hits:
    """Return the first hits of rays from one point.

    Args:
        scene: The world.
        origin: (3,) float32, world.
        directions: (M, 3) float32, world, any length.
        candidates: Which solids a ray may meet; others are not tried.

    Returns:
        The hits.
    """
    rays = directions.shape[0]
    distance, surface = _nearest_solid(scene.solids, origin, directions, candidates)
    count = len(scene.solids)
    if scene.room is not None:
        wall_distance, face = _room_exit(scene.room, origin, directions)
        seen = wall_distance < distance
        inside = ~_through_window(scene.room, origin + directions * wall_distance[:, None], face)
        surface = torch.where(seen, torch.where(inside, count + face, MISSED), surface)
        distance = torch.where(seen, torch.where(inside, wall_distance, float("inf")), distance)
    if scene.ground is not None:
        down = directions[:, 2]
        ground_distance = torch.where(down < 0, -origin[2] / down.clamp_max(-1e-9), float("inf"))
        seen = ground_distance < distance
        surface = torch.where(seen, count + 6, surface)
        distance = torch.where(seen, ground_distance, distance)
    missed = surface == MISSED
    point = origin + directions * torch.where(missed, 0.0, distance)[:, None]
    point[missed] = 0.0
    normal, uv = directions.new_zeros(rays, 3), directions.new_zeros(rays, 2)
    _solid_surfaces(scene.solids, surface, point, normal, uv)
    _flat_surfaces(scene, surface, point, normal, uv)
    return Hits(distance, surface, point, normal, uv, _materials(scene, surface))


def lit(scene: Scene, light: Light, point: Tensor, surface: Tensor) -> Tensor:
    """Return whether a light reaches points on surfaces that face it.

    Args:
        scene: The world.
        light: Which one.
        point: (M, 3) float32, world.
        surface: (M,) int64, that each point lies on. A convex solid shades its own far side only, which does
            not face the light; so it is not tried.

    Returns:
        (M,) bool.
    """
    solids = scene.solids
    matrix = solids.local_from_world()
    between = _between_parallel if light.is_sun else _between_cone
    may_block = between(solids, point, light.position)  # (N, M)
    solid, ray = may_block.nonzero(as_tuple=True)
    other = surface[ray] != solid
    pairs = Pairs(ray[other], solid[other])
    blocked = torch.zeros(point.shape[0], dtype=torch.bool)
    for kind, rows in solids.ranges():
        ray, solid = (part := pairs.of(rows)).ray, part.solid
        if light.is_sun:
            origin = _apply(matrix[solid], point[ray] - solids.centre[solid])
            t_in, t_out = path_inside(
                kind, origin, _apply(matrix, light.position.expand(len(solids), 3))[solid]
            )
            met = (t_in < t_out) & (t_out > NEAREST_HIT)
        else:
            origin = _apply(matrix, light.position - solids.centre)[solid]
            t_in, t_out = path_inside(kind, origin, _apply(matrix[solid], point[ray] - light.position))
            met = (t_in < t_out) & (t_out > NEAREST_HIT) & (t_in < 1.0 - NEAREST_HIT)
        blocked[ray[met]] = True
    if light.is_sun and scene.room is not None:
        blocked |= ~_sun_through_window(scene.room, point, light.position)
    return ~blocked


def _nearest_solid(
    solids: Solids, origin: Tensor, directions: Tensor, candidates: Pairs
) -> tuple[Tensor, Tensor]:
    """Intersect all (ray, solid) pairs that may meet, then keep the nearest for each ray."""
    distance = torch.full((directions.shape[0],), float("inf"))
    surface = torch.full((directions.shape[0],), MISSED)
    matrix = solids.local_from_world()
    local_origin = _apply(matrix, origin - solids.centre)  # (N, 3)
    for kind, rows in solids.ranges():
        ray, solid = (part := candidates.of(rows)).ray, part.solid
        t_in, t_out = path_inside(kind, local_origin[solid], _apply(matrix[solid], directions[ray]))
        met = (t_in < t_out) & (t_in > NEAREST_HIT)
        ray, solid, t_in = ray[met], solid[met], t_in[met]
        distance.scatter_reduce_(0, ray, t_in, "amin")
        first = t_in <= distance[ray]
        surface[ray[first]] = solid[first]
    return distance, surface


def _apply(matrix: Tensor, vector: Tensor) -> Tensor:
    """Multiply (P, 3, 3) by (P, 3); faster than a batched product of such small matrices."""
    return (matrix * vector[:, None]).sum(-1)


def _room_exit(room: Room, origin: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    safe = torch.where(directions.abs() < 1e-12, torch.full_like(directions, 1e-12), directions)
    bound = torch.where(safe > 0, room.upper, room.lower)
    distance, axis = ((bound - origin) / safe).min(-1)
    return distance, axis * 2 + (safe.gather(-1, axis[:, None])[:, 0] > 0).long()


def _through_window(room: Room, point: Tensor, face: Tensor) -> Tensor:
    open_ = torch.zeros_like(face, dtype=torch.bool)
    for window in room.windows:
        which = int(window[0])
        first, second = [axis for axis in range(3) if axis != which // 2]
        a, b = point[:, first], point[:, second]
        open_ |= (face == which) & (a > window[1]) & (b > window[2]) & (a < window[3]) & (b < window[4])
    return open_


def _sun_through_window(room: Room, point: Tensor, sun: Tensor) -> Tensor:
    directions = sun.expand_as(point)
    safe = torch.where(sun.abs() < 1e-12, torch.full_like(sun, 1e-12), sun)
    distance, axis = ((torch.where(safe > 0, room.upper, room.lower) - point) / safe).min(-1)
    return _through_window(room, point + directions * distance[:, None], axis * 2 + (safe[axis] > 0).long())


def _between_parallel(solids: Solids, point: Tensor, direction: Tensor) -> Tensor:
    """Bounding rectangles seen along a direction: (N, M) bool."""
    other = torch.eye(3)[int(direction.abs().argmin())]
    first = torch.linalg.cross(direction, other)
    first = first / first.norm()
    plane = torch.stack([first, torch.linalg.cross(direction, first)], dim=-1)  # (3, 2)
    corners = solids.corners() @ plane  # (N, 8, 2)
    low, high = corners.amin(1)[..., None], corners.amax(1)[..., None]  # (N, 2, 1)
    x, y = (point @ plane).unbind(-1)
    return (x >= low[:, 0]) & (x <= high[:, 0]) & (y >= low[:, 1]) & (y <= high[:, 1])


def _between_cone(solids: Solids, point: Tensor, source: Tensor) -> Tensor:
    """Bounding cones seen from a point: (N, M) bool."""
    to_centre = solids.centre - source
    reach = to_centre.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    radius = solids.half_size.norm(dim=-1, keepdim=True)
    ray = point - source
    length = ray.norm(dim=-1).clamp_min(1e-9)
    cosine = (to_centre / reach) @ (ray / length[:, None]).T
    widest = torch.where(reach <= radius, -2.0, (1.0 - (radius / reach).square()).clamp_min(0.0).sqrt())
    return (cosine >= widest) & (length > reach - radius)


def _solid_surfaces(solids: Solids, surface: Tensor, point: Tensor, normal: Tensor, uv: Tensor) -> None:
    """Write the normals and texture coordinates of the rays that met a solid."""
    for kind, rows in solids.ranges():
        ray = ((surface >= rows.start) & (surface < rows.stop)).nonzero()[:, 0]
        solid = surface[ray]
        rotation, half = solids.rotation[solid], solids.half_size[solid]
        metric = ((point[ray] - solids.centre[solid])[:, None] @ rotation)[:, 0]  # local axes, metres
        gradient = local_normal(kind, metric / half) / half
        gradient = gradient / gradient.norm(dim=-1, keepdim=True).clamp_min(1e-12)
        normal[ray] = (rotation @ gradient[..., None])[..., 0]
        if kind in ("ball", "cylinder"):
            around = torch.atan2(metric[:, 1], metric[:, 0]) * half[:, 0]
            side = torch.stack([around, metric[:, 2]], dim=-1)
            on_cap = (gradient[:, 2].abs() > 0.99)[:, None] if kind == "cylinder" else False
            uv[ray] = torch.where(torch.as_tensor(on_cap), metric[:, :2], side)
        else:
            uv[ray] = _face_coordinates(metric, gradient.abs().argmax(-1))


def _flat_surfaces(scene: Scene, surface: Tensor, point: Tensor, normal: Tensor, uv: Tensor) -> None:
    """Write the normals and texture coordinates of the rays that met a wall or the ground."""
    count = len(scene.solids)
    ray = (surface >= count).nonzero()[:, 0]
    face = surface[ray] - count  # 0 to 5: walls; 6: ground
    axis = torch.where(face == 6, 2, face // 2)
    sign = torch.where(face % 2 == 0, 1.0, -1.0)  # inward: the -x wall looks to +x; the ground looks up
    normal[ray] = torch.zeros(ray.shape[0], 3).scatter_(-1, axis[:, None], sign[:, None])
    uv[ray] = _face_coordinates(point[ray], axis)


def _face_coordinates(metric: Tensor, axis: Tensor) -> Tensor:
    others = torch.tensor([[1, 2], [0, 2], [0, 1]])[axis]
    return metric.gather(-1, others)


def _materials(scene: Scene, surface: Tensor) -> Tensor:
    table = [scene.solids.material, scene.room.material if scene.room else torch.zeros(6, dtype=torch.int64)]
    table.append(torch.tensor([scene.ground or 0]))
    return torch.cat(table)[surface.clamp_min(0)]
