"""Many prompts on one server, with faults: it stays alive, names each failure, holds its memory and leaves no litter.

LOTUS_SOAK_PROMPTS sets how many prompts (40 by default, 200 for a release); with ``pytest -s`` the figures are shown.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.nodes.batches import Graph, estimate, write_frames
from tests.nodes.host.api import PromptRejectedError
from tests.nodes.host.checkouts import Checkout
from tests.nodes.host.messages import Message, Run
from tests.nodes.host.process import ComfyServer
from tests.nodes.test_pack import DEPTH, NORMAL
from tests.small_models import BUNDLED, write_generative_depth

pytestmark = [pytest.mark.comfy, pytest.mark.slow]

PROMPTS = int(os.environ.get("LOTUS_SOAK_PROMPTS", "40"))
INTERRUPTS = 10
DOOMED = "doomed-lotus-depth"
GENERATIVE = "lotus-noisy-disparity-g"
KINDS = {
    "depth": ("LotusGeoDepth", {"lotus_model": DEPTH}),
    "noisy": ("LotusGeoDepth", {"lotus_model": GENERATIVE}),
    "normal": ("LotusGeoNormal", {"lotus_model": NORMAL}),
    "joint": ("LotusGeoJoint", {"depth_model": DEPTH, "normal_model": NORMAL}),
    "mixed": ("LotusGeoJoint", {"depth_model": GENERATIVE, "normal_model": NORMAL}),
    "doomed": ("LotusGeoDepth", {"lotus_model": DOOMED}),
}
MIXED = ("depth", "normal", "joint", "noisy", "mixed")


MIB = 2**20


@dataclass
class Soak:
    """What happened: every run by its phase, resident memory after every run, and the files that runs reported."""

    runs: dict[str, list[Run]] = field(default_factory=dict)
    resident: list[int] = field(default_factory=list)
    alive: bool = False
    files: set[Path] = field(default_factory=set)
    reported: set[Path] = field(default_factory=set)
    rejected: str = ""
    state_before: dict = field(default_factory=dict)
    state_after: dict = field(default_factory=dict)

    @property
    def warm(self) -> int:
        """Most resident bytes of the first third: every model, graph and file format was met once by then."""
        return max(self.resident[: len(self.resident) // 3])

    def figures(self) -> str:
        """One line: prompts by how they ended, resident memory, files."""
        runs = [run for phase in self.runs.values() for run in phase]
        ended = [sum(run.succeeded for run in runs), sum(run.interrupted for run in runs)]
        ended.append(sum(run.error is not None for run in runs))
        resident = [self.warm, self.resident[len(runs) // 2], self.resident[-1], max(self.resident)]
        return (
            f"{len(runs)} prompts: {ended[0]} done, {ended[1]} interrupted, {ended[2]} failed by design; resident MiB "
            f"warm, half-way, end, most: {', '.join(f'{size / MIB:.0f}' for size in resident)}; "
            f"{len(self.files)} files, {len(self.files - self.reported)} of them unreported"
        )


class Queue:
    """Prompts of one server, submitted in bulk and waited for in their order."""

    def __init__(self, server: ComfyServer, soak: Soak) -> None:
        self.server = server
        self.soak = soak
        self.seed = 0

    def graph(self, kind: str, *, save: str = "SaveImage", frames: int = 1) -> Graph:
        """One estimator, its first output saved or shown under a name of its own; never the same graph twice."""
        self.seed += 1
        file = write_frames(self.server, frames, 64, 48, seed=1)
        node, models = KINDS[kind]
        graph = estimate(node, models, file, seed=self.seed, batch_size=1)
        if save == "mesh":
            graph = estimate(*KINDS["joint"], file, seed=self.seed, batch_size=1)
            inputs = {"geometry": ["run", 2], "picture": 0, "stride": 8, "filename_prefix": "soak/points"}
            graph["points"] = {"class_type": "LotusGeoPointCloud", "inputs": inputs}
            graph["maps"] = {"class_type": "PreviewAny", "inputs": {"source": ["points", 0]}}
            return graph
        name = {} if save == "PreviewImage" else {"filename_prefix": "soak/map"}
        graph["maps"] = {"class_type": save, "inputs": {"images": ["run", 0], **name}}
        return graph

    def run(self, phase: str, graphs: list[Graph], interrupted: set[int] = frozenset()) -> list[Run]:
        """Queue all graphs, wait for all, cancelling some after their first map."""
        prompts = [self.server.api.submit(graph) for graph in graphs]
        runs: list[Run] = []
        for place, prompt_id in enumerate(prompts):

            def watch(message: Message, cancel: bool = place in interrupted) -> None:
                if cancel and message.type == "progress" and message.data["value"] == 1:
                    self.server.api.interrupt()

            run = self.server.api.wait(prompt_id, on_message=watch)
            runs.append(run)
            self._take_down(run)
            self.soak.resident.append(self.server.state()["resident_bytes"])
        self.soak.runs.setdefault(phase, []).extend(runs)
        return runs

    def _take_down(self, run: Run) -> None:
        for output in run.outputs.values():
            for entry in output.get("images", []):
                self.soak.reported.add(
                    self.server.base / entry["type"] / entry["subfolder"] / entry["filename"]
                )
            for text in output.get("text", []):
                self.soak.reported.add(self.server.base / "output" / text)


@pytest.fixture(scope="module")
def soak(checkout: Checkout) -> Iterator[Soak]:
    with ComfyServer(checkout) as server:
        found = soaked(server)
        print(f"\nComfyUI {checkout.version}: {found.figures()}")
        yield found


def soaked(server: ComfyServer) -> Soak:
    """Run all phases."""
    soak, choose = Soak(), random.Random(8)
    queue = Queue(server, soak)
    weights = doomed_checkpoint(server)
    write_generative_depth(server.base / "models" / "lotus" / GENERATIVE)
    queue.run("warm", [queue.graph(kind) for kind in KINDS])
    soak.state_before = server.state()

    def mixed(count: int, cancelled: int) -> None:
        stops = set(choose.sample(range(count), cancelled))
        kinds = [choose.choice(MIXED) for _ in range(count)]
        queue.run(
            "mixed", [queue.graph(k, frames=24 if i in stops else 1) for i, k in enumerate(kinds)], stops
        )

    mixed(PROMPTS * 2 // 5, INTERRUPTS // 2)

    queue.run("loaded", [queue.graph("doomed")])
    hidden = weights.rename(weights.with_suffix(".hidden"))
    few = max(2, PROMPTS // 20)
    prompts = [queue.graph("doomed"), queue.graph("depth")] * few
    try:
        queue.run("file deleted", prompts)
    except PromptRejectedError as refusal:
        soak.rejected = str(refusal)
        queue.run("file deleted", [queue.graph("depth") for _ in range(2 * few)])
    hidden.rename(weights)
    queue.run("file restored", [queue.graph("doomed")])

    blocked = server.base / "output"
    kept = blocked.rename(server.base / "output.kept")
    blocked.write_bytes(b"")  # a file where the folder was: permissions mean nothing to an administrator
    queue.run(
        "no output folder",
        [queue.graph(choose.choice(MIXED), save=s) for s in ("SaveImage", "mesh", "PreviewImage") * few],
    )
    blocked.unlink()
    kept.rename(blocked)
    queue.run("output restored", [queue.graph("depth"), queue.graph("joint", save="mesh")])

    mixed(PROMPTS * 2 // 5, INTERRUPTS - INTERRUPTS // 2)
    soak.state_after = server.state()
    soak.alive = server.is_alive() and server.is_ready()
    soak.files = {p for kind in ("output", "temp") for p in (server.base / kind).rglob("*") if p.is_file()}
    soak.files |= {
        p for p in (server.base / "models").rglob("*") if p.suffix not in (".safetensors", ".json")
    }
    soak.files = {p for p in soak.files if p.is_file()}
    return soak


def doomed_checkpoint(server: ComfyServer) -> Path:
    """A checkpoint of the user's own; its UNet's file."""
    folder = server.base / "models" / "lotus" / DOOMED
    shutil.copytree(BUNDLED / "lotus-tiny-depth-d", folder)
    shutil.copytree(BUNDLED / "vae", folder / "vae")
    shutil.copy(BUNDLED / "prompt_embeds.safetensors", folder)
    return folder / "unet" / "diffusion_pytorch_model.safetensors"


def test_the_server_is_alive_after_all_of_it(soak):
    assert soak.alive
    assert sum(len(runs) for runs in soak.runs.values()) >= PROMPTS


def test_every_undisturbed_prompt_succeeds(soak):
    for phase in ("warm", "loaded", "file restored", "output restored"):
        for run in soak.runs[phase]:
            assert run.succeeded, (phase, run.error)
    for run in soak.runs["mixed"]:
        assert run.succeeded or run.interrupted, run.error


def test_ten_interrupts_stop_ten_prompts_and_no_other(soak):
    assert sum(run.interrupted for run in soak.runs["mixed"]) == INTERRUPTS


def test_a_deleted_model_file_is_named_in_its_own_prompts_and_the_others_run(soak):
    failed = [run for run in soak.runs["file deleted"] if run.error]
    for run in failed:
        assert DOOMED in run.error["exception_message"]
        assert run.error["node_type"] == "LotusGeoLoadModel"
    for run in soak.runs["file deleted"]:
        assert run.succeeded or run.error
    assert failed or DOOMED in soak.rejected
    assert sum(run.succeeded for run in soak.runs["file deleted"]) >= len(soak.runs["file deleted"]) // 2


def test_an_output_folder_that_cannot_be_written_is_named_in_its_own_prompts(soak):
    saved, points, shown = (soak.runs["no output folder"][i::3] for i in range(3))
    for run in saved:
        assert run.error["node_type"] == "SaveImage"
    for run in points:
        assert run.error["node_type"] == "LotusGeoPointCloud"
        assert "output" in run.error["exception_message"]
        assert run.error["exception_type"].endswith("NotWritableError")
    for run in shown:
        assert run.succeeded, run.error


def test_memory_is_flat(soak):
    """Within 5 % between the warm server, the middle and the end."""
    assert max(soak.resident[-5:]) <= soak.warm * 1.05
    assert len(soak.state_after["models"]) <= len(soak.state_before["models"])


def test_no_file_is_left_that_no_run_reported(soak):
    assert soak.files <= soak.reported
    assert {path for path in soak.reported if path.exists()} == soak.reported


def test_torch_is_as_it_was(soak):
    assert soak.state_after["torch"] == soak.state_before["torch"]
