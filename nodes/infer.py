"""Lotus Depth, Lotus Normal, Lotus Joint, Lotus Reconstruct: pictures in, maps out."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ..lotus_core.geometry.camera import check_fov
from ..lotus_core.inference.options import InferenceOptions
from ..lotus_core.inference.predict import reconstruct
from ..lotus_core.predict import predict_depth, predict_joint, predict_normals
from ..lotus_core.rendering.depth import depth_hint
from ..lotus_core.rendering.normal import normal_rgb
from ..lotus_core.types import DepthPrediction, NormalPrediction
from ..lotus_core.video.painter import ClipOptions
from . import compat
from .bridge import CHECKPOINT_SIZE, SIZES, NodeProgress, options, to_host, warnings_logged
from .sockets import LotusGeometry, LotusGeometrySocket, LotusModel, LotusModelSocket

_FRAMES_SHOWN = 16  # of a clip: each is a PNG in the temporary folder
_ALIASES = ["lotus", "geometry", "controlnet preprocessor", "estimate"]


def _image_inputs() -> list[Any]:
    return [
        io.Image.Input("image", tooltip="One picture or a batch, any size from 16x16 up."),
        *image_size_inputs(),
    ]


def image_size_inputs() -> list[Any]:
    """Return the inputs that choose the size at which the network works."""
    return [
        io.Combo.Input(
            "working_size",
            options=list(SIZES),
            default=CHECKPOINT_SIZE,
            tooltip="Size at which the network sees the picture. Results always have the picture's own size. "
            "checkpoint default: 768 for the published ones. custom: the resolution below.",
        ),
        io.Int.Input(
            "resolution",
            default=768,
            min=16,
            max=8192,
            step=8,
            tooltip="Longest side in pixels, for working_size custom. Higher: finer, slower, more memory.",
        ),
    ]


def seed_input() -> Any:
    """Return the input for the noise."""
    return io.Int.Input(
        "seed",
        default=0,
        min=0,
        max=2**63 - 1,
        control_after_generate=True,
        tooltip="Noise of generative (G) checkpoints. Discriminative (D) ones ignore it.",
    )


def carry_input(*, optional: bool = True) -> Any:
    """Return the input for what one frame of a clip hands to the next."""
    return io.Float.Input(
        "carry",
        default=0.1,
        min=0.0,
        max=0.9,
        step=0.05,
        optional=optional,
        tooltip="Video and G checkpoints: share of the previous frame's result in the noise, for calm. 0: off. "
        "D checkpoints ignore it.",
    )


def _noise_inputs() -> list[Any]:
    return [
        seed_input(),
        io.Int.Input(
            "ensemble_size",
            default=1,
            min=1,
            max=64,
            tooltip="G checkpoints: number of noises whose maps are aligned and merged; from 2 on the geometry "
            "carries an uncertainty map. D checkpoints take 1.",
        ),
    ]


def _run_inputs() -> list[Any]:
    return [
        compat.advanced(
            io.Int,
            "batch_size",
            default=0,
            min=0,
            max=256,
            tooltip="Pictures computed at once. 0 chooses from the free memory.",
        ),
        compat.advanced(
            io.Combo,
            "sequence",
            options=["images", "video"],
            default="images",
            tooltip="video: consecutive frames of one clip. Depth is freed of pumping from frame to frame, and "
            "painted with one range for the whole clip.",
        ),
        compat.advanced(
            io.Combo,
            "upsample",
            options=["bilinear", "nearest-exact"],
            default="bilinear",
            tooltip="How the map is brought to the picture's size.",
        ),
    ]


def _clip(chosen: InferenceOptions, carry: float) -> ClipOptions | None:
    return ClipOptions(carry=carry) if chosen.sequence == "video" else None


def _shown(pictures: Tensor, chosen: InferenceOptions) -> Tensor:
    """Return what the node previews: every picture of a batch, some frames of a clip."""
    if chosen.sequence == "images" or len(pictures) <= _FRAMES_SHOWN:
        return pictures
    return pictures[torch.linspace(0, len(pictures) - 1, _FRAMES_SHOWN).round().long()]


def _hint(prediction: DepthPrediction, sequence: str) -> Tensor:
    scope = "sequence" if sequence == "video" else "image"
    return to_host(depth_hint(prediction.values, prediction.kind, scope=scope))


def _colours(prediction: NormalPrediction) -> Tensor:
    return to_host(normal_rgb(prediction.vectors))


class LotusDepth(io.ComfyNode):
    """Estimates depth."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return the node's inputs and outputs."""
        return compat.schema(
            node_id="LotusGeoDepth",
            display_name="Lotus Depth",
            category=compat.CATEGORY,
            description="Estimates the depth of pictures. The hint is ready for a depth ControlNet: near is white, "
            "whether the checkpoint estimates depth or disparity. The geometry keeps the float values.",
            search_aliases=[*_ALIASES, "depth map", "disparity", "depth controlnet"],
            inputs=[
                LotusModelSocket.Input("lotus_model", tooltip="A depth or disparity checkpoint."),
                *_image_inputs(),
                *_noise_inputs(),
                *_run_inputs(),
                carry_input(),
            ],
            outputs=[
                io.Image.Output("hint", display_name="hint", tooltip="Near = white, for a depth ControlNet."),
                LotusGeometrySocket.Output("geometry", display_name="geometry", tooltip="The float maps."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        lotus_model: LotusModel,
        image: Tensor,
        working_size: str,
        resolution: int,
        carry: float = 0.1,
        **widgets: Any,
    ) -> io.NodeOutput:
        """Run the model."""
        chosen = options(working_size, resolution, **widgets)
        clip = _clip(chosen, carry)
        with warnings_logged():
            depth = predict_depth(lotus_model, image, chosen, clip=clip, progress=NodeProgress())
        hint = _hint(depth, chosen.sequence)
        geometry = LotusGeometry(image, depth=depth, sequence=chosen.sequence)
        return io.NodeOutput(hint, geometry, ui=ui.PreviewImage(_shown(hint, chosen), cls=cls))


class LotusNormal(io.ComfyNode):
    """Estimates surface normals."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return the node's inputs and outputs."""
        return compat.schema(
            node_id="LotusGeoNormal",
            display_name="Lotus Normal",
            category=compat.CATEGORY,
            description="Estimates the surface normals of pictures. The hint is ready for a normalbae ControlNet "
            "(red left, green up, blue toward the camera); Render Lotus Normal paints other conventions.",
            search_aliases=[*_ALIASES, "normal map", "normalbae", "surface normals"],
            inputs=[
                LotusModelSocket.Input("lotus_model", tooltip="A normal checkpoint."),
                *_image_inputs(),
                *_noise_inputs(),
                *_run_inputs(),
                carry_input(),
            ],
            outputs=[
                io.Image.Output("hint", display_name="hint", tooltip="In normalbae's colours."),
                LotusGeometrySocket.Output("geometry", display_name="geometry", tooltip="The float maps."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        lotus_model: LotusModel,
        image: Tensor,
        working_size: str,
        resolution: int,
        carry: float = 0.1,
        **widgets: Any,
    ) -> io.NodeOutput:
        """Run the model."""
        chosen = options(working_size, resolution, **widgets)
        clip = _clip(chosen, carry)
        with warnings_logged():
            normals = predict_normals(lotus_model, image, chosen, clip=clip, progress=NodeProgress())
        hint = _colours(normals)
        geometry = LotusGeometry(image, normals=normals, sequence=chosen.sequence)
        return io.NodeOutput(hint, geometry, ui=ui.PreviewImage(_shown(hint, chosen), cls=cls))


class LotusJoint(io.ComfyNode):
    """Estimates depth and normals together."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return the node's inputs and outputs."""
        return compat.schema(
            node_id="LotusGeoJoint",
            display_name="Lotus Joint",
            category=compat.CATEGORY,
            description="Estimates depth and normals of the same pictures; checkpoints with the same VAE share one "
            "encoding, which is cheaper than two nodes.",
            search_aliases=[*_ALIASES, "depth and normals", "depth map", "normal map"],
            inputs=[
                LotusModelSocket.Input("depth_model", tooltip="A depth or disparity checkpoint."),
                LotusModelSocket.Input("normal_model", tooltip="A normal checkpoint."),
                *_image_inputs(),
                *_noise_inputs(),
                *_run_inputs(),
                io.Float.Input(
                    "fov_x_deg",
                    default=0.0,
                    min=0.0,
                    max=170.0,
                    step=0.1,
                    optional=True,
                    tooltip="Horizontal field of view of the camera, if you know it; 0 estimates it from the maps. "
                    "For meshes, points and cameras; the maps do not depend on it.",
                ),
                io.Boolean.Input(
                    "refine",
                    default=True,
                    optional=True,
                    tooltip="Sharpen meshes and points: the normals refine the depth. The maps do not depend on it.",
                ),
                carry_input(),
            ],
            outputs=[
                io.Image.Output("depth_hint", display_name="depth_hint", tooltip="Near = white."),
                io.Image.Output("normal_hint", display_name="normal_hint", tooltip="In normalbae's colours."),
                LotusGeometrySocket.Output("geometry", display_name="geometry", tooltip="The float maps."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        depth_model: LotusModel,
        normal_model: LotusModel,
        image: Tensor,
        working_size: str,
        resolution: int,
        fov_x_deg: float = 0.0,
        refine: bool = True,
        carry: float = 0.1,
        **widgets: Any,
    ) -> io.NodeOutput:
        """Run both models."""
        chosen = options(working_size, resolution, **widgets)
        known_fov = None if fov_x_deg == 0.0 else check_fov(fov_x_deg)
        with warnings_logged():
            joint = predict_joint(
                depth_model,
                normal_model,
                image,
                chosen,
                clip=_clip(chosen, carry),
                progress=NodeProgress(),
                resolve=False,
            )  # cameras and surfaces are resolved picture by picture, by the nodes that ask for them
        depth, normal = _hint(joint.depth, chosen.sequence), _colours(joint.normals)
        geometry = LotusGeometry(
            image,
            depth=joint.depth,
            normals=joint.normals,
            sequence=chosen.sequence,
            fov_x_deg=known_fov,
            refine=refine,
        )
        shown = torch.cat([_shown(depth, chosen), _shown(normal, chosen)])
        return io.NodeOutput(depth, normal, geometry, ui=ui.PreviewImage(shown, cls=cls))


class LotusReconstruct(io.ComfyNode):
    """Gives the picture back through the detail preserver's switch."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return the node's inputs and outputs."""
        return compat.schema(
            node_id="LotusGeoReconstruct",
            display_name="Lotus Reconstruct",
            category=compat.CATEGORY,
            description="Gives the pictures back with the task switcher on reconstruction: what is missing here, "
            "the model did not see.",
            search_aliases=[*_ALIASES, "detail preserver", "reconstruction"],
            inputs=[
                LotusModelSocket.Input("lotus_model", tooltip="Any Lotus checkpoint."),
                *_image_inputs(),
                _noise_inputs()[0],
                *_run_inputs(),
            ],
            outputs=[io.Image.Output("reconstruction", display_name="reconstruction")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls, lotus_model: LotusModel, image: Tensor, working_size: str, resolution: int, **widgets: Any
    ) -> io.NodeOutput:
        """Run the model."""
        chosen = options(working_size, resolution, **widgets)
        with warnings_logged():
            result = to_host(reconstruct(lotus_model, image, chosen, progress=NodeProgress()).images)
        return io.NodeOutput(result, ui=ui.PreviewImage(result, cls=cls))
