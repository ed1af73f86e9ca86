"""Render Lotus Depth, Render Lotus Normal: pictures of float maps, without running a model again."""

from __future__ import annotations

from comfy_api.latest import io, ui
from torch import Tensor

from ..lotus_core.conventions import NormalConvention
from ..lotus_core.errors import ModelTaskError, OptionError
from ..lotus_core.rendering.colormap import COLORMAPS
from ..lotus_core.rendering.depth import colorize_depth, depth_hint
from ..lotus_core.rendering.normal import normal_rgb
from ..lotus_core.rendering.ranges import Scope
from ..lotus_core.rendering.uncertainty import colorize_uncertainty
from . import compat
from .bridge import to_host
from .sockets import LotusGeometry, LotusGeometrySocket

HINT = "hint (near white)"
UNCERTAINTY = "uncertainty"
STYLES = (HINT, *COLORMAPS, UNCERTAINTY)
CONVENTIONS = {
    "lotus / normalbae (R left, G up)": NormalConvention.LOTUS,
    "OpenGL (R right, G up)": NormalConvention.OPENGL,
    "DirectX (R right, G down)": NormalConvention.DIRECTX,
    "OpenCV (R right, G down, B away)": NormalConvention.OPENCV,
}


def _percentile_inputs() -> list[object]:
    return [
        io.Float.Input(
            "low_percentile",
            default=1.0,
            min=0.0,
            max=49.0,
            step=0.5,
            tooltip="This share of the pixels, in percent, is clipped at the low end of the range.",
        ),
        io.Float.Input(
            "high_percentile",
            default=99.0,
            min=51.0,
            max=100.0,
            step=0.5,
            tooltip="Pixels above this percentile are clipped at the high end.",
        ),
        io.Combo.Input(
            "range_over",
            options=["auto", "image", "sequence"],
            default="auto",
            tooltip="One range for each picture, or one for the whole batch, so that a clip does not flicker. "
            "auto: the whole batch if it was estimated as video.",
        ),
    ]


def _scope(range_over: str, geometry: LotusGeometry) -> Scope:
    if range_over == "auto":
        return "sequence" if geometry.sequence == "video" else "image"
    return range_over  # type: ignore[return-value]  # the core checks it


class RenderLotusDepth(io.ComfyNode):
    """Paints depth."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return the node's inputs and outputs."""
        return compat.schema(
            node_id="LotusGeoRenderDepth",
            display_name="Render Lotus Depth",
            category=compat.CATEGORY,
            description="Paints the depth of a geometry: a ControlNet hint, grey or coloured pictures, or the "
            "uncertainty of an ensemble. Runs no model.",
            search_aliases=["lotus", "depth colormap", "depth to image", "turbo", "spectral"],
            inputs=[
                LotusGeometrySocket.Input("geometry", tooltip="From Lotus Depth or Lotus Joint."),
                io.Combo.Input(
                    "style",
                    options=list(STYLES),
                    default="spectral",
                    tooltip="hint: near = white for ControlNet. grey, spectral, turbo: near is the white or warm "
                    "end. uncertainty: needs an ensemble of a G checkpoint.",
                ),
                io.Boolean.Input("reverse", default=False, tooltip="Far at the white or warm end instead."),
                *_percentile_inputs(),
            ],
            outputs=[io.Image.Output("image", display_name="image")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        geometry: LotusGeometry,
        style: str,
        reverse: bool,
        low_percentile: float,
        high_percentile: float,
        range_over: str,
    ) -> io.NodeOutput:
        """Paint."""
        depth = geometry.need_depth()
        scope = _scope(range_over, geometry)
        percentiles = (low_percentile, high_percentile)
        if style == UNCERTAINTY:
            picture = colorize_uncertainty(_need_uncertainty(depth.uncertainty), reverse=reverse, scope=scope)
        elif style == HINT:
            picture = depth_hint(depth.values, depth.kind, percentiles=percentiles, scope=scope)
            picture = 1.0 - picture if reverse else picture
        else:
            if style not in COLORMAPS:
                raise OptionError("style", style, f"one of {', '.join(STYLES)}")
            picture = colorize_depth(
                depth.values,
                depth.kind,
                colormap=style,
                reverse=reverse,
                percentiles=percentiles,
                scope=scope,
            )
        picture = to_host(picture)
        return io.NodeOutput(picture, ui=ui.PreviewImage(picture, cls=cls))


class RenderLotusNormal(io.ComfyNode):
    """Paints normals."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return the node's inputs and outputs."""
        return compat.schema(
            node_id="LotusGeoRenderNormal",
            display_name="Render Lotus Normal",
            category=compat.CATEGORY,
            description="Paints the normals of a geometry in the convention that the next tool expects. Runs no model.",
            search_aliases=["lotus", "normal map convention", "opengl normal", "directx normal", "normalbae"],
            inputs=[
                LotusGeometrySocket.Input("geometry", tooltip="From Lotus Normal or Lotus Joint."),
                io.Combo.Input(
                    "convention",
                    options=list(CONVENTIONS),
                    default=next(iter(CONVENTIONS)),
                    tooltip="normalbae: ControlNet 1.1. OpenGL: Blender, Unity, glTF. DirectX: Unreal.",
                ),
                io.Boolean.Input(
                    "uncertainty",
                    default=False,
                    tooltip="Paint the ensemble's uncertainty in degrees instead.",
                ),
            ],
            outputs=[io.Image.Output("image", display_name="image")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, geometry: LotusGeometry, convention: str, uncertainty: bool) -> io.NodeOutput:
        """Paint."""
        normals = geometry.need_normals()
        if uncertainty:
            picture = colorize_uncertainty(
                _need_uncertainty(normals.uncertainty), scope=_scope("auto", geometry)
            )
        elif convention in CONVENTIONS:
            picture = normal_rgb(normals.vectors, CONVENTIONS[convention])
        else:
            raise OptionError("convention", convention, f"one of {', '.join(CONVENTIONS)}")
        picture = to_host(picture)
        return io.NodeOutput(picture, ui=ui.PreviewImage(picture, cls=cls))


def _need_uncertainty(uncertainty: Tensor | None) -> Tensor:
    if uncertainty is None:
        raise ModelTaskError(
            "this geometry carries no uncertainty",
            found="a single map",
            remedy="use a G checkpoint with ensemble_size 2 or more",
        )
    return uncertainty
