"""Pictures or a clip in, maps out: the functions that a user calls.

`InferenceOptions.sequence` says which of the two it is. Pictures go to `lotus_core.inference`, where each stands for
itself; the frames of a clip go to `lotus_core.video`, which keeps their maps stable in time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from torch import Tensor

from .errors import ImageError, OptionError
from .geometry.joint import JointResult, resolve_geometry
from .inference import predict as still
from .inference.model import LotusModel
from .inference.options import InferenceOptions
from .inference.run import Progress
from .types import DepthPrediction, NormalPrediction
from .video import clip as moving
from .video.painter import ClipOptions

if TYPE_CHECKING:
    from .geometry.align import Anchor

Frames = Tensor | Iterable[Tensor]
"""(B, H, W, 3) float RGB in [0, 1]; a clip may also come in such pieces, in order."""


def predict_depth(
    model: LotusModel,
    images: Frames,
    options: InferenceOptions | None = None,
    *,
    clip: ClipOptions | None = None,
    progress: Progress | None = None,
) -> DepthPrediction:
    """Return the affine-invariant depth or disparity of every picture, or of a clip, stable in time.

    The frames of a clip share one unknown scale and shift, as far as the network allows.

    Args:
        model: A depth or disparity model.
        images: (B, H, W, 3) float RGB in [0, 1]; grey and RGBA too. Any size from 16x16 up. A clip may come as an
            iterable of such pieces.
        options: How to run it; ``sequence="video"`` for the frames of one clip.
        clip: How a clip is made stable.
        progress: Called after every map; of a clip, when the next few frames are done.

    Raises:
        ModelTaskError: A normal model.
        InputError: Pictures or options that cannot be used.
        NonFiniteError: NaN also in fp32.
    """
    if _is_clip(options, clip):
        return moving.predict_depth_clip(model, images, options, clip, progress=progress)
    return still.predict_depth(model, _batch(images), options, progress=progress)


def predict_normals(
    model: LotusModel,
    images: Frames,
    options: InferenceOptions | None = None,
    *,
    clip: ClipOptions | None = None,
    progress: Progress | None = None,
) -> NormalPrediction:
    """Return the surface normals of every picture, or of a clip, in the OpenCV camera frame.

    Args:
        model: A normal model.
        images: As for `predict_depth`.
        options: How to run it; ``sequence="video"`` for the frames of one clip.
        clip: How a clip is made stable; of it, what concerns the noise of generative models.
        progress: Called after every map; of a clip, when the next few frames are done.

    Raises:
        ModelTaskError: A depth model.
        InputError: Pictures or options that cannot be used.
        NonFiniteError: NaN also in fp32.
    """
    if _is_clip(options, clip):
        return moving.predict_normals_clip(model, images, options, clip, progress=progress)
    return still.predict_normals(model, _batch(images), options, progress=progress)


def predict_joint(
    depth_model: LotusModel,
    normal_model: LotusModel,
    images: Frames,
    options: InferenceOptions | None = None,
    *,
    clip: ClipOptions | None = None,
    progress: Progress | None = None,
    resolve: bool = True,
    fov_x_deg: float | None = None,
    refine: bool = True,
    anchor: Anchor | None = None,
) -> JointResult:
    """Return depth and normals of every picture or of a clip, and the cameras and surfaces on which they agree.

    Models with the same VAE share one encoding. Cameras are found picture by picture, of a clip too.

    Args:
        depth_model: A depth or disparity model.
        normal_model: A normal model.
        images: As for `predict_depth`.
        options: How to run both; ``sequence="video"`` for the frames of one clip.
        clip: How a clip is made stable.
        progress: Called after every map, two for each picture; of a clip, when the next few frames are done.
        resolve: Whether to find cameras and surfaces too.
        fov_x_deg: Known horizontal field of view in degrees, or None to estimate it.
        refine: Whether the normals refine the resolved depth.
        anchor: What fixes the scale, or None to leave it open.

    Raises:
        ModelTaskError: Models given the wrong way round.
        InputError: Pictures, options, a field of view or an anchor that cannot be used.
        NonFiniteError: NaN also in fp32.
    """
    both = (depth_model, normal_model)
    if _is_clip(options, clip):
        joint = moving.predict_joint_clip(*both, images, options, clip, progress=progress)
    else:
        joint = still.predict_joint(*both, _batch(images), options, progress=progress)
    if not resolve:
        return JointResult(joint.depth, joint.normals)
    geometry = resolve_geometry(joint.depth, joint.normals, fov_x_deg=fov_x_deg, refine=refine, anchor=anchor)
    return JointResult(joint.depth, joint.normals, geometry)


def _is_clip(options: InferenceOptions | None, clip: ClipOptions | None) -> bool:
    """Return whether the pictures are frames of one clip.

    Raises:
        OptionError: `clip` is given for pictures that are none.
    """
    video = options is not None and options.sequence == "video"
    if clip is not None and not video:
        raise OptionError("clip", clip, 'None, or InferenceOptions(sequence="video") with it')
    return video


def _batch(images: Frames) -> Tensor:
    if isinstance(images, Tensor):
        return images
    raise ImageError(
        "pictures must come as one tensor",
        found=type(images).__name__,
        remedy='stack them to (B, H, W, 3), or run the pieces of a clip with sequence="video"',
    )
