"""The rendered views of assets/views in a graph, with their cameras in the input folder."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import lotus_core
from lotus_core.geometry.camera import Camera
from lotus_core.geometry.multiview import FusedViews, FusionOptions, fuse_views
from lotus_core.io.transforms_json import read_transforms
from tests.nodes.batches import Graph
from tests.nodes.host.checkouts import Checkout
from tests.nodes.host.process import REPOSITORY, ComfyServer
from tests.nodes.test_pack import DEPTH, NORMAL, RUN, loader

VIEWS = REPOSITORY / "assets" / "views"
FOLDER = "lotus-views"
RESOLUTION = 192
VOXEL = 0.06
"""Metres: coarse enough for a quick test."""


def pictures() -> torch.Tensor:
    """(B, H, W, 3) float in [0, 1], sorted by name."""
    arrays = []
    for path in sorted(VIEWS.glob("*.jpg")):
        with Image.open(path) as image:
            arrays.append(np.asarray(image.convert("RGB")))
    return torch.from_numpy(np.stack(arrays)).float() / 255.0


def cameras() -> list[Camera]:
    return [image.camera for image in read_transforms(VIEWS).images]


def names() -> list[str]:
    return [image.name for image in read_transforms(VIEWS).images]


def provide_views(server: ComfyServer) -> Path:
    """Copy the views' folder into the server's input folder, and the pictures once more as one exact array."""
    folder = server.base / "input" / FOLDER
    if not folder.exists():
        shutil.copytree(VIEWS, folder)
        np.save(server.base / "input" / "views.npy", pictures().numpy())
    return folder


def write_transforms(server: ComfyServer, folder: str, change) -> str:
    """Write a changed copy of the cameras into a folder of its own below the input folder; its path there."""
    data = json.loads((VIEWS / "transforms.json").read_text(encoding="utf-8"))
    change(data)
    target = server.base / "input" / folder
    target.mkdir(exist_ok=True)
    (target / "transforms.json").write_text(json.dumps(data), encoding="utf-8")
    return f"{folder}/transforms.json"


def joint_graph(server: ComfyServer) -> Graph:
    """Both maps of all views: "joint" is Lotus Joint, its geometry in slot 2."""
    provide_views(server)
    run = RUN | {"resolution": RESOLUTION, "ensemble_size": 1}
    models = {"depth_model": ["depth", 0], "normal_model": ["normal", 0]}
    return {
        "views": {"class_type": "ProbeLoadArray", "inputs": {"file": "views.npy"}},
        "depth": loader(DEPTH),
        "normal": loader(NORMAL),
        "joint": {"class_type": "LotusGeoJoint", "inputs": {"image": ["views", 0], **models, **run}},
    }


def fuse_graph(server: ComfyServer, **changes: object) -> Graph:
    """The views fused: "fuse" is Lotus Fuse Views."""
    inputs = {
        "geometry": ["joint", 2],
        "cameras": f"{FOLDER}/transforms.json",
        "voxel": VOXEL,
        "filename_prefix": "lotus/fused",
    }
    return joint_graph(server) | {
        "fuse": {"class_type": "LotusGeoFuseViews", "inputs": inputs | changes},
    }


@cache
def fused_views() -> FusedViews:
    """What the library makes of the same views."""
    models = [lotus_core.load_model(name, precision="fp32", device="cpu") for name in (DEPTH, NORMAL)]
    options = lotus_core.InferenceOptions(resolution=RESOLUTION)
    both = lotus_core.predict_joint(*models, pictures(), options, resolve=False)
    return fuse_views(both, cameras(), images=list(pictures()), options=FusionOptions(voxel=VOXEL))


def need_package(checkout: Checkout, module: str) -> None:
    """Skip where ComfyUI's Python lacks a package that the pack's requirements.txt asks for."""
    question = f"import importlib.util as u, sys; sys.exit(u.find_spec({module!r}) is None)"
    if subprocess.run([str(checkout.python), "-c", question], check=False).returncode != 0:
        pytest.skip(f"ComfyUI {checkout.version} lacks {module}: install the pack's requirements.txt")
