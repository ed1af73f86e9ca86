"""Lotus Save Geometry: maps, meshes, points and cameras as files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import comfy.model_management as mm
import folder_paths
from comfy_api.latest import io

from ..lotus_core.conventions import NormalConvention
from ..lotus_core.errors import OptionError
from ..lotus_core.io.cameras import write_camera_json
from ..lotus_core.io.geometry_files import (
    GeometryFormat,
    MeshOptions,
    geometry_camera,
    save_geometry,
)
from . import compat
from .geometry import output_file, stride_input
from .render import CONVENTIONS
from .sockets import LotusGeometry, LotusGeometrySocket

FORMATS: dict[str, tuple[GeometryFormat, bool, str]] = {
    "glb_mesh": ("glb", True, "GLB: the mesh for viewers and engines, glTF axes (+y up)."),
    "camera_json": ("camera", True, "camera.json: field of view, intrinsics, pose, and how sure they are."),
    "png16": ("png16", True, "16-bit PNG of depth (near = white) and of normals."),
    "exr": ("exr", False, "EXR: float depth, normals, points and mask in one file."),
    "npz": ("npz", False, "NPZ for NumPy: every map, and the intrinsics."),
    "ply_mesh": ("ply", False, "PLY of the mesh with vertex colours, OpenCV axes."),
    "ply_points": ("points", False, "PLY of the coloured points with normals, OpenCV axes."),
    "obj_mesh": ("obj", False, "OBJ of the mesh, with its material and texture beside it."),
}
"""Switch of the node -> the core's format, whether it is on, and its tooltip."""

EVERY_PICTURE = -1


class LotusSaveGeometry(io.ComfyNode):
    """Writes a geometry into ComfyUI's output folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return the node's inputs and outputs."""
        return compat.schema(
            node_id="LotusGeoSaveGeometry",
            display_name="Lotus Save Geometry",
            category=compat.CATEGORY,
            description="Writes the depth, normals, points, mesh and camera of pictures into ComfyUI's output folder: "
            "PNG of 16 bits, EXR, NPZ, GLB, PLY, OBJ and camera.json. Connect glb_path to Preview 3D.",
            search_aliases=["lotus", "export depth", "exr", "npz", "save point cloud", "camera json"],
            is_output_node=True,
            inputs=[
                LotusGeometrySocket.Input("geometry", tooltip="From Lotus Joint or Lotus Fuse Views."),
                io.Int.Input(
                    "picture",
                    default=EVERY_PICTURE,
                    min=EVERY_PICTURE,
                    max=100000,
                    tooltip="Which picture of the batch, from 0. -1: every one.",
                ),
                *(
                    io.Boolean.Input(name, default=default, tooltip=tooltip)
                    for name, (_, default, tooltip) in FORMATS.items()
                ),
                io.Combo.Input(
                    "normal_convention",
                    options=list(CONVENTIONS),
                    default="OpenGL (R right, G up)",
                    tooltip="Of the normals in PNG. EXR and NPZ hold OpenCV's vectors.",
                ),
                io.Boolean.Input(
                    "textured",
                    default=True,
                    tooltip="The picture as a texture of GLB and OBJ; off: a colour for each vertex.",
                ),
                stride_input(),
                io.String.Input(
                    "filename_prefix", default="lotus/geometry", tooltip="Below ComfyUI's output folder."
                ),
            ],
            outputs=[
                io.String.Output(
                    "glb_path",
                    display_name="glb_path",
                    tooltip="The first mesh, relative to the output folder. Nothing is sent where none is written.",
                ),
                io.String.Output(
                    "files",
                    display_name="files",
                    tooltip="Every file, one a line, relative to the output folder.",
                ),
                *compat.file_3d_output("glb", "File3DGLB"),
            ],
        )

    @classmethod
    def execute(
        cls,
        geometry: LotusGeometry,
        picture: int,
        normal_convention: str,
        textured: bool,
        stride: int,
        filename_prefix: str,
        **switches: bool,
    ) -> io.NodeOutput:
        """Write the files."""
        formats: list[GeometryFormat] = [name for switch, (name, _, _) in FORMATS.items() if switches[switch]]
        if not formats:
            raise OptionError("formats", "none", f"at least one of {', '.join(FORMATS)}")
        if normal_convention not in CONVENTIONS:
            raise OptionError("normal_convention", normal_convention, f"one of {', '.join(CONVENTIONS)}")
        if picture < EVERY_PICTURE:
            raise OptionError("picture", picture, "a picture of the batch, or -1 for every one")
        every = range(len(geometry.images)) if picture == EVERY_PICTURE else [picture]
        files: list[Path] = []
        for number in every:
            mm.throw_exception_if_processing_interrupted()
            options = MeshOptions(textured=textured, stride=stride)
            files += write_picture(
                geometry, number, formats, options, CONVENTIONS[normal_convention], filename_prefix
            )
        output = Path(folder_paths.get_output_directory())
        relative = [file.relative_to(output).as_posix() for file in files]
        meshes = [(file, name) for file, name in zip(files, relative, strict=True) if file.suffix == ".glb"]
        shown = {"3d": [compat.saved_result(name) for _, name in meshes]}
        if not meshes:
            blocked = [compat.nothing()] * len(compat.file_3d_output("glb", "File3DGLB"))
            return io.NodeOutput(compat.nothing(), "\n".join(relative), *blocked, ui=shown)
        first, name = meshes[0]
        return io.NodeOutput(name, "\n".join(relative), *compat.file_3d_values(first, "File3DGLB"), ui=shown)


def write_picture(
    geometry: LotusGeometry,
    picture: int,
    formats: Sequence[GeometryFormat],
    options: MeshOptions,
    convention: NormalConvention,
    filename_prefix: str,
) -> list[Path]:
    """Write one picture's files and return them; a fused view's camera.json tells where it stands.

    Raises:
        ModelTaskError: The geometry lacks depth or normals.
        OptionError: No such picture.
        GeometryError: Not one triangle is left.
        MissingExtraError: A format whose library is not installed.
        StorageError: A file cannot be written.
    """
    joint = geometry.resolved(picture)
    stem, _ = output_file(filename_prefix, "")
    place = stem.with_name(stem.name.rstrip("_"))
    posed = geometry.placed is not None and "camera" in formats
    files = save_geometry(
        place.parent,
        place.name,
        joint,
        image=geometry.images[picture, ..., :3].float().cpu(),
        formats=[name for name in formats if name != "camera" or not posed],
        options=options,
        convention=convention,
    )
    if posed and geometry.placed is not None:
        record = replace(geometry_camera(joint), camera=geometry.placed.cameras[picture])
        files.append(write_camera_json(place.with_name(f"{place.name}_camera.json"), record))
    return files
