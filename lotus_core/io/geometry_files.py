"""One picture's geometry as files: maps, mesh, points and camera.

Convention:
    Every file says what it holds. Depth is z-depth in the geometry's unit. PNG has no unit: its depth is
    ``nearest / z`` in 16 bits (near = white, invalid = 0), and a note gives ``nearest``. Normals in EXR and NPZ are
    raw OpenCV vectors (+x right, +y down, +z forward); in PNG they follow the stated convention. GLB and OBJ have
    glTF's axes, PLY keeps OpenCV's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

import torch
from torch import Tensor

from ..checks import require_shape
from ..conventions import NormalConvention
from ..errors import GeometryError, OptionError
from ..geometry.camera import Camera
from ..geometry.joint import JointGeometry
from ..geometry.mesh import Mesh, grid_mesh
from ..geometry.point_cloud import PointCloud, point_cloud
from .arrays import write_npz
from .cameras import CONVENTION, CameraRecord, Unit, write_camera_json
from .exr import require_openexr, write_exr
from .meshes import require_trimesh, write_glb, write_obj, write_ply
from .png import write_png16

GeometryFormat = Literal["png16", "exr", "npz", "glb", "ply", "points", "obj", "camera"]
GEOMETRY_FORMATS: Final = get_args(GeometryFormat)

FILE_SUFFIXES: Final[dict[GeometryFormat, tuple[str, ...]]] = {
    "png16": ("geometry_depth16.png", "geometry_normal16.png"),
    "exr": ("geometry.exr",),
    "npz": ("geometry.npz",),
    "glb": ("mesh.glb",),
    "ply": ("mesh.ply",),
    "points": ("points.ply",),
    "obj": ("mesh.obj", "mesh.mtl", "mesh.png"),
    "camera": ("camera.json",),
}
"""What follows the stem and an underscore in the names of a format's files; OBJ has the last two with a texture."""


@dataclass(frozen=True)
class MeshOptions:
    """How a picture becomes a mesh.

    Attributes:
        textured: The picture as a texture, else as a colour for each vertex.
        stride: Use every n-th pixel along both sides, 1 to 64.
        clipped: Whether pixels beyond the network's range (sky) belong to the surface.

    Raises:
        OptionError: A stride outside 1 to 64.
    """

    textured: bool = True
    stride: int = 1
    clipped: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.stride, bool) or self.stride not in range(1, 65):
            raise OptionError("stride", self.stride, "a whole number from 1 to 64")


@dataclass(frozen=True)
class _Source:
    """One picture of a geometry, and how it is written."""

    geometry: JointGeometry
    index: int
    image: Tensor | None
    options: MeshOptions
    convention: NormalConvention

    @property
    def mask(self) -> Tensor:
        """(H, W) bool, pixels on the surface."""
        valid = self.geometry.valid[self.index]
        return valid if self.options.clipped else valid & ~self.geometry.clipped[self.index]

    @property
    def unit(self) -> Unit:
        """Of the picture's lengths."""
        return geometry_unit(self.geometry, self.index)


def save_geometry(
    folder: str | Path,
    stem: str,
    geometry: JointGeometry,
    index: int = 0,
    *,
    image: Tensor | None = None,
    formats: Sequence[GeometryFormat] = ("glb", "camera"),
    options: MeshOptions | None = None,
    convention: NormalConvention = NormalConvention.OPENGL,
) -> list[Path]:
    """Write one picture's geometry and return the files.

    The files are named ``<stem>_`` and one of `FILE_SUFFIXES`. The EXR has the channels Z, N.X, N.Y, N.Z, P.X, P.Y,
    P.Z and mask.Y.

    Args:
        folder: Where to write; made if it is missing.
        stem: First part of the names.
        geometry: Of a batch.
        index: Picture of the batch.
        image: (H, W, 3) float in [0, 1], for texture and colours, or None.
        formats: Which files.
        options: How a mesh is made.
        convention: Of the normals in PNG.

    Returns:
        The files, in the order of the formats.

    Raises:
        OptionError: An unknown format, or an index outside the batch.
        ShapeError: An image of another size.
        GeometryError: No surface to write.
        MissingExtraError: A format whose library is not installed.
        StorageError: A file cannot be written.
    """
    unknown = [name for name in formats if name not in GEOMETRY_FORMATS]
    if unknown:
        raise OptionError("formats", unknown[0], f"among {', '.join(GEOMETRY_FORMATS)}")
    count, height, width = geometry.depth.shape
    if not 0 <= index < count:
        raise OptionError("index", index, f"0 to {count - 1}, a picture of the batch")
    if image is not None:
        require_shape(
            "image", image, f"({height}, {width}, 3)", remedy="pass the picture that the geometry is of"
        )
    source = _Source(geometry, index, image, options or MeshOptions(), convention)
    place = Path(folder) / stem
    return [path for name in dict.fromkeys(formats) for path in _WRITERS[name](source, place)]


def require_libraries(formats: Sequence[GeometryFormat]) -> None:
    """Refuse formats whose library is missing, before anything is computed.

    Raises:
        MissingExtraError: A mesh or points without trimesh, EXR without OpenEXR.
    """
    if {"glb", "ply", "points", "obj"} & set(formats):
        require_trimesh()
    if "exr" in formats:
        require_openexr()


def geometry_mesh(
    geometry: JointGeometry,
    index: int = 0,
    *,
    image: Tensor | None = None,
    options: MeshOptions | None = None,
) -> Mesh:
    """Return one picture's surface as a mesh, cut at its occlusions, in the OpenCV camera frame.

    Args:
        geometry: Of a batch.
        index: Picture of the batch.
        image: (H, W, 3) float in [0, 1], or None.
        options: How.

    Raises:
        GeometryError: No triangle is left.
    """
    source = _Source(geometry, index, image, options or MeshOptions(), NormalConvention.OPENCV)
    return grid_mesh(
        geometry.points[index],
        mask=source.mask,
        cut_right=geometry.cuts.right[index],
        cut_down=geometry.cuts.down[index],
        normals=geometry.normals[index],
        image=image,
        textured=source.options.textured,
        stride=source.options.stride,
    )


def geometry_points(
    geometry: JointGeometry,
    index: int = 0,
    *,
    image: Tensor | None = None,
    options: MeshOptions | None = None,
) -> PointCloud:
    """Return one picture's points, without those at an occlusion, in the OpenCV camera frame.

    Args:
        geometry: Of a batch.
        index: Picture of the batch.
        image: (H, W, 3) float in [0, 1], or None.
        options: How; ``textured`` has no meaning here.

    Raises:
        GeometryError: No point is left.
    """
    source = _Source(geometry, index, image, options or MeshOptions(), NormalConvention.OPENCV)
    return point_cloud(
        geometry.points[index],
        mask=source.mask & ~geometry.edges[index],
        normals=geometry.normals[index],
        image=image,
        stride=source.options.stride,
    )


def geometry_unit(geometry: JointGeometry, index: int = 0) -> Unit:
    """Return the unit of one picture's lengths: an anchor's is taken for metres, any other scale is unknown."""
    return "metre" if geometry.scale_meaning[index] == "anchor" else "unknown"


def geometry_camera(geometry: JointGeometry, index: int = 0) -> CameraRecord:
    """Return one picture's camera, which stands at the origin, with where its focal length came from."""
    height, width = geometry.depth.shape[1:]
    camera = Camera(geometry.intrinsics[index].cpu(), torch.eye(4), width, height)
    sd = float(geometry.calibration.sd_log_focal[index])
    confidence = sd if sd < float("inf") else None
    return CameraRecord(camera, geometry_unit(geometry, index), geometry.focal_source[index], confidence)


def _png16(source: _Source, place: Path) -> list[Path]:
    depth, mask = source.geometry.depth[source.index], source.mask
    if not bool(mask.any()):
        raise GeometryError(
            "no pixel has a depth", found="an empty mask", remedy="check the mask of the geometry"
        )
    nearest = float(depth[mask].min())
    near = torch.where(mask, nearest / depth.clamp_min(1e-12), torch.zeros_like(depth))
    signs = depth.new_tensor(source.convention.signs_from_opencv)
    rgb = source.geometry.normals[source.index] * signs * 0.5 + 0.5
    note = {"Lotus depth": f"z = {nearest:.9g} / value, 0 = unknown; unit: {source.unit}"}
    normal_note = {"Lotus convention": source.convention.value}
    return [
        write_png16(_named(place, "png16"), near, text=note),
        write_png16(_named(place, "png16", 1), rgb, text=normal_note),
    ]


def _exr(source: _Source, place: Path) -> list[Path]:
    geometry, i = source.geometry, source.index
    planes = {"Z": geometry.depth[i], "mask.Y": source.mask.float()}
    for layer, vectors in (("N", geometry.normals[i]), ("P", geometry.points[i])):
        planes |= {f"{layer}.{axis}": vectors[..., k] for k, axis in enumerate("XYZ")}
    notes = {"lotusConvention": CONVENTION, "lotusUnit": source.unit}
    return [write_exr(_named(place, "exr"), planes, attributes=notes)]


def _npz(source: _Source, place: Path) -> list[Path]:
    geometry, i = source.geometry, source.index
    entries: dict[str, Tensor | str | float] = {
        "depth": geometry.depth[i],
        "points": geometry.points[i],
        "normals": geometry.normals[i],
        "intrinsics": geometry.intrinsics[i],
        "valid": geometry.valid[i],
        "clipped": geometry.clipped[i],
        "edges": geometry.edges[i],
        "fov_x_deg": float(geometry.fov_x_deg[i]),
        "sd_log_focal": float(geometry.calibration.sd_log_focal[i]),
        "focal_source": geometry.focal_source[i],
        "frame": CONVENTION,
        "unit": source.unit,
    }
    return [write_npz(_named(place, "npz"), entries)]


def _glb(source: _Source, place: Path) -> list[Path]:
    return [write_glb(_named(place, "glb"), _mesh(source))]


def _ply(source: _Source, place: Path) -> list[Path]:
    return [write_ply(_named(place, "ply"), _mesh(source))]


def _obj(source: _Source, place: Path) -> list[Path]:
    return [write_obj(_named(place, "obj"), _mesh(source))]


def _points(source: _Source, place: Path) -> list[Path]:
    cloud = geometry_points(source.geometry, source.index, image=source.image, options=source.options)
    return [write_ply(_named(place, "points"), cloud)]


def _camera(source: _Source, place: Path) -> list[Path]:
    return [write_camera_json(_named(place, "camera"), geometry_camera(source.geometry, source.index))]


def _mesh(source: _Source) -> Mesh:
    return geometry_mesh(source.geometry, source.index, image=source.image, options=source.options)


def _named(place: Path, form: GeometryFormat, which: int = 0) -> Path:
    return place.with_name(f"{place.name}_{FILE_SUFFIXES[form][which]}")


_WRITERS: Final[dict[GeometryFormat, Callable[[_Source, Path], list[Path]]]] = {
    "png16": _png16,
    "exr": _exr,
    "npz": _npz,
    "glb": _glb,
    "ply": _ply,
    "points": _points,
    "obj": _obj,
    "camera": _camera,
}
