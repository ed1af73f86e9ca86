"""How stable the maps of rendered clips become, and what that costs: `python -m benchmarks video`.

For every clip (72 frames, 2 % depth noise, a scale and shift of its own for every frame, one near mover):

- pumping: rms over the frames of the scale fitted to the truth, over its mean, less 1;
- jitter: rms change of the fitted map from one frame to the next, as a share of the map's range;
- final scale: fitted scale of the last three frames over that of the first three, less 1;
- AbsRel: of the depth, after one least-squares scale and shift for the whole clip;
- no drift: mean change of a clip whose frames have no scale and shift of their own, as a share of the range.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import get_args

import torch
from torch import Tensor

from lotus_core.conventions import DepthKind
from lotus_core.video.stabilize import DepthStabilizer

from . import report
from .clips import LAYOUTS, MOTIONS, Clip, NetworkMaps, network_maps, render_clip

BARS = {
    ("depth", "static"): 0.02,
    ("depth", "pan"): 0.03,
    ("depth", "dolly"): 0.02,
}
JITTER_BAR, FINAL_BAR, UNCHANGED_BAR, MILLISECONDS_BAR = 0.006, 0.06, 0.002, 10.0


@dataclass(frozen=True)
class Stability:
    """How stable one clip's maps are; all shares, not percent."""

    pumping: float
    jitter: float
    final_scale: float
    abs_rel: float


@dataclass(frozen=True)
class Outcome:
    """One clip, untreated and treated."""

    kind: str
    motion: str
    layout: str
    seed: int
    untreated: Stability
    treated: Stability
    unchanged: float

    def misses(self) -> list[str]:
        """Return the bars that this clip misses."""
        bar = BARS.get((self.kind, self.motion), 0.5 * self.untreated.pumping)
        found = {
            "pumping": self.treated.pumping > bar,
            "no drift": self.unchanged > UNCHANGED_BAR,
            "AbsRel": self.treated.abs_rel > self.untreated.abs_rel,
        }
        if (self.kind, self.motion) == ("depth", "static"):
            found["jitter"] = self.treated.jitter > JITTER_BAR
            found["final scale"] = abs(self.treated.final_scale) > FINAL_BAR
        return [name for name, missed in found.items() if missed]


def main(argv: Sequence[str]) -> int:
    """Print the tables; return 1 if a bar is missed."""
    parser = report.parser("video", __doc__ or "")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seeds", type=int, default=2, help="draws of noise and drift for each clip")
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=LAYOUTS)
    parser.add_argument("--kinds", nargs="+", choices=get_args(DepthKind), default=get_args(DepthKind))
    options = parser.parse_args(argv)
    facts = report.start(options)
    outcomes: list[Outcome] = []
    for motion in MOTIONS:
        for layout in options.layouts:
            clip = render_clip(5, layout, motion)
            for kind in options.kinds:
                outcomes += [measure(clip, kind, layout, motion, seed) for seed in range(options.seeds)]
    _print(outcomes)
    cost = milliseconds_at(768, 432)
    print(
        f"\nstabiliser and cut detector at 768x432: {cost:.1f} ms of one core a frame (bar {MILLISECONDS_BAR:.0f})"
    )
    missed = [(o.kind, o.motion, o.layout, o.seed, o.misses()) for o in outcomes if o.misses()]
    print(f"bars missed: {missed or 'none'}")
    report.finish(options, {"machine": facts, "ms_768": cost, "clips": [asdict(o) for o in outcomes]})
    return 1 if missed or cost > MILLISECONDS_BAR else 0


def measure(clip: Clip, kind: DepthKind, layout: str, motion: str, seed: int) -> Outcome:
    """Return how stable a clip is, untreated and treated."""
    maps = network_maps(clip, kind, seed=seed)
    treated = stabilized(maps.values, clip, kind)
    calm = network_maps(clip, kind, seed=seed, drift=False).values
    unchanged = float((stabilized(calm, clip, kind) - calm).abs().mean())
    before, after = stability(maps.values, maps, clip), stability(treated, maps, clip)
    return Outcome(kind, motion, layout, seed, before, after, unchanged)


def stabilized(values: Tensor, clip: Clip, kind: DepthKind) -> Tensor:
    """Return the maps of a clip, (T, H, W), as the library corrects them."""
    stabilizer = DepthStabilizer(kind)
    for value, rgb in zip(values, clip.rgb, strict=True):
        stabilizer.push(value, rgb)
    return stabilizer.corrections().apply(values)


def stability(values: Tensor, maps: NetworkMaps, clip: Clip) -> Stability:
    """Return how far maps (T, H, W) pump and jitter against the exact ones."""
    scale, shift = _fits(values, maps)
    at = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    fitted = scale[:, None] * at + shift[:, None]  # (T, 9): the clean map that the frame shows
    jitter = float((fitted[1:] - fitted[:-1]).square().mean().sqrt() / (0.8 * scale.mean()))
    return Stability(
        pumping=float((scale / scale.mean() - 1.0).square().mean().sqrt()),
        jitter=jitter,
        final_scale=float(scale[-3:].mean() / scale[:3].mean()) - 1.0,
        abs_rel=_abs_rel(values, maps, clip),
    )


def _fits(values: Tensor, maps: NetworkMaps) -> tuple[Tensor, Tensor]:
    """Return scale and shift of every frame against the truth: least squares on a regressor without noise."""
    scale, shift = [], []
    for value, truth, valid in zip(values, maps.truth, maps.valid, strict=True):
        x, y = truth[valid].double(), value[valid].double()
        slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
        scale.append(slope)
        shift.append(y.mean() - slope * x.mean())
    return torch.stack(scale), torch.stack(shift)


def _abs_rel(values: Tensor, maps: NetworkMaps, clip: Clip) -> float:
    """Return mean |z' - z| / z after one scale and shift in the map's own unit for the whole clip."""
    used = maps.valid & torch.isfinite(clip.depth_m)
    y, depth = values[used].double(), clip.depth_m[used].double()
    target = depth if maps.kind == "depth" else 1.0 / depth
    centred = y - y.mean()
    aligned = (centred * (target - target.mean())).sum() / centred.square().sum() * centred + target.mean()
    aligned = aligned.clamp_min(0.5 * float(target.min()))  # beyond half the nearest depth nothing is meant
    estimate = aligned if maps.kind == "depth" else 1.0 / aligned
    return float(((estimate - depth).abs() / depth).mean())


def milliseconds_at(width: int, height: int, frames: int = 48) -> float:
    """Return the median time of the stabiliser and the cut detector on a frame of a still clip, keyframes included."""
    from lotus_core.video.cuts import CutDetector

    generator = torch.Generator().manual_seed(0)
    rgb = torch.rand(height, width, 3, generator=generator)
    base = torch.linspace(0.1, 0.9, width).expand(height, width)
    maps = [base + 0.01 * torch.randn(height, width, generator=generator) for _ in range(4)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # time of one thread: what else runs on the machine does not count
    stabilizer, detector = DepthStabilizer("disparity"), CutDetector()
    taken = []
    for index in range(frames + 17):
        start = time.thread_time()
        stabilizer.push(maps[index % 4], rgb, cut=detector.push(rgb))
        taken.append(time.thread_time() - start)
    torch.set_num_threads(threads)
    return statistics.median(taken[17:]) * 1e3  # all lags are in use from there


def _print(outcomes: Sequence[Outcome]) -> None:
    columns = (
        "kind",
        "camera",
        "scene",
        "pumping %",
        "jitter %",
        "final scale %",
        "AbsRel",
        "no drift %",
    )
    rows = []
    for o in outcomes:
        before, after = o.untreated, o.treated
        rows.append(
            (
                o.kind,
                o.motion,
                f"{o.layout} {o.seed}",
                f"{before.pumping * 100:.1f} -> {after.pumping * 100:.2f}",
                f"{before.jitter * 100:.1f} -> {after.jitter * 100:.2f}",
                f"{before.final_scale * 100:+.1f} -> {after.final_scale * 100:+.1f}",
                f"{before.abs_rel:.3f} -> {after.abs_rel:.3f}",
                f"{o.unchanged * 100:.3f}",
            )
        )
    report.table("72 frames of 256x192, untreated -> treated", columns, rows)
    worst = []
    for kind, motion in dict.fromkeys((o.kind, o.motion) for o in outcomes):
        group = [o for o in outcomes if (o.kind, o.motion) == (kind, motion)]
        worst.append(
            (
                kind,
                motion,
                f"{max(o.untreated.pumping for o in group) * 100:.1f}",
                f"{max(o.treated.pumping for o in group) * 100:.2f}",
                f"{max(o.treated.jitter for o in group) * 100:.2f}",
                f"{max(abs(o.treated.final_scale) for o in group) * 100:.1f}",
                f"{max(o.unchanged for o in group) * 100:.3f}",
            )
        )
    report.table(
        "worst of each kind",
        ("kind", "camera", "untreated %", "pumping %", "jitter %", "final scale %", "no drift %"),
        worst,
    )
