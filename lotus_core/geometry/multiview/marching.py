"""One triangle mesh from the signed distances of many blocks.

Marching cubes runs on one block at a time (scikit-image). Blocks share the samples on their common face, so the same
crossing is found twice there: every vertex lies on one edge of the voxel grid, and that edge's number welds them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import GeometryError, MissingExtraError
from ..mesh import Mesh, drop_unused_vertices, vertex_normals
from .tsdf import BLOCK, BlockField

NUDGE = 1e-3
"""Least distance that a sample may have, in truncations: a crossing exactly on a sample has no edge of its own."""

LARGEST_STEP = 0.75
"""Difference of the corners of a cube, in truncations, that one surface explains: along its diagonal of 1.73 voxels
a distance changes by 0.43."""

Progress = Callable[[int], None]


def mesh_from_blocks(
    fields: Iterable[BlockField], origin: Tensor, voxel: float, *, progress: Progress | None = None
) -> Mesh:
    """Return the zero surface of a block-wise distance field.

    Args:
        fields: Blocks, from `integrate`.
        origin: (3,) float, world, of block (0, 0, 0).
        voxel: Side of a voxel.
        progress: Called with the number of blocks done.

    Returns:
        The mesh in world axes on the CPU, wound toward free space, with vertex colours if the fields have them.

    Raises:
        MissingExtraError: scikit-image is not installed.
        GeometryError: No surface is left.
    """
    try:
        from skimage.measure import marching_cubes
    except ImportError as error:
        raise MissingExtraError("skimage", "mesh", "fusing views into a mesh") from error
    pieces: list[
        tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64], NDArray[np.float32] | None]
    ] = []
    for done, field in enumerate(fields, start=1):
        distance, cells = _samples(field)
        if cells.any() and distance.min() < 0 < distance.max():
            # skimage looks at a cube's mask in its far corner, hence the shift by one.
            mask = np.zeros(distance.shape, dtype=bool)
            mask[1:, 1:, 1:] = cells
            try:
                # With "descent" faces wind toward the greater values, here free space.
                vertices, faces, _, _ = marching_cubes(
                    distance, 0.0, mask=mask, allow_degenerate=False, gradient_direction="descent"
                )
            except (RuntimeError, ValueError):
                vertices, faces = (
                    np.zeros((0, 3), np.float32),
                    np.zeros((0, 3), np.int64),
                )  # no cube is crossed
            if len(faces):
                offset = np.array(field.block, dtype=np.int64) * BLOCK
                colours = _colours(field, vertices)
                pieces.append(
                    (_edge_numbers(vertices, offset), vertices + offset, faces.astype(np.int64), colours)
                )
        if progress is not None:
            progress(done)
    if not pieces:
        raise GeometryError(
            "the fused views contain no surface",
            found="no voxel between free space and matter",
            remedy="use more views, or larger voxels",
        )
    return _weld(pieces, origin, voxel)


def _samples(field: BlockField) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Distances away from zero, and the (B, B, B) cubes that a surface can cross.

    Their eight corners are measured and differ by no more than a distance can: what jumps from free space to far
    behind is the silhouette of something nearer.
    """
    distance = field.distance.float().cpu().numpy().copy()
    tiny = np.abs(distance) < NUDGE
    distance[tiny] = np.where(distance[tiny] < 0, -NUDGE, NUDGE)
    known = field.weight.cpu().numpy() > 0
    corners = [(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    seen = np.stack([known[i : BLOCK + i, j : BLOCK + j, k : BLOCK + k] for i, j, k in corners])
    values = np.stack([distance[i : BLOCK + i, j : BLOCK + j, k : BLOCK + k] for i, j, k in corners])
    return distance, seen.all(axis=0) & (np.ptp(values, axis=0) < LARGEST_STEP)


def _edge_numbers(vertices: NDArray[np.float32], offset: NDArray[np.int64]) -> NDArray[np.int64]:
    """(V, 4) int64: the grid sample below each vertex, over all blocks, and the axis of its edge.

    Ambiguous cubes have a vertex inside; it belongs to one block and gets axis 3.
    """
    whole = np.round(vertices)
    between = np.abs(vertices - whole) > NUDGE / 10
    axis = np.where(between.sum(axis=1) > 1, 3, between.argmax(axis=1))
    below = np.where(between, np.floor(vertices), whole).astype(np.int64)
    return np.concatenate([below + offset, axis[:, None]], axis=1)


def _colours(field: BlockField, vertices: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Colour at each vertex, between the two samples of its edge that were seen near the surface."""
    if field.colour is None:
        return None
    colour = field.colour.float().cpu().numpy()
    low = np.floor(vertices).astype(np.int64).clip(0, BLOCK)
    high = np.ceil(vertices).astype(np.int64).clip(0, BLOCK)
    share = np.abs(vertices - low).max(axis=1, keepdims=True)
    first, second = colour[tuple(low.T)], colour[tuple(high.T)]
    return (first * (1 - share) + second * share).astype(np.float32)


def _weld(
    pieces: list[
        tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64], NDArray[np.float32] | None]
    ],
    origin: Tensor,
    voxel: float,
) -> Mesh:
    numbers = np.concatenate([piece[0] for piece in pieces])
    starts = np.cumsum([0] + [len(piece[0]) for piece in pieces[:-1]])
    faces = np.concatenate([piece[2] + start for piece, start in zip(pieces, starts, strict=True)])
    _, first, same = np.unique(numbers, axis=0, return_index=True, return_inverse=True)
    faces = same.reshape(-1)[faces]
    whole = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    positions = np.concatenate([piece[1] for piece in pieces])[first]
    vertices = origin.cpu().double() + torch.from_numpy(positions).double() * voxel
    colours = None
    if all(piece[3] is not None for piece in pieces):
        colours = torch.from_numpy(
            np.concatenate([piece[3] for piece in pieces if piece[3] is not None])[first]
        )
    vertices, triangles = vertices.float(), torch.from_numpy(faces[whole])
    normals = vertex_normals(vertices, triangles)
    return drop_unused_vertices(Mesh(vertices, triangles, normals=normals, colours=colours))
