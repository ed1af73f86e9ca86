"""Lotus Geometry to Mesh, to Point Cloud, Lotus Camera: from maps to surfaces."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import comfy.model_management as mm
import folder_paths
import torch
from comfy_api.latest import io

from ..lotus_core.geometry.camera import fov_from_focal
from ..lotus_core.geometry.joint import JointGeometry
from ..lotus_core.io.atomic import storage_error
from ..lotus_core.io.geometry_files import MeshOptions, geometry_mesh, geometry_points
from ..lotus_core.io.meshes import write_glb, write_ply
from . import compat
from .sockets import LotusGeometry, LotusGeometrySocket, MogeGeometrySocket


def picture_input() -> Any:
    """Return the input that picks one picture of a batch."""
    return io.Int.Input(
        "picture", default=0, min=0, max=100000, tooltip="Which picture of the batch, from 0."
    )


def stride_input() -> Any:
    """Return the input that thins the grid."""
    return io.Int.Input(
        "stride", default=1, min=1, max=64, tooltip="Every n-th pixel: 2 gives a quarter of the points."
    )


def output_file(prefix: str, suffix: str) -> tuple[Path, str]:
    """Return a new file in ComfyUI's output folder: its path, and the same relative to that folder.

    Raises:
        StorageError: The folder cannot be made or read.
    """
    output = folder_paths.get_output_directory()
    try:
        folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(prefix, output)
    except OSError as error:
        raise storage_error(error, Path(output) / prefix) from error
    file = f"{name}_{counter:05}_{suffix}"
    return Path(folder) / file, f"{subfolder}/{file}" if subfolder else file


def moge_packet(geometry: LotusGeometry, picture: int) -> dict[str, Any]:
    """Return what drives ComfyUI's native geometry nodes, of one picture.

    points (1, H, W, 3) and depth (1, H, W), infinite where invalid; intrinsics (1, 3, 3) in shares of width and
    height; mask (1, H, W) bool; normal and image (1, H, W, 3). OpenCV axes, all on the CPU.
    """
    joint = geometry.resolved(picture)
    mask = joint.valid & ~joint.clipped
    height, width = mask.shape[1:]
    shares = joint.intrinsics.new_tensor([1.0 / width, 1.0 / height, 1.0])
    return {
        "points": joint.points.masked_fill(~mask[..., None], math.inf),
        "depth": joint.depth.masked_fill(~mask, math.inf),
        "intrinsics": joint.intrinsics * shares[:, None],
        "mask": mask,
        "normal": joint.normals,
        "image": geometry.images[picture : picture + 1, ..., :3].float().cpu(),
    }


def moge_packets(geometry: LotusGeometry) -> dict[str, Any]:
    """Return the packet of `moge_packet` with every picture of the batch."""
    packets = [moge_packet(geometry, picture) for picture in range(len(geometry.images))]
    return {key: torch.cat([packet[key] for packet in packets]) for key in packets[0]}


class LotusGeometryToMesh(io.ComfyNode):
    """Makes a mesh of one picture."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return the node's inputs and outputs."""
        return compat.schema(
            node_id="LotusGeoMesh",
            display_name="Lotus Geometry to Mesh",
            category=compat.CATEGORY,
            description="Turns the depth and normals of Lotus Joint into a triangle mesh, cut where one surface ends "
            "before another, and writes it as GLB. Connect glb_path to Preview 3D.",
            search_aliases=["lotus", "depth to mesh", "glb", "3d model from image"],
            is_output_node=True,
            inputs=[
                LotusGeometrySocket.Input("geometry", tooltip="From Lotus Joint: depth and normals."),
                picture_input(),
                io.Boolean.Input(
                    "textured",
                    default=True,
                    tooltip="The picture as a texture; off: a colour for each vertex.",
                ),
                stride_input(),
                io.String.Input(
                    "filename_prefix", default="lotus/mesh", tooltip="Below ComfyUI's output folder."
                ),
            ],
            outputs=[
                io.Mesh.Output("mesh", display_name="mesh", tooltip="For ComfyUI's mesh nodes, glTF axes."),
                io.String.Output(
                    "glb_path", display_name="glb_path", tooltip="Relative to the output folder."
                ),
                MogeGeometrySocket.Output(
                    "moge_geometry", display_name="moge_geometry", tooltip="Drives ComfyUI's MoGe nodes."
                ),
                *compat.file_3d_output("glb", "File3DGLB"),
            ],
        )

    @classmethod
    def execute(
        cls, geometry: LotusGeometry, picture: int, textured: bool, stride: int, filename_prefix: str
    ) -> io.NodeOutput:
        """Build and write it."""
        mm.throw_exception_if_processing_interrupted()
        mesh = geometry_mesh(
            geometry.resolved(picture),
            image=geometry.images[picture, ..., :3].cpu(),
            options=MeshOptions(textured=textured, stride=stride),
        )
        path, relative = output_file(filename_prefix, ".glb")
        write_glb(path, mesh)
        packet = moge_packet(geometry, picture)
        return io.NodeOutput(
            compat.native_mesh(mesh), relative, packet, *compat.file_3d_values(path, "File3DGLB")
        )


class LotusGeometryToPointCloud(io.ComfyNode):
    """Makes a point cloud of one picture."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return the node's inputs and outputs."""
        return compat.schema(
            node_id="LotusGeoPointCloud",
            display_name="Lotus Geometry to Point Cloud",
            category=compat.CATEGORY,
            description="Turns the depth and normals of Lotus Joint into coloured points with normals, and writes them "
            "as binary PLY in OpenCV axes (+x right, +y down, +z forward).",
            search_aliases=["lotus", "depth to points", "ply", "point cloud from image"],
            is_output_node=True,
            inputs=[
                LotusGeometrySocket.Input("geometry", tooltip="From Lotus Joint: depth and normals."),
                picture_input(),
                stride_input(),
                io.String.Input(
                    "filename_prefix", default="lotus/points", tooltip="Below ComfyUI's output folder."
                ),
            ],
            outputs=[
                io.String.Output(
                    "ply_path", display_name="ply_path", tooltip="Relative to the output folder."
                ),
                *compat.file_3d_output("ply", "File3DPLY"),
            ],
        )

    @classmethod
    def execute(
        cls, geometry: LotusGeometry, picture: int, stride: int, filename_prefix: str
    ) -> io.NodeOutput:
        """Build and write it."""
        mm.throw_exception_if_processing_interrupted()
        cloud = geometry_points(
            geometry.resolved(picture),
            image=geometry.images[picture, ..., :3].cpu(),
            options=MeshOptions(stride=stride),
        )
        path, relative = output_file(filename_prefix, ".ply")
        write_ply(path, cloud)
        return io.NodeOutput(relative, *compat.file_3d_values(path, "File3DPLY"))


class LotusCamera(io.ComfyNode):
    """Tells the camera of one picture."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return the node's inputs and outputs."""
        return compat.schema(
            node_id="LotusGeoCamera",
            display_name="Lotus Camera",
            category=compat.CATEGORY,
            description="The camera that depth and normals agree on: field of view, focal length, intrinsics, and how "
            "sure the estimate is. Where a picture does not tell its focal length, 60 degrees are assumed, and said.",
            search_aliases=["lotus", "fov", "field of view", "focal length", "intrinsics"],
            inputs=[
                LotusGeometrySocket.Input("geometry", tooltip="From Lotus Joint: depth and normals."),
                picture_input(),
            ],
            outputs=[
                io.Float.Output("fov_x_deg", display_name="fov_x_deg", tooltip="Horizontal, degrees."),
                io.Float.Output("fov_y_deg", display_name="fov_y_deg", tooltip="Vertical, degrees."),
                io.Float.Output("focal_px", display_name="focal_px", tooltip="Pixels of the picture."),
                io.String.Output(
                    "intrinsics",
                    display_name="intrinsics",
                    tooltip="JSON: 3x3 matrix in pixels, size, confidence.",
                ),
            ],
        )

    @classmethod
    def execute(cls, geometry: LotusGeometry, picture: int) -> io.NodeOutput:
        """Resolve the camera."""
        joint = geometry.resolved(picture)
        height, width = joint.depth.shape[1:]
        focal_x, focal_y = joint.intrinsics[0, 0, 0].item(), joint.intrinsics[0, 1, 1].item()
        text = json.dumps(camera_facts(joint, height, width))
        return io.NodeOutput(fov_from_focal(focal_x, width), fov_from_focal(focal_y, height), focal_x, text)


def camera_facts(joint: JointGeometry, height: int, width: int) -> dict[str, Any]:
    """Return what is known of a camera, for people and scripts; sd_log_focal is None where nothing was fitted."""
    sd = joint.calibration.sd_log_focal[0].item()
    return {
        "intrinsics_px": joint.intrinsics[0].tolist(),
        "width": width,
        "height": height,
        "convention": "OpenCV: +x right, +y down, +z forward; pixel centres at +0.5",
        "focal_source": joint.focal_source[0],
        "reason": joint.calibration.reason[0],
        "sd_log_focal": sd if math.isfinite(sd) else None,
    }
