"""A VAE whose activations exceed fp16, on a real server: its map is neither black nor NaN, and the log says why."""

from __future__ import annotations

import numpy as np
import pytest

from tests.nodes.batches import estimate, maps, write_frames
from tests.nodes.host.process import ComfyServer
from tests.nodes.test_pack import loader
from tests.small_models import write_overflowing_depth

pytestmark = pytest.mark.comfy

NAME = "hot-lotus-disparity-d"
SAID = f"decoding with {NAME} overflowed in float16 and was computed again in fp32: "


def values(server: ComfyServer, precision: str, frames: str) -> tuple[np.ndarray, str]:
    """The maps of a run in one precision, and what was logged meanwhile."""
    graph = estimate("LotusGeoDepth", {"lotus_model": NAME}, frames, batch_size=1)
    graph["load lotus_model"] = loader(NAME, precision=precision)
    before = len(server.log())
    found = maps(server, server.api.queue(graph))
    return found["value.depth.values"], server.log()[before:]


def test_an_overflowing_vae_is_computed_again_once_and_the_log_names_the_setting(server: ComfyServer) -> None:
    write_overflowing_depth(server.base / "models" / "lotus" / NAME)
    frames = write_frames(server, 3, 48, 64, seed=30)
    expected, log = values(server, "fp32", frames)
    assert "overflowed" not in log
    found, log = values(server, "fp16", frames)
    assert log.count(SAID + 'set precision to "fp32" (or "bf16") to avoid the detour') == 1, (
        "three maps, one detour"
    )
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, expected, atol=5e-3)  # encoder and UNet did compute in fp16
    assert np.ptp(found[0]) > 0.1, "a flat map would prove nothing"


def test_the_setting_that_the_warning_names_avoids_it(server: ComfyServer) -> None:
    write_overflowing_depth(server.base / "models" / "lotus" / NAME)
    frames = write_frames(server, 1, 48, 64, seed=31)
    found, log = values(server, "bf16", frames)
    assert np.isfinite(found).all()
    assert "overflowed" not in log
