"""Draws the pictures of the README and of the workflows, from the photographs and views in this repository."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

import lotus_core as lc
from lotus_core.conventions import NormalConvention
from lotus_core.geometry.joint import JointResult
from lotus_core.io.images import read_image
from lotus_core.rendering.depth import colorize_depth, depth_hint
from lotus_core.rendering.normal import normal_rgb
from lotus_core.rendering.uncertainty import colorize_uncertainty

from .geometry_drawing import row, save_sheet, side_view
from .geometry_pictures import fusion

THUMBNAIL = (480, 640)
"""Height and width of a workflow's picture."""
ROW_HEIGHT = 240


def main(argv: list[str]) -> int:
    """Draw the pictures into docs/images and workflows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks example_pictures", description=__doc__)
    parser.add_argument("--photos", type=Path, default=Path("assets/photos"))
    parser.add_argument("--views", type=Path, default=Path("assets/views"))
    parser.add_argument("--docs", type=Path, default=Path("docs/images"))
    parser.add_argument("--workflows", type=Path, default=Path("workflows"))
    options = parser.parse_args(argv)
    torch.set_grad_enabled(False)
    models = [lc.load_model(name) for name in ("lotus-tiny-depth-d", "lotus-tiny-normal-d")]
    photo = read_image(options.photos / "lobby.jpg").pixels
    both = lc.predict_joint(models[0], models[1], photo)
    failing = read_image(options.photos / "coffee.jpg").pixels
    wrong = lc.predict_joint(models[0], models[1], failing, resolve=False)
    save_sheet(options.docs / "readme.jpg", row(_resized(readme_panels(photo, both))))
    save_sheet(options.docs / "readme-limits.jpg", row(_resized(readme_panels(failing, wrong))))
    sheets = {name: _columns(panels) for name, panels in thumbnails(photo, both).items()}
    sheets["lotus_fuse_views"] = _columns(fusion(options.views, models, lc.InferenceOptions())[::2])
    sheets["lotus_video"] = clip_sheet(photo, models[0])
    for name, sheet in sheets.items():
        save_sheet(options.workflows / f"{name}.jpg", sheet)
    return 0


def readme_panels(photo: Tensor, both: lc.JointPrediction) -> list[Tensor]:
    """Return a photograph, its hint, its depth in colours and its normals, each (H, W, 3) in [0, 1]."""
    depth = both.depth
    return [
        photo[0],
        depth_hint(depth.values, depth.kind)[0],
        colorize_depth(depth.values, depth.kind)[0],
        normal_rgb(both.normals.vectors)[0],
    ]


def thumbnails(photo: Tensor, both: JointResult) -> dict[str, list[Tensor]]:
    """Return the panels of the workflows for one photograph, by the workflow's name."""
    rgb, hint, colours, normals = readme_panels(photo, both)
    game = normal_rgb(both.normals.vectors, NormalConvention.DIRECTX)[0]
    generative = lc.predict_depth(
        lc.load_model("lotus-tiny-depth-g"), photo, lc.InferenceOptions(ensemble_size=8, seed=0)
    )
    if generative.uncertainty is None or both.geometry is None:
        raise RuntimeError("an ensemble has an uncertainty, and a resolved pair has a geometry")
    spread = colorize_uncertainty(generative.uncertainty)[0]
    made = both.geometry
    turbo = colorize_depth(both.depth.values, both.depth.kind, colormap="turbo")[0]
    mean = depth_hint(generative.values, generative.kind)[0]
    return {
        "lotus_depth": [rgb, hint, colours],
        "lotus_depth_to_controlnet": [rgb, hint],
        "lotus_ensemble_uncertainty": [rgb, mean, spread],
        "lotus_joint": [rgb, hint, normals, turbo],
        "lotus_mesh": [rgb, side_view(made, photo[0], made.valid[0] & ~made.edges[0])],
        "lotus_normal": [rgb, normals, normal_rgb(both.normals.vectors, NormalConvention.OPENGL)[0]],
        "lotus_normal_to_controlnet": [rgb, normals],
        "lotus_normals_for_games": [rgb, normals, game],
    }


def clip_sheet(photo: Tensor, model: lc.LotusModel) -> Tensor:
    """Return three frames of a pan over a photograph above their depth, (480, 640, 3)."""
    width = photo.shape[2]
    across = width * 3 // 4
    frames = torch.cat(
        [photo[:, :, x : x + across] for x in range(0, width - across + 1, (width - across) // 8)]
    )
    found = lc.predict_depth(model, frames, lc.InferenceOptions(sequence="video"))
    hints = depth_hint(found.values, found.kind)
    half = (THUMBNAIL[0] // 2, THUMBNAIL[1])
    shown = (0, len(frames) // 2, len(frames) - 1)
    return torch.cat([_columns([batch[i] for i in shown], half) for batch in (frames, hints)])


def _resized(panels: Sequence[Tensor]) -> list[Tensor]:
    height, width = panels[0].shape[:2]
    return [_scaled(panel, ROW_HEIGHT, round(width * ROW_HEIGHT / height)) for panel in panels]


def _columns(panels: Sequence[Tensor], size: tuple[int, int] = THUMBNAIL) -> Tensor:
    """Return the middles of pictures side by side, filling a size."""
    height, total = size
    edges = [round(total * i / len(panels)) for i in range(len(panels) + 1)]
    columns = []
    for panel, left, right in zip(panels, edges, edges[1:], strict=False):
        scale = max(height / panel.shape[0], (right - left) / panel.shape[1])
        large = _scaled(panel, round(panel.shape[0] * scale), round(panel.shape[1] * scale))
        top, start = (large.shape[0] - height) // 2, (large.shape[1] - (right - left)) // 2
        columns.append(large[top : top + height, start : start + right - left])
    return torch.cat(columns, dim=1)


def _scaled(picture: Tensor, height: int, width: int) -> Tensor:
    planes = picture[..., :3].movedim(-1, 0)[None]
    return (
        F.interpolate(planes, (height, width), mode="bicubic", antialias=True)[0].movedim(0, -1).clamp(0, 1)
    )
