"""All that differs between the supported versions of ComfyUI (0.3.64 to 0.33), and nothing else."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path
from typing import Any

import comfy.model_management as mm
import comfy.model_patcher
import torch
from comfy_api.latest import Types, io, ui
from comfy_execution.graph_utils import ExecutionBlocker

from ..lotus_core.geometry.mesh import Mesh
from ..lotus_core.io.meshes import GLTF_FROM_OPENCV

CATEGORY = "image/geometry estimation"
"""Beside ComfyUI's own geometry nodes (which exist from 0.33 on)."""


def schema(**values: Any) -> io.Schema:
    """Return a node's schema without the fields that this version does not know (`search_aliases`)."""
    known = {field.name for field in dataclasses.fields(io.Schema)}
    return io.Schema(**{name: value for name, value in values.items() if name in known})


def advanced(kind: Any, *args: Any, **values: Any) -> Any:
    """Return an input that is folded away under "advanced" where this version can do that."""
    if "advanced" in inspect.signature(kind.Input.__init__).parameters:
        values["advanced"] = True
    return kind.Input(*args, **values)


def patcher_class() -> type[comfy.model_patcher.ModelPatcher]:
    """Return the class that wraps core models; newer versions rebind it at start-up, so look at call time."""
    return getattr(comfy.model_patcher, "CoreModelPatcher", comfy.model_patcher.ModelPatcher)


def note_stored_types(module: torch.nn.Module) -> None:
    """Let newer versions remember the types in which weights are stored."""
    archive = getattr(mm, "archive_model_dtypes", None)
    if archive is not None:
        archive(module)


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether ComfyUI takes an error for lack of memory."""
    is_oom = getattr(mm, "is_oom", None)
    if is_oom is not None:
        return bool(is_oom(error))
    kind = mm.OOM_EXCEPTION
    return kind is not Exception and isinstance(error, kind)


def free_memory(patcher: comfy.model_patcher.ModelPatcher, device: torch.device) -> int:
    """Return the bytes that can be used on a device now; with dynamic VRAM, weights that yield by themselves too."""
    of_patcher = getattr(patcher, "get_free_memory", None)
    return int(mm.get_free_memory(device) if of_patcher is None else of_patcher(device))


def lotus_prompt() -> torch.Tensor | None:
    """Return the empty prompt's embedding that ComfyUI's own Lotus node carries, (1, 2, 1024); None without it."""
    try:
        from comfy_extras.nodes_lotus import LotusConditioning
    except ImportError:
        return None
    conditioning = LotusConditioning.execute().result[0]
    return conditioning[0][0].detach().to("cpu", torch.float32)


def native_mesh(mesh: Mesh) -> Any:
    """Return a MESH for ComfyUI's own nodes: glTF axes, with texture, colours and normals where it takes them.

    Args:
        mesh: In OpenCV axes.
    """
    to_gltf = mesh.vertices.new_tensor(GLTF_FROM_OPENCV)  # half a turn about x: the winding stays
    vertices, faces = (mesh.vertices * to_gltf)[None], mesh.faces[None]
    kind = getattr(Types, "MESH", None)
    if kind is None:
        from comfy_extras.nodes_hunyuan3d import MESH as kind  # noqa: N811  # its home in older versions
    extras = {
        "uvs": mesh.uvs,
        "vertex_colors": mesh.colours,
        "texture": mesh.texture,
        "normals": None if mesh.normals is None else mesh.normals * to_gltf,
    }
    taken = inspect.signature(kind.__init__).parameters
    given = {name: value[None] for name, value in extras.items() if name in taken and value is not None}
    return kind(vertices, faces, **given)


def file_3d_output(name: str, kind: str) -> list[Any]:
    """Return the output socket for a 3D file, such as `File3DGLB`; nothing where this version has none."""
    socket = getattr(io, kind, None)
    return (
        [] if socket is None else [socket.Output(name, display_name=name, tooltip="For ComfyUI's 3D nodes.")]
    )


def file_3d_values(path: Path, kind: str) -> list[Any]:
    """Return the value of `file_3d_output`; nothing where this version has none."""
    return [Types.File3D(str(path), path.suffix[1:])] if hasattr(io, kind) else []


def saved_result(relative: str) -> Any:
    """Return what tells the frontend of a file in the output folder, given relative to it."""
    folder, _, name = relative.rpartition("/")
    return ui.SavedResult(name, folder, io.FolderType.output)


def nothing() -> Any:
    """Return the value of an output that has none this time: what hangs on it is not run, without an error."""
    return ExecutionBlocker(None)


def is_trimmed(video: Any) -> bool:
    """Say whether a VIDEO stands for a part of its file; older versions cannot trim one."""
    window = getattr(video, "get_active_trim_window", None)
    return window is not None and window() != (0.0, 0.0)
