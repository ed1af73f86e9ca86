"""Nodes that carry exact arrays between a test and a graph, and one whose work a test can watch."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import folder_paths
import numpy as np
import torch
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy.utils import ProgressBar
from comfy_api.latest import ComfyExtension, io, ui
from PIL import Image


class ProbeFailureError(Exception):
    """What ProbeWork raises when it is told to fail."""


class ProbeLoadArray(io.ComfyNode):
    """An .npy file of the input folder as an IMAGE, whatever its shape and values."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """One file name in, one image out."""
        return io.Schema(
            node_id="ProbeLoadArray",
            category="probe",
            inputs=[io.String.Input("file")],
            outputs=[io.Image.Output("array", display_name="array")],
        )

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        """Load the file without pickle and change nothing of it but its type, to float32."""
        array = np.load(Path(folder_paths.get_input_directory()) / file, allow_pickle=False)
        return io.NodeOutput(torch.from_numpy(array.astype(np.float32)))


class ProbeLoadPacket(io.ComfyNode):
    """An .npz file of the input folder as the packet of ComfyUI's Depth Anything 3 in multi-view mode."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """One file name in, one packet out."""
        return io.Schema(
            node_id="ProbeLoadPacket",
            category="probe",
            inputs=[io.String.Input("file")],
            outputs=[io.Custom("DA3_GEOMETRY").Output("packet", display_name="packet")],
        )

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        """Load every array of the file, without pickle, under its name."""
        with np.load(Path(folder_paths.get_input_directory()) / file, allow_pickle=False) as arrays:
            packet: dict[str, Any] = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return io.NodeOutput(packet | {"mode": "multiview"})


class ProbeSaveArray(io.ComfyNode):
    """Every tensor inside any value, saved to one .npz file of the output folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Any value in; the file's name goes to the client as ui output ``arrays``."""
        return io.Schema(
            node_id="ProbeSaveArray",
            category="probe",
            inputs=[io.AnyType.Input("value"), io.String.Input("name", default="probe")],
            outputs=[],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, value: Any, name: str) -> io.NodeOutput:
        """Save tensors under dotted paths: ``value`` itself, ``value.depth``, ``value.points.z`` and so on."""
        arrays: dict[str, Any] = {
            path: tensor.detach().cpu().float().numpy() for path, tensor in tensors_in(value, "value")
        }
        np.savez(Path(folder_paths.get_output_directory()) / f"{name}.npz", **arrays)
        entry = {"filename": f"{name}.npz", "subfolder": "", "type": "output"}
        return io.NodeOutput(ui={"arrays": [entry]})


class ProbeWork(io.ComfyNode):
    """An image returned inverted after a number of timed steps, each with progress and a preview."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs of every widget kind, so that reading them from a saved workflow can be tested."""
        return io.Schema(
            node_id="ProbeWork",
            category="probe",
            inputs=[
                io.Image.Input("image"),
                io.Combo.Input("mode", options=["work", "fail"], default="work"),
                io.Int.Input("seed", default=0, min=0, max=2**32, control_after_generate=True),
                io.Int.Input("steps", default=2, min=1, max=1000),
                io.Float.Input("seconds_per_step", default=0.0, min=0.0, max=10.0, step=0.01, optional=True),
                io.Mask.Input("mask", optional=True),
                io.Boolean.Input("show", default=True, optional=True),
            ],
            outputs=[io.Image.Output("inverted", display_name="inverted")],
        )

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        mode: str,
        seed: int,
        steps: int,
        seconds_per_step: float = 0.0,
        mask: torch.Tensor | None = None,
        show: bool = True,
    ) -> io.NodeOutput:
        """Work, stopping at the first step after an interrupt."""
        if mode == "fail":
            raise ProbeFailureError(f"told to fail with seed {seed}")
        bar = ProgressBar(steps)
        picture = Image.fromarray((image[0, ..., :3].clamp(0, 1) * 255).byte().cpu().numpy())
        for step in range(steps):
            throw_exception_if_processing_interrupted()
            time.sleep(seconds_per_step)
            bar.update_absolute(step + 1, steps, ("JPEG", picture, 256))
        inverted = 1.0 - image
        return io.NodeOutput(inverted, ui=ui.PreviewImage(inverted, cls=cls) if show else None)


class ProbeExtension(ComfyExtension):
    """The pack, as ComfyUI loads it."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All nodes of this pack."""
        return [ProbeLoadArray, ProbeLoadPacket, ProbeSaveArray, ProbeWork]


def tensors_in(value: Any, path: str) -> Iterator[tuple[str, torch.Tensor]]:
    """(dotted path, tensor) of every tensor in nested dictionaries, sequences and dataclasses or objects."""
    if isinstance(value, torch.Tensor):
        yield path, value
        return
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        children = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif isinstance(value, dict):
        children = value
    elif isinstance(value, (list, tuple)):
        children = dict(enumerate(value))
    else:
        children = getattr(value, "__dict__", {})
    for name, child in children.items():
        yield from tensors_in(child, f"{path}.{name}")
