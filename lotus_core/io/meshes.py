"""Meshes and point clouds as files: GLB, PLY and OBJ.

Convention:
    GLB and OBJ have glTF's axes: +x right, +y up, -z forward, so that a photograph's floor is below in every
    viewer; from OpenCV that is ``(x, -y, -z)``, a half turn about x that keeps the winding. PLY keeps OpenCV's
    axes (+x right, +y down, +z forward), as most point cloud tools expect of a camera's points, and says so in
    a comment. Lengths are in the unit of the points: metres where the scale is known, else up to one factor.

    Colours of a mesh are sRGB. PLY stores them as they are, 8 bits a channel. glTF multiplies vertex colours
    in linear light, so GLB stores them linear, in 32-bit floats: 8 bits would band in the shadows.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import GeometryError, MissingExtraError
from ..geometry.mesh import Mesh
from ..geometry.point_cloud import PointCloud
from .atomic import write_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

GLTF_FROM_OPENCV = (1.0, -1.0, -1.0)
CAMERA_COMMENT = "Axes: OpenCV camera (+x right, +y down, +z forward)."
WORLD_COMMENT = "Axes: the world of the camera poses that it was made with."

_LINEAR = "_COLOR_0"


def require_trimesh() -> Any:
    """Return the package that writes meshes.

    Raises:
        MissingExtraError: trimesh is not installed.
    """
    try:
        import trimesh
    except ImportError as error:
        raise MissingExtraError("trimesh", "mesh", "writing a mesh") from error
    return trimesh


def write_glb(path: str | Path, mesh: Mesh) -> Path:
    """Write a mesh as binary glTF 2.0, with its texture or vertex colours and its normals.

    The texture is a lossless PNG inside the file. The material is matt and seen from both sides.

    Args:
        path: File to write, ``.glb``.
        mesh: In OpenCV axes; the file has glTF's.

    Returns:
        The path.

    Raises:
        MissingExtraError: trimesh is not installed.
        GeometryError: The mesh has no triangle, or a vertex that is not finite.
        StorageError: The file cannot be written.
    """
    shape = _trimesh_from(mesh, GLTF_FROM_OPENCV)
    if mesh.colours is not None:
        shape.vertex_attributes[_LINEAR] = _array(linear_from_srgb(mesh.colours)).astype(np.float32)
    data = shape.export(
        file_type="glb", include_normals=mesh.normals is not None, tree_postprocessor=_name_colours
    )
    return write_bytes(path, data)


def write_ply(path: str | Path, shape: Mesh | PointCloud, *, comment: str = CAMERA_COMMENT) -> Path:
    """Write a mesh or a point cloud as binary little-endian PLY with 8-bit colours, in OpenCV axes.

    PLY has no textures: a textured mesh gets the colour of the texture at each vertex.

    Args:
        path: File to write, ``.ply``.
        shape: Mesh or point cloud, OpenCV axes.
        comment: What the file says about its axes, ASCII: `CAMERA_COMMENT` or `WORLD_COMMENT`.

    Returns:
        The path.

    Raises:
        MissingExtraError: trimesh is not installed.
        GeometryError: There is nothing to write, or a coordinate that is not finite.
        StorageError: The file cannot be written.
    """
    if isinstance(shape, PointCloud):
        none = torch.zeros(0, 3, dtype=torch.int64)
        mesh, points_only = Mesh(shape.points, none, normals=shape.normals, colours=shape.colours), True
    else:
        mesh, points_only = _with_vertex_colours(shape), False
    body = _trimesh_from(mesh, (1.0, 1.0, 1.0), points_only=points_only)
    if mesh.colours is not None:
        body.visual.vertex_colors = _bytes(mesh.colours)
    data: bytes = body.export(
        file_type="ply", vertex_normal=mesh.normals is not None, include_attributes=False
    )
    magic, form, rest = data.split(b"\n", 2)
    if points_only:  # some readers take a file with a face element for a broken mesh
        rest = rest.replace(b"element face 0\nproperty list uchar int vertex_indices\n", b"", 1)
    return write_bytes(path, b"\n".join([magic, form, b"comment " + comment.encode("ascii"), rest]))


def write_obj(path: str | Path, mesh: Mesh) -> Path:
    """Write a mesh as Wavefront OBJ in glTF's axes; a texture goes beside it with a material file.

    Args:
        path: File to write, ``.obj``. With a texture, ``<name>.mtl`` and ``<name>.png`` are written too.
        mesh: In OpenCV axes.

    Returns:
        The path of the OBJ file.

    Raises:
        MissingExtraError: trimesh is not installed.
        GeometryError: The mesh has no triangle, or a vertex that is not finite.
        StorageError: A file cannot be written.
    """
    target = Path(path)
    body = _trimesh_from(mesh, GLTF_FROM_OPENCV)
    if mesh.colours is not None:
        body.visual.vertex_colors = _bytes(mesh.colours)
    from trimesh.exchange.obj import export_obj
    from trimesh.visual.material import SimpleMaterial

    if mesh.texture is not None and mesh.uvs is not None:
        white = [255, 255, 255, 255]  # what the texture is multiplied with
        body.visual.material = SimpleMaterial(
            image=Image.fromarray(_bytes(mesh.texture)), diffuse=white, ambient=white, specular=[0, 0, 0, 255]
        )
        body.visual.material.name = target.stem
    text, beside = export_obj(
        body,
        include_normals=mesh.normals is not None,
        include_color=mesh.colours is not None,
        return_texture=True,
        mtl_name=f"{target.stem}.mtl",
    )
    for name, data in beside.items():
        write_bytes(target.with_name(name), data)
    return write_bytes(target, text.encode())


def linear_from_srgb(srgb: Tensor) -> Tensor:
    """Return linear light of sRGB values; 0.5 becomes 0.2140.

    Args:
        srgb: (..., 3) float, [0, 1].

    Returns:
        (..., 3) float, [0, 1].

    Source: IEC 61966-2-1.
    """
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb.clamp_min(0.0) + 0.055) / 1.055) ** 2.4)


def _trimesh_from(mesh: Mesh, axes: tuple[float, float, float], *, points_only: bool = False) -> Any:
    """A trimesh.Trimesh that keeps every vertex, face and normal as it is, with the axes' signs applied."""
    trimesh = require_trimesh()
    from trimesh.visual import TextureVisuals
    from trimesh.visual.material import PBRMaterial

    if len(mesh.vertices) == 0 or (len(mesh.faces) == 0 and not points_only):
        raise GeometryError(
            "the surface is empty: there is nothing to write",
            found=f"{len(mesh.vertices)} vertices, {len(mesh.faces)} triangles",
            remedy="check the mask and the edge threshold",
        )
    if not bool(torch.isfinite(mesh.vertices).all()):
        raise GeometryError(
            "a surface with NaN or infinite coordinates cannot be written",
            found=f"{int((~torch.isfinite(mesh.vertices)).any(dim=-1).sum())} such vertices",
            remedy="mask the invalid pixels first",
        )
    signs = np.array(axes, dtype=np.float32)
    visual = None
    if mesh.texture is not None and mesh.uvs is not None:
        picture = Image.fromarray(_bytes(mesh.texture))
        # Matt, because the light of the photograph is already in the texture.
        material = PBRMaterial(
            name="photo", baseColorTexture=picture, metallicFactor=0.0, roughnessFactor=1.0, doubleSided=True
        )
        # trimesh counts v from the bottom, as OBJ does, and turns it over for glTF.
        visual = TextureVisuals(uv=_array(mesh.uvs) * [1.0, -1.0] + [0.0, 1.0], material=material)
    return trimesh.Trimesh(
        vertices=_array(mesh.vertices) * signs,
        faces=_array(mesh.faces),
        vertex_normals=None if mesh.normals is None else _array(mesh.normals) * signs,
        visual=visual,
        process=False,
        validate=False,
    )


def _name_colours(tree: dict[str, Any]) -> None:
    """Give the linear vertex colours glTF's own name, and a coloured mesh the same matt material."""
    for mesh in tree["meshes"]:
        for primitive in mesh["primitives"]:
            if _LINEAR in primitive["attributes"]:
                primitive["attributes"]["COLOR_0"] = primitive["attributes"].pop(_LINEAR)
                materials = tree.setdefault("materials", [])
                primitive["material"] = len(materials)
                pbr = {"metallicFactor": 0.0, "roughnessFactor": 1.0}
                materials.append({"name": "colours", "pbrMetallicRoughness": pbr, "doubleSided": True})


def _with_vertex_colours(mesh: Mesh) -> Mesh:
    """The mesh with the texture's colour at each vertex instead of the texture."""
    if mesh.texture is None or mesh.uvs is None:
        return mesh
    height, width = mesh.texture.shape[:2]
    # Vertices lie on pixel centres: no interpolation is needed.
    column = (mesh.uvs[:, 0] * width).long().clamp(0, width - 1)
    row = (mesh.uvs[:, 1] * height).long().clamp(0, height - 1)
    return Mesh(mesh.vertices, mesh.faces, normals=mesh.normals, colours=mesh.texture[row, column])


def _array(tensor: Tensor) -> NDArray[Any]:
    return tensor.detach().cpu().numpy()


def _bytes(srgb: Tensor) -> NDArray[np.uint8]:
    return _array((srgb.detach().clamp(0, 1) * 255).round().to(torch.uint8))
