"""Lotus Fuse Views: several pictures with known cameras become one mesh."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import Any

import comfy.model_management as mm
import torch
from comfy_api.latest import io

from ..lotus_core.errors import OptionError
from ..lotus_core.geometry.multiview import (
    FusedViews,
    FusionOptions,
    common_maps,
    fuse_views,
    opencv_from_world,
    turn_mesh,
    undistort_views,
    view_geometry,
)
from ..lotus_core.io.meshes import WORLD_COMMENT, write_glb, write_ply
from ..lotus_core.types import JointPrediction
from . import compat
from .bridge import StepProgress, to_host, warnings_logged
from .geometry import moge_packets, output_file
from .poses import Poses, check_path, fingerprint, poses_from_files, poses_from_packet
from .sockets import (
    Da3GeometrySocket,
    LotusGeometry,
    LotusGeometrySocket,
    MogeGeometrySocket,
    PlacedViews,
)


def find_poses(geometry: LotusGeometry, cameras: str, names: str, da3_geometry: Any) -> Poses:
    """Return the cameras of a geometry's pictures, from the one source that was given.

    Raises:
        OptionError: No source, two, or one that leads nowhere.
        GeometryError: The source does not fit the pictures.
    """
    if (da3_geometry is not None) == bool(cameras.strip()):
        found = "both" if da3_geometry is not None else "neither"
        raise OptionError("cameras", found, "either a path or a connected da3_geometry")
    if da3_geometry is not None:
        return poses_from_packet(da3_geometry)
    count, height, width = geometry.images.shape[:3]
    return poses_from_files(cameras, names, count, height, width)


def fused_geometry(
    geometry: LotusGeometry, straight: JointPrediction, images: torch.Tensor, fused: FusedViews, poses: Poses
) -> LotusGeometry:
    """Return the views with their resolved depth: one scale for all, in the unit of the poses.

    Args:
        geometry: That went in.
        straight: Its maps without the lenses' distortion.
        images: (B, H, W, 3) float, its pictures without it.
        fused: What was made of them.
        poses: Their cameras.
    """
    return LotusGeometry(
        to_host(images),
        depth=replace(straight.depth, values=torch.stack(common_maps(fused))),
        normals=straight.normals,
        sequence="video",  # one range for all views when painted: their depths can be compared now
        refine=geometry.refine,
        placed=PlacedViews(poses.cameras, partial(view_geometry, fused, straight, poses.cameras)),
    )


def report(fused: FusedViews, poses: Poses) -> dict[str, Any]:
    """Return how well the views fit together, for people and scripts."""
    agreement = fused.alignment.agreement
    return {
        "views": len(poses.cameras),
        "pictures": list(poses.names),
        "agreement": [round(float(share), 4) for share in agreement.agreement],
        "overlap": [round(float(share), 4) for share in agreement.overlap],
        "scale_spread": round(agreement.scale_spread, 5),
        "known_depths": 0 if poses.anchors is None else len(poses.anchors.view),
        "voxel": fused.voxel,
        "vertices": len(fused.mesh.vertices),
        "triangles": len(fused.mesh.faces),
    }


class LotusFuseViews(io.ComfyNode):
    """Fuses several views into one mesh."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return the node's inputs and outputs."""
        return compat.schema(
            node_id="LotusGeoFuseViews",
            display_name="Lotus Fuse Views",
            category=compat.CATEGORY,
            description="Fuses 2 to 100 pictures of one scene, taken with known cameras from different places, into "
            "one coloured mesh. The cameras come from a transforms.json (NeRF, Nerfstudio), a COLMAP model or Depth "
            "Anything 3. Poses that don't match the pictures are refused.",
            search_aliases=["lotus", "multi-view", "photogrammetry", "colmap", "transforms.json", "tsdf"],
            is_output_node=True,
            inputs=_inputs(),
            outputs=_outputs(),
        )

    @classmethod
    def validate_inputs(cls, cameras: str | None) -> bool | str:
        """Tell a wrong path before any model runs."""
        return check_path(cameras)  # an empty one means the input folder, which is there

    @classmethod
    def fingerprint_inputs(cls, cameras: str | None = None, **_: Any) -> str:
        """Notice cameras that changed on disk."""
        return fingerprint(cameras) if cameras and cameras.strip() else ""

    @classmethod
    def execute(
        cls,
        geometry: LotusGeometry,
        cameras: str,
        voxel: float,
        filename_prefix: str,
        least_support: int = 1,
        least_agreement: float = 0.75,
        names: str = "",
        da3_geometry: Any = None,
    ) -> io.NodeOutput:
        """Fuse and write."""
        mm.throw_exception_if_processing_interrupted()
        chosen = FusionOptions(
            voxel=None if voxel == 0.0 else voxel,
            refine=geometry.refine,
            least_support=least_support,
            least_agreement=least_agreement,
        )
        poses = find_poses(geometry, cameras, names, da3_geometry)
        with warnings_logged():
            straight, images, seen = undistort_views(
                geometry.joint(), geometry.images, poses.cameras, poses.lenses
            )
            fused = fuse_views(
                straight,
                poses.cameras,
                poses.anchors,
                images=list(images),
                masks=list(seen),
                options=chosen,
                progress=StepProgress(),
            )
        upright = turn_mesh(fused.mesh, opencv_from_world(poses.cameras))
        path, relative = output_file(filename_prefix, ".glb")
        write_glb(path, upright)
        write_ply(path.with_suffix(".ply"), fused.mesh, comment=WORLD_COMMENT)
        placed = fused_geometry(geometry, straight, images, fused, poses)
        return io.NodeOutput(
            compat.native_mesh(upright),
            relative,
            moge_packets(placed),
            placed,
            relative.removesuffix(".glb") + ".ply",
            json.dumps(report(fused, poses)),
            *compat.file_3d_values(path, "File3DGLB"),
        )


def _inputs() -> list[Any]:
    return [
        LotusGeometrySocket.Input("geometry", tooltip="Lotus Joint of a batch: one picture for each camera."),
        io.String.Input(
            "cameras",
            default="",
            placeholder="my-scene/transforms.json",
            tooltip="Below ComfyUI's input folder: a transforms.json, a COLMAP model, or a folder with one. Leave it "
            "empty if da3_geometry is connected.",
        ),
        io.Float.Input(
            "voxel",
            default=0.0,
            min=0.0,
            max=1000.0,
            step=0.001,
            round=False,
            tooltip="Finest detail of the mesh, in the poses' unit. 0: the scene's longest side / 256.",
        ),
        io.String.Input("filename_prefix", default="lotus/fused", tooltip="Below ComfyUI's output folder."),
        compat.advanced(
            io.Int,
            "least_support",
            default=1,
            min=0,
            max=6,
            optional=True,
            tooltip="How many other views must see a pixel's surface in the same place. 0 keeps everything, also what "
            "flies between surfaces.",
        ),
        compat.advanced(
            io.Float,
            "least_agreement",
            default=0.75,
            min=0.0,
            max=1.0,
            step=0.05,
            optional=True,
            tooltip="Share of what neighbouring views both see that they must put in the same place, or the poses are "
            "taken for wrong. 0 takes whatever comes out.",
        ),
        compat.advanced(
            io.String,
            "names",
            default="",
            multiline=True,
            optional=True,
            tooltip="File names of the pictures in the batch's order, one a line. Empty: the batch holds every "
            "picture that the cameras name, sorted by name.",
        ),
        Da3GeometrySocket.Input(
            "da3_geometry",
            optional=True,
            tooltip="Cameras and scale from ComfyUI's Depth Anything 3 in multi-view mode, of the same batch.",
        ),
    ]


def _outputs() -> list[Any]:
    return [
        io.Mesh.Output("mesh", display_name="mesh", tooltip="For ComfyUI's mesh nodes, glTF axes, upright."),
        io.String.Output("glb_path", display_name="glb_path", tooltip="Relative to the output folder."),
        MogeGeometrySocket.Output(
            "moge_geometry", display_name="moge_geometry", tooltip="Every view, for ComfyUI's MoGe nodes."
        ),
        LotusGeometrySocket.Output(
            "fused_geometry",
            display_name="fused_geometry",
            tooltip="Every view with its camera and its depth on the common scale.",
        ),
        io.String.Output(
            "ply_path",
            display_name="ply_path",
            tooltip="The mesh in the world of the poses, relative to the output folder.",
        ),
        io.String.Output(
            "report",
            display_name="report",
            tooltip="JSON: how well the views fit together, and the mesh's size.",
        ),
        *compat.file_3d_output("glb", "File3DGLB"),
    ]
