"""Focal length and affine shift from a map and its normals.

A pixel's surface has the normal ``(sigma f d_u, sigma f d_v, -(d + b + sigma (x d_u + y d_v)))`` up to its
length, with sigma = +1 for depth and -1 for disparity: it depends on the focal length f and the shift b alone.
Both are fitted so that these normals agree with the given ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..checks import has_float64, require_shape
from ..conventions import DepthKind
from ..errors import GeometryError
from .camera import check_fov, intrinsics_from_focal
from .evidence import Evidence, gather_evidence
from .fit import PRIOR_DEPTH_RATIO, PRIOR_FOV_DEG, Fit, fit_camera, half_width_focal

FocalSource = Literal["given", "normals", "prior"]

MAX_SD = 0.3
"""Standard deviation of ln f above which the picture does not tell its focal length. Also the prior's own."""

MAX_SHIFT_SD = 0.5
"""Standard deviation of ln((shift + median) / f) above which the shift is the prior's rather than the picture's."""

MAX_ROUGHNESS = 0.7
"""Share of pixels without a slope above which a map counts as constant up to its noise."""

FLAT_SHIFT = 60.0
"""Shift of such a map in multiples of its span: its noise must not be blown up to a rugged surface."""

MIN_PIXELS = 50
"""Coarse pixels below which nothing is fitted."""


@dataclass(frozen=True)
class Calibration:
    """A camera and the affine shift for each of B maps.

    Depth up to one scale is ``values + shift`` for kind "depth" and ``1 / (values + shift)`` for "disparity".

    Attributes:
        intrinsics: (B, 3, 3) float32, pixels of the map, principal point in its middle.
        fov_x_deg: (B,) float32, horizontal field of view in degrees.
        shift: (B,) float32, in the map's own unit.
        low: (B,) float32, the map's robust minimum (its 0.2 % quantile); ``low + shift`` is positive.
        sd_log_focal: (B,) float32, standard deviation of ln f from the picture alone, without the prior:
            the confidence. Infinite where nothing could be fitted. Also computed where the focal is given.
        focal_source: B times "given", "normals" or "prior".
        shift_source: B times "normals" or "prior".
        reason: B times why the prior was used, or "".
        angle_deg: (B,) float32, median angle between the given normals and the surface's, in degrees.
        coverage: (B,) float32, share of the picture that could be used.
        kind: Of the map.
    """

    intrinsics: Tensor
    fov_x_deg: Tensor
    shift: Tensor
    low: Tensor
    sd_log_focal: Tensor
    focal_source: tuple[FocalSource, ...]
    shift_source: tuple[Literal["normals", "prior"], ...]
    reason: tuple[str, ...]
    angle_deg: Tensor
    coverage: Tensor
    kind: DepthKind

    def resolve_depth(self, values: Tensor) -> Tensor:
        """Return z-depth up to one scale, (B, H, W) float, positive, of (B, H, W) values of the map.

        Values below ``low`` are held there: the line that was fitted may pass behind the camera below it.
        """
        held = torch.maximum(values, self.low[:, None, None].to(values))
        resolved = held + self.shift[:, None, None].to(values)
        return resolved if self.kind == "depth" else 1.0 / resolved


def calibrate(
    values: Tensor,
    normals: Tensor,
    *,
    kind: DepthKind,
    fov_x_deg: float | None = None,
    valid: Tensor | None = None,
    prior_fov_x_deg: float = PRIOR_FOV_DEG,
) -> Calibration:
    """Return the camera and the affine shift that make a map and its normals agree.

    Args:
        values: (B, H, W) float, affine-invariant depth (high = far) or disparity (high = near), any range;
            pixels that are not finite are left out.
        normals: (B, H, W, 3) float, OpenCV camera frame (+x right, +y down, +z forward), facing the camera,
            of any length; pixels that are not finite are left out.
        kind: "depth" or "disparity".
        fov_x_deg: Known horizontal field of view in degrees (from the user, EXIF or another estimator), or
            None to estimate it. A given one is taken as it is.
        valid: (B, H, W) bool, pixels that count, or None for all.
        prior_fov_x_deg: Field of view that is assumed where the picture does not tell.

    Returns:
        One camera and shift for each map. A picture that does not tell its focal length (a wall seen head-on, one
        slanted plane in disparity) gets the prior's, and says so.

    Raises:
        ShapeError: Another shape than documented.
        OptionError: A field of view outside 1 to 170 degrees.
        GeometryError: No pixel is valid, or a picture has no finite depth or no finite normal.
    """
    usable = check_maps(values, normals, valid)
    prior_focal = half_width_focal(check_fov(prior_fov_x_deg))
    known = None if fov_x_deg is None else half_width_focal(check_fov(fov_x_deg))
    clean = torch.where(usable, values, 0.0).to(torch.float32)
    vectors = torch.where(usable[..., None], normals, 0.0).to(torch.float32)
    evidence = gather_evidence(clean, vectors, kind, usable)
    if has_float64(values.device):  # float32 loses only confidence in nearly flat maps
        evidence = evidence.double()
    verdict = _judge(evidence)
    fit = fit_camera(evidence, prior_focal, known)
    loose = ~(fit.sd_log_focal <= MAX_SD)
    if known is None and bool((loose | ~verdict.usable).any()):
        fit = fit.where(~loose & verdict.usable, fit_camera(evidence, prior_focal, prior_focal))
    return _report(fit, evidence, verdict, known is not None, kind, values.shape[1:])


def check_maps(values: Tensor, normals: Tensor, valid: Tensor | None) -> Tensor:
    """Return which pixels are valid and finite in both maps, (B, H, W) bool.

    Raises:
        ShapeError: Another shape than documented.
        GeometryError: No pixel is valid, or a picture has no finite depth or no finite normal.
    """
    require_shape("values", values, "(B, H, W)", remedy="pass one channel, with a batch axis first")
    count, height, width = values.shape
    require_shape(
        "normals", normals, f"({count}, {height}, {width}, 3)", remedy="pass normals of the same pictures"
    )
    known, facing = values.isfinite(), normals.isfinite().all(-1)
    if valid is not None:
        require_shape(
            "valid", valid, f"({count}, {height}, {width})", remedy="pass one mask for each picture"
        )
        if not bool(valid.flatten(1).any(1).all()):
            raise GeometryError("a mask keeps no pixel", remedy="pass a mask with at least one valid pixel")
    for name, finite in (("depth", known), ("normals", facing)):
        empty = (~finite.flatten(1).any(1)).nonzero().flatten().tolist()
        if empty:
            raise GeometryError(
                f"the {name} of picture {empty[0]} are not finite anywhere",
                found="NaN or infinity in every pixel",
                remedy="run the model again in fp32",
            )
    usable = known & facing
    return usable if valid is None else usable & valid.bool()


@dataclass(frozen=True)
class _Verdict:
    """Whether there is anything to fit: (B,) bool each."""

    usable: Tensor
    constant: Tensor


def _judge(evidence: Evidence) -> _Verdict:
    constant = (evidence.span <= 1e-5) | (evidence.roughness > MAX_ROUGHNESS)
    return _Verdict((evidence.usable.sum(1) >= MIN_PIXELS) & ~constant, constant)


def _report(
    fit: Fit, evidence: Evidence, verdict: _Verdict, given: bool, kind: DepthKind, size: tuple[int, ...]
) -> Calibration:
    """Put the fit into pixels and the map's own unit, with the reasons in words."""
    height, width = size
    default_shift = torch.where(verdict.constant, FLAT_SHIFT, 1.0 / (PRIOR_DEPTH_RATIO - 1.0))
    shift = torch.where(verdict.usable, fit.shift, default_shift)
    spread = torch.where(verdict.usable, fit.sd_log_focal, float("inf"))
    sources: list[FocalSource] = []
    reasons: list[str] = []
    for sd, usable, constant in zip(
        *(t.tolist() for t in (spread, verdict.usable, verdict.constant)), strict=True
    ):
        source: FocalSource = "given" if given else "normals" if sd <= MAX_SD else "prior"
        sources.append(source)
        reasons.append(_reason(sd, usable, constant, source))
    focal = fit.focal.float()
    shift_known = verdict.usable & (fit.sd_log_kappa <= MAX_SHIFT_SD)
    span = evidence.span.clamp_min(
        1e-3 * (evidence.low.abs() + 1e-6)
    )  # of a constant map: keep float32 exact
    return Calibration(
        intrinsics=intrinsics_from_focal(focal * (width / 2), height, width),
        fov_x_deg=torch.rad2deg(2 * torch.atan(1 / focal)),
        shift=(shift * span - evidence.low).float(),
        low=evidence.low.float(),
        sd_log_focal=spread.float(),
        focal_source=tuple(sources),
        shift_source=tuple("normals" if known else "prior" for known in shift_known.tolist()),
        reason=tuple(reasons),
        angle_deg=torch.rad2deg(fit.residual).float(),
        coverage=evidence.usable.float().mean(1),
        kind=kind,
    )


def _reason(sd: float, usable: bool, constant: bool, source: FocalSource) -> str:
    if constant:
        return "the map is constant up to noise: neither focal length nor shift can be found"
    if not usable:
        return (
            f"fewer than {MIN_PIXELS} smooth, unclipped pixels: neither focal length nor shift can be found"
        )
    if source == "prior":
        return f"the picture does not tell its focal length (sd of ln f = {sd:.2f}, above {MAX_SD})"
    return ""
