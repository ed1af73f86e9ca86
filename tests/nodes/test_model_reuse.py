"""What a real server loads once, computes once, notices, shares and gives back."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from tests.nodes.batches import estimate, loads, maps, write_frames
from tests.nodes.host.process import ComfyServer
from tests.nodes.test_pack import DEPTH, NORMAL, loader
from tests.small_models import BUNDLED, write_generative_depth

pytestmark = pytest.mark.comfy

MIB = 2**20


@pytest.fixture
def frames(server: ComfyServer) -> str:
    return write_frames(server, 2, 64, 64)


def own_checkpoint(server: ComfyServer, name: str) -> Path:
    """A copy of the bundled depth model in models/lotus; its UNet's weights file."""
    folder = server.base / "models" / "lotus" / name
    shutil.copytree(BUNDLED / "lotus-tiny-depth-d", folder, dirs_exist_ok=True)
    shutil.copytree(BUNDLED / "vae", folder / "vae", dirs_exist_ok=True)
    shutil.copy(BUNDLED / "prompt_embeds.safetensors", folder)
    weights_file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    save_file(
        load_file(weights_file), weights_file
    )  # without its metadata, so that a changed copy has its size
    return weights_file


def models(server: ComfyServer) -> list[dict]:
    """Lotus's networks that ComfyUI holds as loaded."""
    return [model for model in server.state()["models"] if model["class"] == "Managed"]


def free(server: ComfyServer) -> None:
    """Have ComfyUI free models and caches.

    Its worker misses a request that comes while it is awake, until the next one or for ten seconds; so ask until a
    node that was cached runs again.
    """
    file = write_frames(server, 1, 8, 8)
    probe = {
        "frames": {"class_type": "ProbeLoadArray", "inputs": {"file": file}},
        "save": {"class_type": "ProbeSaveArray", "inputs": {"value": ["frames", 0], "name": "probe"}},
    }
    server.api.queue(probe)
    for _ in range(40):
        server.api.free()
        time.sleep(0.3)
        if not server.state()["models"] and "frames" not in server.api.queue(probe).cached:
            return
    raise AssertionError(f"still loaded: {server.state()['models']}")


def test_an_unchanged_graph_reruns_nothing(server: ComfyServer, frames: str) -> None:
    graph = estimate("LotusGeoDepth", {"lotus_model": DEPTH}, frames, resolution=56)
    assert server.api.queue(graph).succeeded
    before = loads(server)
    again = server.api.queue(graph)
    assert again.succeeded
    assert again.executed == []
    assert again.cached == set(graph)
    assert loads(server) == before


def test_a_render_setting_reruns_no_inference(server: ComfyServer, frames: str) -> None:
    graph = estimate("LotusGeoDepth", {"lotus_model": DEPTH}, frames, resolution=48)
    settings = {"style": "turbo", "reverse": False, "low_percentile": 2.0, "high_percentile": 98.0}
    graph["render"] = {
        "class_type": "LotusGeoRenderDepth",
        "inputs": {"geometry": ["run", 1], "range_over": "image", **settings},
    }
    graph["show"] = {"class_type": "PreviewImage", "inputs": {"images": ["render", 0]}}
    first = server.api.queue(graph)
    graph["render"]["inputs"]["style"] = "spectral"
    second = server.api.queue(graph)
    assert set(second.executed) == {"render", "show"}
    assert {"run", "load lotus_model", "frames"} <= second.cached
    assert server.api.images(first, "show") != server.api.images(second, "show")


def test_a_changed_file_is_noticed(server: ComfyServer, frames: str) -> None:
    weights_file = own_checkpoint(server, "my-lotus-depth")
    graph = estimate("LotusGeoDepth", {"lotus_model": "my-lotus-depth"}, frames)
    first = maps(server, server.api.queue(graph))
    before = loads(server)
    weights = load_file(weights_file)
    weights["conv_out.weight"] = weights["conv_out.weight"] * 0.5
    save_file(weights, weights_file.with_suffix(".new"))
    assert weights_file.with_suffix(".new").stat().st_size == weights_file.stat().st_size
    weights_file.with_suffix(".new").replace(weights_file)
    again = server.api.queue(graph)
    assert "load lotus_model" not in again.cached
    assert loads(server) == before + 1
    second = maps(server, again)
    assert not np.allclose(first["value.depth.values"], second["value.depth.values"], atol=1e-3)


def test_a_changed_seed_reloads_nothing(server: ComfyServer, frames: str) -> None:
    write_generative_depth(server.base / "models" / "lotus" / "lotus-noisy-disparity-g")
    graph = estimate("LotusGeoDepth", {"lotus_model": "lotus-noisy-disparity-g"}, frames, seed=5)
    server.api.queue(graph)
    before = loads(server)
    graph["run"]["inputs"]["seed"] = 6
    second = server.api.queue(graph)
    assert second.succeeded
    assert {"load lotus_model", "frames"} <= second.cached
    assert loads(server) == before


def test_a_loaded_model_survives_the_runs_of_other_nodes(server: ComfyServer, frames: str) -> None:
    """A graph that mentions it keeps it. One that does not may cost one load: its output is ComfyUI's to drop."""
    graph = estimate("LotusGeoDepth", {"lotus_model": DEPTH}, frames, resolution=40)
    assert server.api.queue(graph).succeeded
    before = loads(server)
    beside = estimate("LotusGeoDepth", {"lotus_model": DEPTH}, frames, resolution=32)
    beside["work"] = {
        "class_type": "ProbeWork",
        "inputs": {"image": ["frames", 0], "mode": "work", "seed": 77, "steps": 2, "show": True},
    }
    assert server.api.queue(beside).succeeded
    assert loads(server) == before
    alone = {name: beside[name] for name in ("frames", "work")}
    alone["show"] = {"class_type": "PreviewImage", "inputs": {"images": ["work", 0]}}
    assert server.api.queue(alone).succeeded
    graph["run"]["inputs"]["resolution"] = 24
    assert server.api.queue(graph).succeeded
    assert loads(server) - before <= 1


def test_loaders_of_one_file_share_one_copy(server: ComfyServer, frames: str) -> None:
    """Whether they ask for "auto" or for what that is here, and whatever they call the output."""
    free(server)
    graph = estimate("LotusGeoDepth", {"lotus_model": DEPTH}, frames, resolution=72)
    for name, changes in {
        "same": {},
        "named": {"precision": "fp32"},
        "disparity": {"output": "disparity"},
    }.items():
        graph[f"load {name}"] = loader(DEPTH, **changes)
        inputs = graph["run"]["inputs"] | {"lotus_model": [f"load {name}", 0], "resolution": 80}
        graph[f"run {name}"] = {"class_type": "LotusGeoDepth", "inputs": inputs}
        graph[f"maps {name}"] = {
            "class_type": "ProbeSaveArray",
            "inputs": {"value": [f"run {name}", 1], "name": f"maps-{name}"},
        }
    before = loads(server)
    assert server.api.queue(graph).succeeded
    assert loads(server) == before + 1
    assert len(models(server)) == 2, "one UNet, one VAE"


def test_two_checkpoints_with_the_same_vae_share_it(server: ComfyServer, frames: str) -> None:
    free(server)
    pair = {"depth_model": DEPTH, "normal_model": NORMAL}
    assert server.api.queue(estimate("LotusGeoJoint", pair, frames, resolution=72)).succeeded
    found = models(server)
    assert len(found) == len({model["identity"] for model in found}) == 3, "two UNets, one VAE"


def test_everything_is_given_back_when_comfyui_asks(server: ComfyServer) -> None:
    """After two rounds, which fill the allocator's pools, every round ends where the second one did."""
    big = write_frames(server, 4, 256, 256, seed=4)
    left: list[int] = []
    for resolution in (256, 248, 256, 248):  # no round is answered from the cache
        graph = estimate("LotusGeoDepth", {"lotus_model": DEPTH}, big, resolution=resolution)
        assert server.api.queue(graph).succeeded
        assert len(models(server)) == 2
        free(server)
        assert models(server) == []
        left.append(server.state()["resident_bytes"])
    assert max(left[2:]) < left[1] * 1.03 + 8 * MIB
