"""The pack's list of nodes."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from . import folders
from .fuse import LotusFuseViews
from .geometry import LotusCamera, LotusGeometryToMesh, LotusGeometryToPointCloud
from .infer import LotusDepth, LotusJoint, LotusNormal, LotusReconstruct
from .load import LoadLotusModel
from .render import RenderLotusDepth, RenderLotusNormal
from .save import LotusSaveGeometry
from .video import LotusVideo
from .views import LotusLoadViews


class LotusGeometryExtension(ComfyExtension):
    """Lotus Geometry, as ComfyUI loads it."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Make the pack's model folder known, and return every node."""
        folders.register()
        return [
            LoadLotusModel,
            LotusDepth,
            LotusNormal,
            LotusJoint,
            RenderLotusDepth,
            RenderLotusNormal,
            LotusReconstruct,
            LotusGeometryToMesh,
            LotusGeometryToPointCloud,
            LotusCamera,
            LotusLoadViews,
            LotusFuseViews,
            LotusSaveGeometry,
            LotusVideo,
        ]
