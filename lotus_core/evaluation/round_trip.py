"""What a VAE alone loses: pictures and normal maps there and back, without a denoiser."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..conventions import LATENT_STRIDE, NormalConvention
from ..inference.model import LotusModel
from .normal_metrics import AngularErrors, angular_error_deg
from .rendered import SceneNormals


@dataclass(frozen=True)
class RoundTrip:
    """Losses of an autoencoder over a set of scenes.

    Attributes:
        normals_mean_deg: Mean angle between normals before and after, degrees.
        rgb_psnr_db: Mean over pictures of the peak signal-to-noise ratio, decibels.
        rgb_mean_shift: Largest over R, G and B of the mean difference, in units of [0, 1]: 0 for true colours.
        images: Number of scenes.
    """

    normals_mean_deg: float
    rgb_psnr_db: float
    rgb_mean_shift: float
    images: int


def psnr_db(picture: Tensor, reference: Tensor) -> float:
    """Return the peak signal-to-noise ratio, ``-10 log10(mean squared error)`` for a peak of 1, in decibels.

    An error of 0.1 everywhere is 20 dB; equal pictures are infinite.
    """
    error = float(((picture.double() - reference.double()) ** 2).mean())
    return math.inf if error == 0.0 else -10.0 * math.log10(error)


def vae_round_trip(model: LotusModel, scenes: SceneNormals) -> RoundTrip:
    """Return what a model's autoencoder loses on rendered pictures and their normals, painted as Lotus paints them.

    Scenes are cut to multiples of 8 pixels. Sky is painted grey, (0.5, 0.5, 0.5), and does not count.

    Args:
        model: Any Lotus model; its denoiser is not run.
        scenes: The scenes.
    """
    errors, psnrs = AngularErrors(), list[float]()
    shift, images = torch.zeros(3, dtype=torch.float64), 0
    signs = torch.tensor(NormalConvention.LOTUS.signs_from_opencv)
    for name in scenes.names():
        sample = scenes.load(name)
        rgb, normals, valid = (_cut(plane) for plane in (sample.rgb, sample.normals, sample.valid))
        picture, painted = _there_and_back(model, torch.stack([rgb * 2.0 - 1.0, normals * signs]))
        seen = (picture * 0.5 + 0.5).clamp(0.0, 1.0)
        psnrs.append(psnr_db(seen, rgb))
        shift += (seen - rgb).double().mean((0, 1))
        errors.add(angular_error_deg(painted * signs, normals)[valid])
        images += 1
    return RoundTrip(errors.metrics().mean, sum(psnrs) / images, float((shift / images).abs().max()), images)


def _there_and_back(model: LotusModel, planes: Tensor) -> Tensor:
    """Return (B, H, W, 3) pictures in [-1, 1] after encoding and decoding."""
    return model.decode(model.encode(planes.movedim(-1, 1).contiguous())).movedim(1, -1).cpu()


def _cut(plane: Tensor) -> Tensor:
    height, width = (side // LATENT_STRIDE * LATENT_STRIDE for side in plane.shape[:2])
    return plane[:height, :width]
