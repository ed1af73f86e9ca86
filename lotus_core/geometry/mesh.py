"""Triangle meshes from a grid of camera-space points.

Convention:
    Everything here stays in the frame of the points that come in (OpenCV: +x right, +y down, +z forward).
    Faces wind so that ``(v1 - v0) x (v2 - v0)`` points to the camera: counter-clockwise for whoever looks
    along +z. Texture coordinates have their origin in the picture's top left corner, u to the right and v
    down, and pixel centres at +0.5: the first pixel of a picture 4 wide and 2 high is at (0.125, 0.25).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..checks import require_shape
from ..errors import GeometryError
from .camera import pixel_grid
from .point_cloud import check_grid, valid_points


@dataclass(frozen=True)
class Mesh:
    """Triangles, and what is known at their corners.

    Attributes:
        vertices: (V, 3) float32, in the unit and frame of the points it was made from (OpenCV axes).
        faces: (F, 3) int64 indices into ``vertices``, wound toward the camera.
        normals: (V, 3) float32 unit vectors that face the camera, or None.
        uvs: (V, 2) float32 in [0, 1], origin in the texture's top left corner, or None.
        colours: (V, 3) float32 in [0, 1], sRGB as in the picture, or None.
        texture: (H, W, 3) float32 in [0, 1], sRGB, or None.
    """

    vertices: Tensor
    faces: Tensor
    normals: Tensor | None = None
    uvs: Tensor | None = None
    colours: Tensor | None = None
    texture: Tensor | None = None


def grid_mesh(
    points: Tensor,
    *,
    mask: Tensor | None = None,
    cut_right: Tensor | None = None,
    cut_down: Tensor | None = None,
    normals: Tensor | None = None,
    image: Tensor | None = None,
    textured: bool = True,
    stride: int = 1,
) -> Mesh:
    """Triangulate one picture's points over its pixel grid.

    Every pixel is a vertex and every 2 x 2 neighbourhood up to two triangles. A triangle is dropped when one
    of its pixels is invalid or one of its two grid edges is cut; of the two ways to split a square the one
    that keeps more triangles is taken, then the one whose diagonal spans less depth.

    Args:
        points: (H, W, 3) float, OpenCV camera frame. Pixels with NaN, infinity or z <= 0 are left out.
        mask: (H, W) bool, True where the points are valid, or None.
        cut_right: (H, W - 1) bool, True where the edge from a pixel to its right neighbour crosses an
            occlusion, or None.
        cut_down: (H - 1, W) bool, the same to the neighbour below, or None.
        normals: (H, W, 3) float unit vectors in the same frame, or None.
        image: (H, W, 3) float in [0, 1], sRGB, or None.
        textured: Give the image as a texture with coordinates, else as a colour for each vertex.
        stride: Use every n-th pixel along both sides, 1 to 64. A cut anywhere between two used pixels cuts.

    Returns:
        The mesh, on the device of ``points``, without vertices that no face uses. Differentiable in the
        points and normals.

    Raises:
        ShapeError: Another shape than documented.
        OptionError: A stride outside 1 to 64.
        GeometryError: Not one triangle is left.
    """
    check_grid(points, mask, normals, image, stride)
    height, width = points.shape[:2]
    right, down = _cuts(points, cut_right, cut_down)
    valid = valid_points(points, mask)[::stride, ::stride]
    right, down = _thin(right, stride, 1)[::stride], _thin(down, stride, 0)[:, ::stride]
    rows, columns = valid.shape
    faces = _grid_faces(valid, points[::stride, ::stride, 2].detach(), right, down)
    if len(faces) == 0:
        raise GeometryError(
            "no triangle is left after culling",
            found=f"{int(valid.sum())} valid points on a {rows} x {columns} grid",
            remedy="check the mask, or raise the edge threshold",
        )
    uvs = pixel_grid(height, width, device=points.device) / points.new_tensor([width, height])
    flat = Mesh(
        vertices=points[::stride, ::stride].reshape(-1, 3).float(),
        faces=faces,
        normals=None if normals is None else normals[::stride, ::stride].reshape(-1, 3).float(),
        uvs=uvs[::stride, ::stride].reshape(-1, 2) if image is not None and textured else None,
        colours=None if image is None or textured else image[::stride, ::stride].reshape(-1, 3).float(),
    )
    mesh = drop_unused_vertices(flat)
    return replace(mesh, texture=image.float()) if image is not None and textured else mesh


def drop_unused_vertices(mesh: Mesh) -> Mesh:
    """Return the mesh without the vertices that no face uses, in their old order."""
    used = torch.zeros(len(mesh.vertices), dtype=torch.bool, device=mesh.vertices.device)
    used[mesh.faces.flatten()] = True
    if bool(used.all()):
        return mesh
    number = torch.cumsum(used, 0) - 1
    kept = {
        name: None if value is None else value[used]
        for name, value in (("normals", mesh.normals), ("uvs", mesh.uvs), ("colours", mesh.colours))
    }
    return replace(mesh, vertices=mesh.vertices[used], faces=number[mesh.faces], **kept)


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Return area-weighted unit normals of a mesh's vertices.

    Args:
        vertices: (V, 3) float.
        faces: (F, 3) int64.

    Returns:
        (V, 3) float unit vectors on the side that the faces wind toward; 0 where no face has an area.
    """
    corner = vertices[faces]  # (F, 3, 3)
    area = torch.linalg.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    total = torch.zeros_like(vertices).index_add(0, faces.T.flatten(), area.repeat(3, 1))
    return torch.nn.functional.normalize(total, dim=-1, eps=1e-20)


def _cuts(points: Tensor, right: Tensor | None, down: Tensor | None) -> tuple[Tensor, Tensor]:
    """The cuts as given, or none at all."""
    height, width = points.shape[:2]
    none = {"dtype": torch.bool, "device": points.device}
    if right is None:
        right = torch.zeros(height, width - 1, **none)
    if down is None:
        down = torch.zeros(height - 1, width, **none)
    if min(height, width) > 1:  # a single row or column has no triangle, whatever is cut
        require_shape(
            "cut_right", right, f"({height}, {width - 1})", remedy="pass the cuts of the same picture"
        )
        require_shape(
            "cut_down", down, f"({height - 1}, {width})", remedy="pass the cuts of the same picture"
        )
    return right, down


def _thin(cut: Tensor, stride: int, dim: int) -> Tensor:
    """Merge the cuts of ``stride`` neighbouring edges along ``dim`` into one."""
    if stride == 1:
        return cut
    whole = cut.shape[dim] // stride
    return cut.narrow(dim, 0, whole * stride).unflatten(dim, (whole, stride)).any(dim=dim + 1)


def _grid_faces(valid: Tensor, depth: Tensor, right: Tensor, down: Tensor) -> Tensor:
    """(F, 3) int64 faces over a grid, wound toward the camera.

    Corners of a square: a b above c d. The diagonal a-d makes (a, c, d) and (a, d, b), b-c makes (a, c, b)
    and (b, c, d).
    """
    rows, columns = valid.shape
    index = torch.arange(rows * columns, device=valid.device).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    va, vb, vc, vd = valid[:-1, :-1], valid[:-1, 1:], valid[1:, :-1], valid[1:, 1:]
    top, bottom, left, side = ~right[:-1], ~right[1:], ~down[:, :-1], ~down[:, 1:]
    acd, adb = va & vc & vd & left & bottom, va & vd & vb & top & side
    acb, bcd = va & vc & vb & left & top, vb & vc & vd & side & bottom
    u = torch.log(torch.where(valid, depth, torch.ones_like(depth)))
    shorter = (u[:-1, :-1] - u[1:, 1:]).abs() <= (u[:-1, 1:] - u[1:, :-1]).abs()
    count_ad, count_bc = acd.int() + adb.int(), acb.int() + bcd.int()
    use_ad = (count_ad > count_bc) | ((count_ad == count_bc) & shorter)
    chosen = (
        ((a, c, d), acd & use_ad),
        ((a, d, b), adb & use_ad),
        ((a, c, b), acb & ~use_ad),
        ((b, c, d), bcd & ~use_ad),
    )
    return torch.cat([torch.stack([corner[keep] for corner in corners], dim=-1) for corners, keep in chosen])
