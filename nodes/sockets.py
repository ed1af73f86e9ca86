"""The pack's own socket types."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from comfy_api.latest import io
from torch import Tensor

from ..lotus_core.errors import ModelTaskError, OptionError
from ..lotus_core.geometry.camera import Camera
from ..lotus_core.geometry.joint import JointGeometry, resolve_geometry
from ..lotus_core.inference.model import LotusModel
from ..lotus_core.types import DepthPrediction, JointPrediction, NormalPrediction

LotusModelSocket = io.Custom("LOTUS_MODEL")
LotusGeometrySocket = io.Custom("LOTUS_GEOMETRY")
MogeGeometrySocket = io.Custom("MOGE_GEOMETRY")
Da3GeometrySocket = io.Custom("DA3_GEOMETRY")

__all__ = [
    "Da3GeometrySocket",
    "LotusGeometry",
    "LotusGeometrySocket",
    "LotusModel",
    "LotusModelSocket",
    "MogeGeometrySocket",
    "PlacedViews",
]


@dataclass(frozen=True)
class PlacedViews:
    """What is known of a batch of views after they were fused.

    Attributes:
        cameras: One for each view, in the world of the poses.
        geometry: Gives the resolved geometry of one view, a batch of one, in the unit of the poses.
    """

    cameras: tuple[Camera, ...]
    geometry: Callable[[int], JointGeometry]


@dataclass(frozen=True)
class LotusGeometry:
    """What travels on a LOTUS_GEOMETRY link: the pictures and the float maps made from them.

    Attributes:
        images: (B, H, W, 3) float in [0, 1], the pictures that were looked at.
        depth: Their depth or disparity, or None.
        normals: Their normals, or None.
        sequence: "images", or "video": one range for the whole batch when rendered.
        fov_x_deg: Known horizontal field of view in degrees, or None to estimate it.
        refine: Whether the normals refine the resolved depth.
        placed: Cameras and resolved depth of views that were fused, or None. The field of view and ``refine``
            then mean nothing any more.
    """

    images: Tensor
    depth: DepthPrediction | None = None
    normals: NormalPrediction | None = None
    sequence: str = "images"
    fov_x_deg: float | None = None
    refine: bool = True
    placed: PlacedViews | None = None

    def resolved(self, picture: int) -> JointGeometry:
        """Return the camera and surface of one picture, a batch of one.

        It is estimated once and kept; that of fused views is known, and put together each time.

        Raises:
            ModelTaskError: This geometry lacks depth or normals.
            OptionError: No such picture.
        """
        count = len(self.images)
        if not 0 <= picture < count:
            raise OptionError("picture", picture, f"0 to {count - 1}: the batch holds {count}")
        if self.placed is not None:
            return self.placed.geometry(picture)
        if picture not in self._kept:
            depth, normals = self.need_depth(), self.need_normals()
            self._kept[picture] = resolve_geometry(
                replace(depth, values=depth.values[picture : picture + 1], uncertainty=None),
                replace(normals, vectors=normals.vectors[picture : picture + 1], uncertainty=None),
                fov_x_deg=self.fov_x_deg,
                refine=self.refine,
            )
        return self._kept[picture]

    def joint(self) -> JointPrediction:
        """Return depth and normals together.

        Raises:
            ModelTaskError: This geometry lacks one of them.
        """
        return JointPrediction(self.need_depth(), self.need_normals())

    @cached_property
    def _kept(self) -> dict[int, JointGeometry]:
        return {}

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
