"""The pack's own socket types."""

from __future__ import annotations

from dataclasses import dataclass

from comfy_api.latest import io
from torch import Tensor

from ..lotus_core.errors import ModelTaskError
from ..lotus_core.inference.model import LotusModel
from ..lotus_core.types import DepthPrediction, NormalPrediction

LotusModelSocket = io.Custom("LOTUS_MODEL")
LotusGeometrySocket = io.Custom("LOTUS_GEOMETRY")

__all__ = ["LotusGeometry", "LotusGeometrySocket", "LotusModel", "LotusModelSocket"]


@dataclass(frozen=True)
class LotusGeometry:
    """What travels on a LOTUS_GEOMETRY link: the pictures and the float maps made from them.

    Attributes:
        images: (B, H, W, 3) float in [0, 1], the pictures that were looked at.
        depth: Their depth or disparity, or None.
        normals: Their normals, or None.
        sequence: "images", or "video": one range for the whole batch when rendered.
    """

    images: Tensor
    depth: DepthPrediction | None = None
    normals: NormalPrediction | None = None
    sequence: str = "images"

    def need_depth(self) -> DepthPrediction:
        """Return the depth.

        Raises:
            ModelTaskError: This geometry holds normals alone.
        """
        if self.depth is None:
            raise ModelTaskError(
                "this geometry holds no depth", found="normals", remedy="connect Lotus Depth or Lotus Joint"
            )
        return self.depth

    def need_normals(self) -> NormalPrediction:
        """Return the normals.

        Raises:
            ModelTaskError: This geometry holds depth alone.
        """
        if self.normals is None:
            raise ModelTaskError(
                "this geometry holds no normals", found="depth", remedy="connect Lotus Normal or Lotus Joint"
            )
        return self.normals
