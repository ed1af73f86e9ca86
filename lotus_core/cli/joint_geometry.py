"""Geometry files of `lotus joint`: a camera, a mesh and points from one picture's depth and normals."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from ..errors import GeometryError
from .arguments import parse_names

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from ..geometry.align import Anchor
    from ..geometry.joint import JointGeometry
    from ..io.geometry_files import MeshOptions
    from ..io.images import ImageFile
    from ..types import JointPrediction
    from .products import Destination

GeometryForm = Literal["png16", "exr", "npz", "glb", "ply", "points", "obj", "camera"]
"""io.geometry_files.GeometryFormat, which needs torch."""

GEOMETRY_FORMS: Final[tuple[GeometryForm, ...]] = get_args(GeometryForm)


@dataclass(frozen=True)
class GeometryRequest:
    """What `lotus joint` shall make of depth and normals together.

    Attributes:
        forms: Files to write.
        fov_x_deg: Horizontal field of view in degrees that was given, or None.
        exif: Whether the photograph's own focal length is taken where no field of view was given.
        refine: Whether normals refine the depth.
        known_distance: (x, y, metres): how far the surface at a pixel is from the camera; None leaves the scale open.
        mesh: How a mesh is made.
        picture: Whether meshes and points carry the picture.
    """

    forms: tuple[GeometryForm, ...]
    fov_x_deg: float | None
    exif: bool
    refine: bool
    known_distance: tuple[float, float, float] | None
    mesh: MeshOptions
    picture: bool


def add_geometry_arguments(parser: argparse.ArgumentParser) -> None:
    """Add which geometry files are written, and what is known of camera and scale."""
    group = parser.add_argument_group("geometry")
    group.add_argument(
        "--geometry",
        type=parse_forms,
        default=(),
        metavar="F[,F...]",
        help="also write the camera and surface on which depth and normals agree: glb, obj, ply (mesh), points (PLY), "
        "camera (JSON), png16, exr, npz (z-depth, normals, points); meshes need the extra mesh",
    )
    group.add_argument(
        "--fov-x",
        type=float,
        metavar="DEG",
        help="horizontal field of view; default: from EXIF, else estimated",
    )
    group.add_argument("--ignore-exif", action="store_true", help="estimate the field of view in any case")
    group.add_argument("--no-refine", action="store_true", help="don't refine depth by normals")
    group.add_argument(
        "--known-distance",
        type=parse_distance,
        metavar="X,Y,M",
        help="the surface at pixel (X, Y) is M metres from the camera: fixes the scale",
    )
    group.add_argument(
        "--stride", type=int, default=1, metavar="N", help="mesh and points from every n-th pixel"
    )
    group.add_argument(
        "--colour",
        choices=("texture", "vertex", "none"),
        default="texture",
        help="how a mesh carries the picture; default texture",
    )
    group.add_argument(
        "--keep-clipped", action="store_true", help="keep surfaces beyond the model's range, such as the sky"
    )


def geometry_request(args: argparse.Namespace) -> GeometryRequest | None:
    """Return what a parsed line of `lotus joint` asks for, or None without geometry.

    Raises:
        OptionError: A value outside its range.
        MissingExtraError: A file that needs a library which is not installed.
    """
    if not getattr(args, "geometry", ()):
        return None
    from ..geometry.camera import check_fov
    from ..io.geometry_files import MeshOptions, require_libraries

    if args.fov_x is not None:
        check_fov(args.fov_x)
    require_libraries(args.geometry)
    options = MeshOptions(textured=args.colour == "texture", stride=args.stride, clipped=args.keep_clipped)
    return GeometryRequest(
        forms=args.geometry,
        fov_x_deg=args.fov_x,
        exif=not args.ignore_exif,
        refine=not args.no_refine,
        known_distance=args.known_distance,
        mesh=options,
        picture=args.colour != "none",
    )


def resolve(request: GeometryRequest, both: JointPrediction, image: ImageFile) -> JointGeometry:
    """Return the geometry of one picture.

    Raises:
        GeometryError: The maps define no surface, or the known distance is at a pixel without one.
    """
    from ..geometry.joint import resolve_geometry

    fov = request.fov_x_deg
    if fov is None and request.exif:
        fov = exif_fov(image)
    height, width = both.depth.values.shape[1:]
    anchor = _anchor(request, height, width)
    return resolve_geometry(both.depth, both.normals, fov_x_deg=fov, refine=request.refine, anchor=anchor)


def exif_fov(image: ImageFile) -> float | None:
    """Return the horizontal field of view in degrees that EXIF tells, or None."""
    if image.focal_35mm_mm is None:
        return None
    from ..geometry.camera import fov_from_exif

    return fov_from_exif(image.focal_35mm_mm, image.pixels.shape[2], image.pixels.shape[1])


def write(
    request: GeometryRequest, geometry: JointGeometry, pixels: Tensor, stem: Path, destination: Destination
) -> list[Path]:
    """Write one picture's geometry files and return them.

    Raises:
        NotWritableError: One of them is an input of this run.
        GeometryError: No surface is left to write.
        StorageError: A file cannot be written.
    """
    from ..io.geometry_files import FILE_SUFFIXES, save_geometry

    for form in request.forms:
        for suffix in FILE_SUFFIXES[form]:
            destination.file(stem, suffix)  # refuses to overwrite an input
    return save_geometry(
        destination.folder / stem.parent,
        stem.name,
        geometry,
        image=pixels[0] if request.picture else None,
        formats=request.forms,
        options=request.mesh,
    )


def facts(request: GeometryRequest, geometry: JointGeometry, image: ImageFile) -> dict[str, Any]:
    """Return what the report says about one picture's geometry."""
    from ..io.geometry_files import geometry_unit

    source: str = geometry.focal_source[0]
    if source == "given":
        source = "option" if request.fov_x_deg is not None else "exif"
    sd = float(geometry.calibration.sd_log_focal[0])
    return {
        "fov_x_deg": round(float(geometry.fov_x_deg[0]), 3),
        "fov_from": source,
        "sd_log_focal": round(sd, 4) if sd < float("inf") else None,
        "unit": geometry_unit(geometry),
        "exif_fov_x_deg": exif_fov(image),
    }


def parse_forms(text: str) -> tuple[GeometryForm, ...]:
    """Return the forms of a comma-separated list, each once.

    Raises:
        argparse.ArgumentTypeError: An unknown form, or none.
    """
    return parse_names(text, GEOMETRY_FORMS, "geometry")


def parse_distance(text: str) -> tuple[float, float, float]:
    """Return x, y and a distance.

    Raises:
        argparse.ArgumentTypeError: Something else than three numbers, or a distance that is not positive.
    """
    try:
        x, y, metres = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"write three numbers such as 320,240,2.5, not {text!r}") from None
    if not 0 < metres < float("inf"):
        raise argparse.ArgumentTypeError(f"the distance must be positive, not {metres:g}")
    return x, y, metres


def _anchor(request: GeometryRequest, height: int, width: int) -> Anchor | None:
    if request.known_distance is None:
        return None
    from ..geometry.align import KnownDistance

    x, y, metres = request.known_distance
    if not (0 <= x < width and 0 <= y < height):
        raise GeometryError(
            "the known distance is at a pixel outside the picture",
            found=f"({x:g}, {y:g}) in {width} x {height}",
            remedy="count pixels from the upper left corner",
        )
    return KnownDistance(metres, (x, y))
