"""Graphs that estimate batches of generated pictures, exact from their arrays to their float maps."""

from __future__ import annotations

import io

import numpy as np

from tests.nodes.host.messages import Run
from tests.nodes.host.process import ComfyServer
from tests.nodes.test_pack import RUN, loader

Graph = dict[str, dict]


def write_frames(server: ComfyServer, count: int, height: int, width: int, seed: int = 0) -> str:
    """Write smooth random pictures, (count, height, width, 3) in [0, 1], to the input folder; the file's name."""
    name = f"frames-{count}-{height}-{width}-{seed}.npy"
    path = server.base / "input" / name
    if not path.exists():
        coarse = np.random.default_rng(seed).random((count, 4, 4, 3), dtype=np.float32)
        np.save(
            path, coarse.repeat(-(-height // 4), axis=1).repeat(-(-width // 4), axis=2)[:, :height, :width]
        )
    return name


def estimate(kind: str, models: dict[str, str], file: str, **changes: object) -> Graph:
    """An estimator on frames: "run" is the estimator, "maps" saves every tensor of its geometry."""
    graph: Graph = {"frames": {"class_type": "ProbeLoadArray", "inputs": {"file": file}}}
    inputs: dict[str, object] = {"image": ["frames", 0], "ensemble_size": 1, **RUN}
    for socket, model in models.items():
        graph[f"load {socket}"] = loader(model)
        inputs[socket] = [f"load {socket}", 0]
    slot = 2 if kind == "LotusGeoJoint" else 1
    graph["run"] = {"class_type": kind, "inputs": inputs | changes}
    graph["maps"] = {"class_type": "ProbeSaveArray", "inputs": {"value": ["run", slot], "name": "maps"}}
    return graph


def maps(server: ComfyServer, run: Run) -> dict[str, np.ndarray]:
    """The tensors that a finished run saved, by their dotted path."""
    assert run.error is None, run.error
    assert run.succeeded
    [entry] = run.outputs["maps"]["arrays"]
    with np.load(io.BytesIO(server.api.file(entry)), allow_pickle=False) as arrays:
        return dict(arrays)


def loads(server: ComfyServer) -> int:
    """How many models have been loaded since the server's start."""
    return server.log().count("Lotus: loaded ")
