"""The values that cross module borders: what a model is and what it returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .conventions import DepthKind, Mode, OutputKind

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ModelInfo:
    """What a loaded checkpoint is.

    Attributes:
        name: Catalogue name, or the file's or folder's own name.
        mode: "g" (generative: noise goes in) or "d" (discriminative), from the weights' shapes.
        output: "depth" (high = far), "disparity" (high = near) or "normal".
        default_resolution: Longest side in pixels at which the checkpoint works best.
        source: Where the UNet was read from, for messages.
        vae_source: Where the VAE was read from, for messages.
        unet_parameters: Number of parameters of the UNet as stored.
        cross_attention_dim: Width of the prompt embedding.
    """

    name: str
    mode: Mode
    output: OutputKind
    default_resolution: int
    source: str
    vae_source: str
    unet_parameters: int
    cross_attention_dim: int


@dataclass(frozen=True)
class DepthPrediction:
    """Affine-invariant depth or disparity of a batch of images.

    Attributes:
        values: (B, H, W) float32 in [0, 1], exactly the input's size; not normalised per image.
        kind: "depth" (high = far) or "disparity" (high = near). True depth is ``s * values + t``
            ("depth") or ``1 / (s * values + t)`` ("disparity") with unknown s > 0 and t.
        uncertainty: (B, H, W) float32, the ensemble's spread (median absolute deviation, same unit as
            ``values``), or None without an ensemble.
        model: What made it.
    """

    values: Tensor
    kind: DepthKind
    uncertainty: Tensor | None
    model: ModelInfo


@dataclass(frozen=True)
class NormalPrediction:
    """Surface normals of a batch of images.

    Attributes:
        vectors: (B, H, W, 3) float32 unit vectors in the OpenCV camera frame (+x right, +y down,
            +z forward); a surface that faces the camera has z < 0.
        uncertainty: (B, H, W) float32, mean angle in degrees between the ensemble's members and
            ``vectors``, or None without an ensemble.
        model: What made it.
    """

    vectors: Tensor
    uncertainty: Tensor | None
    model: ModelInfo


@dataclass(frozen=True)
class Reconstruction:
    """The input given back through the detail preserver's switch.

    Attributes:
        images: (B, H, W, 3) float32 in [0, 1], RGB, exactly the input's size.
        model: What made it.
    """

    images: Tensor
    model: ModelInfo


@dataclass(frozen=True)
class JointPrediction:
    """Depth and normals of the same images, from one encoding.

    Attributes:
        depth: The depth model's prediction.
        normals: The normal model's prediction.
    """

    depth: DepthPrediction
    normals: NormalPrediction
