"""Pictures in, maps out: the functions that a user calls."""

from __future__ import annotations

from torch import Tensor

from ..conventions import DepthKind
from ..errors import OptionError
from ..types import DepthPrediction, JointPrediction, NormalPrediction, Reconstruction
from .image import resize_map
from .model import LotusModel
from .options import InferenceOptions
from .run import Collected, Merged, Progress, Run


def predict_depth(
    model: LotusModel,
    images: Tensor,
    options: InferenceOptions | None = None,
    *,
    progress: Progress | None = None,
) -> DepthPrediction:
    """Return the affine-invariant depth or disparity of every picture.

    Args:
        model: A depth or disparity model.
        images: (B, H, W, 3) float RGB in [0, 1]; grey and RGBA too. Any size from 16x16 up.
        options: How to run it.
        progress: Called after every map.

    Raises:
        ModelTaskError: A normal model.
        InputError: Pictures or options that cannot be used.
        NonFiniteError: NaN also in fp32.
    """
    kind = model.depth_kind()
    run = Run([model], images, options, "annotation", progress)
    depths = Collected(len(run.images))
    for (maps,) in run.chunks():
        depths.add(run.merge_depths(maps))
    return DepthPrediction(*_with_kind(depths.result(), kind), model.info)


def predict_normals(
    model: LotusModel,
    images: Tensor,
    options: InferenceOptions | None = None,
    *,
    progress: Progress | None = None,
) -> NormalPrediction:
    """Return the surface normals of every picture, in the OpenCV camera frame.

    Args:
        model: A normal model.
        images: (B, H, W, 3) float RGB in [0, 1]; grey and RGBA too. Any size from 16x16 up.
        options: How to run it.
        progress: Called after every map.

    Raises:
        ModelTaskError: A depth model.
        InputError: Pictures or options that cannot be used.
        NonFiniteError: NaN also in fp32.
    """
    model.require_normals()
    run = Run([model], images, options, "annotation", progress)
    normals = Collected(len(run.images))
    for (maps,) in run.chunks():
        normals.add(run.merge_normals(maps))
    return NormalPrediction(*normals.result(), model.info)


def predict_joint(
    depth_model: LotusModel,
    normal_model: LotusModel,
    images: Tensor,
    options: InferenceOptions | None = None,
    *,
    progress: Progress | None = None,
) -> JointPrediction:
    """Return depth and normals of every picture. Models with the same VAE share one encoding.

    Args:
        depth_model: A depth or disparity model.
        normal_model: A normal model.
        images: (B, H, W, 3) float RGB in [0, 1]; grey and RGBA too. Any size from 16x16 up.
        options: How to run both.
        progress: Called after every map, two for each picture.

    Raises:
        ModelTaskError: Models given the wrong way round.
        InputError: Pictures or options that cannot be used.
        NonFiniteError: NaN also in fp32.
    """
    kind = depth_model.depth_kind()
    normal_model.require_normals()
    run = Run([depth_model, normal_model], images, options, "annotation", progress)
    depths, normals = Collected(len(run.images)), Collected(len(run.images))
    for depth_maps, normal_maps in run.chunks():
        depths.add(run.merge_depths(depth_maps))
        normals.add(run.merge_normals(normal_maps))
    depth = DepthPrediction(*_with_kind(depths.result(), kind), depth_model.info)
    return JointPrediction(depth, NormalPrediction(*normals.result(), normal_model.info))


def reconstruct(
    model: LotusModel,
    images: Tensor,
    options: InferenceOptions | None = None,
    *,
    progress: Progress | None = None,
) -> Reconstruction:
    """Return the pictures as the model gives them back with the task switcher on "reconstruction".

    What is lost here was lost before the map too: a picture of what the model sees.

    Args:
        model: Any Lotus model.
        images: (B, H, W, 3) float RGB in [0, 1]; grey and RGBA too. Any size from 16x16 up.
        options: How to run it; `ensemble_size` must be 1.
        progress: Called after every picture.

    Raises:
        InputError: Pictures or options that cannot be used.
        NonFiniteError: NaN also in fp32.
    """
    options = options or InferenceOptions()
    if options.ensemble_size != 1:
        raise OptionError("ensemble_size", options.ensemble_size, "1 for a reconstruction")
    run = Run([model], images, options, "reconstruction", progress)
    pictures = Collected(len(run.images))
    for (maps,) in run.chunks():
        resized = resize_map(maps[0], run.size.height, run.size.width, run.options.upsample)
        pictures.add((resized.clamp(0.0, 1.0).movedim(1, -1), None))
    return Reconstruction(pictures.result()[0], model.info)


def _with_kind(merged: Merged, kind: DepthKind) -> tuple[Tensor, DepthKind, Tensor | None]:
    return merged[0], kind, merged[1]
