"""What the loader's optional sockets bring: ComfyUI's own VAE, and its Lotus conditioning."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.nodes.host.process import run_inside

pytestmark = pytest.mark.comfy


def test_a_vae_of_comfyui_and_its_lotus_conditioning_arrive_unchanged(checkout):
    report = run_inside(checkout, Path(__file__).with_name("inside") / "vae_socket.py")
    assert report["same_keys"]
    assert report["largest_difference"] < 1e-3  # ComfyUI may keep a VAE in another type than the file's
    assert report["scaling_factor"] == 0.18215
    assert report["prompt_shape"] == [1, 2, 1024]
    assert report["prompt_dtype"] == "torch.float32"
