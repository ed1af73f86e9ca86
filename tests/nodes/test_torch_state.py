"""Nodes leave torch's global state as they find it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.nodes.batches import estimate, write_frames
from tests.nodes.host.checkouts import Checkout
from tests.nodes.host.process import ComfyServer, run_inside
from tests.nodes.test_pack import DEPTH, NORMAL
from tests.small_models import write_generative_depth

pytestmark = pytest.mark.comfy

INSIDE = Path(__file__).parent / "inside"


@pytest.mark.parametrize(
    ("kind", "models", "changes"),
    [
        ("LotusGeoDepth", {"lotus_model": DEPTH}, {}),
        ("LotusGeoDepth", {"lotus_model": "lotus-noisy-disparity-g"}, {"ensemble_size": 3, "seed": 7}),
        ("LotusGeoNormal", {"lotus_model": NORMAL}, {}),
        ("LotusGeoJoint", {"depth_model": DEPTH, "normal_model": NORMAL}, {"sequence": "video"}),
    ],
    ids=["depth", "ensemble", "normal", "joint"],
)
def test_a_run_on_the_server_changes_nothing_global(server: ComfyServer, kind, models, changes) -> None:
    """Neither the random numbers' state nor types, threads, determinism or any backend's switch."""
    write_generative_depth(server.base / "models" / "lotus" / "lotus-noisy-disparity-g")
    file = write_frames(server, 3, 40, 40, seed=21)
    before = server.state()["torch"]
    assert server.api.queue(estimate(kind, models, file, resolution=40, **changes)).succeeded
    assert server.state()["torch"] == before


@pytest.fixture(scope="module")
def states(checkout: Checkout) -> dict:
    return run_inside(checkout, INSIDE / "torch_state.py")


def test_loading_and_running_leave_the_threads_own_state(states):
    """Gradient and inference mode, default device and dispatch modes belong to the thread that runs a prompt."""
    assert states["before"] == states["after loading"] == states["after running"]
    assert states["before"]["grad"] is True, "the check would not notice a mode that is off already"


def test_an_error_and_a_stop_leave_it_too(states):
    assert states["after an error"] == states["before"]
    assert states["after a stop"] == states["before"]


def test_unusual_settings_of_others_are_kept(states):
    """A node of another pack may have set a seed, a type or determinism: they hold afterwards."""
    assert states["unusual after"] == states["unusual before"]
    assert states["unusual before"] != states["before"]
