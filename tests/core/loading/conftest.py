"""A Hub on loopback, and the real client in a process of its own."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.core.loading.hub_client import Client
from tests.core.loading.hub_server import HubServer, Repository, serving

CLIENT_PYTHON = os.environ.get("HUB_CLIENT_PYTHON", sys.executable)
"""Interpreter of the client: set it to that of another environment to test another version of huggingface_hub."""

AUTHORS = "jingheya/lotus-depth-d-v1-0"
KIJAI = "Kijai/lotus-comfyui"
SINGLE = "lotus-depth-g-v1-0-fp16.safetensors"
VAE = ("stabilityai/sd-vae-ft-mse-original", "vae-ft-mse-840000-ema-pruned.safetensors")


def content(name: str, size: int) -> bytes:
    """Return bytes that no compression shortens and that differ by name."""
    return np.random.default_rng(sum(name.encode())).bytes(size)


def lotus_repository(size: int = 3 * 2**20) -> Repository:
    """Return a diffusers repository of the authors, with a text encoder, a pickle and a picture beside the weights."""
    weights = {
        "unet/diffusion_pytorch_model.safetensors": content("unet", size),
        "vae/diffusion_pytorch_model.safetensors": content("vae", size // 3),
        "text_encoder/model.safetensors": content("text", size // 2),
        "text_encoder/pytorch_model.bin": content("pickle", 5_000),
    }
    small = {
        "unet/config.json": b'{"in_channels": 4}',
        "vae/config.json": b'{"scaling_factor": 0.18215}',
        "text_encoder/config.json": b"{}",
        "tokenizer/tokenizer_config.json": b"{}",
        "tokenizer/special_tokens_map.json": b"{ }",
        "tokenizer/vocab.json": b'{"a": 1}',
        "tokenizer/merges.txt": b"#version: 0.2\n",
        "README.md": b"# Lotus",
        "teaser.png": content("png", 20_000),
    }
    return Repository(weights | small)


@pytest.fixture(scope="session")
def hub_server() -> Iterator[HubServer]:
    with serving() as server:
        yield server


@pytest.fixture
def hub(hub_server: HubServer, hub_home: Path) -> HubServer:
    """The server with the authors' repository, one of single files, and the shared VAE; the Hub's cache empty."""
    hub_server.reset()
    shutil.rmtree(hub_home / "hub", ignore_errors=True)
    hub_server.repositories[AUTHORS] = lotus_repository()
    hub_server.repositories[KIJAI] = Repository({SINGLE: content("single", 2 * 2**20)}, commit="b" * 40)
    hub_server.repositories[VAE[0]] = Repository({VAE[1]: content("shared", 2**20)}, commit="c" * 40)
    return hub_server


@pytest.fixture(scope="session")
def hub_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """HF_HOME of the client: the Hub's cache lies in its `hub`."""
    return tmp_path_factory.mktemp("hf-home")


@pytest.fixture(scope="session")
def hub_client(hub_server: HubServer, hub_home: Path) -> Iterator[Client]:
    client = Client(hub_server.endpoint, hub_home, python=CLIENT_PYTHON)
    yield client
    client.close()
