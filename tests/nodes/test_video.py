"""Clips on a real server: batches of frames through the estimators, video files through Lotus Video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import lotus_core as lc
from lotus_core.io.video import VideoReader
from lotus_core.video.spool import SEGMENT
from tests.core.io.video_files import audio_packets, stored_frames, write_clip
from tests.nodes.batches import estimate, maps
from tests.nodes.host.messages import Run
from tests.nodes.host.process import ComfyServer
from tests.nodes.test_pack import DEPTH, NORMAL, loader
from tests.small_models import write_generative_depth

pytestmark = pytest.mark.comfy

SMALL = {"working_size": "custom", "resolution": 64}


def pumping_frames(server: ComfyServer, count: int = 24) -> str:
    """Write frames of a still picture whose contrast jumps by a tenth from frame to frame; the file's name."""
    generator = np.random.default_rng(3)
    still = np.random.default_rng(4).random((6, 8, 3)).repeat(16, 0).repeat(16, 1)
    contrast = 0.7 * np.exp(0.1 * generator.standard_normal(count))
    frames = 0.5 + (still - 0.5) * contrast[:, None, None, None]
    name = f"pumping-{count}.npy"
    np.save(server.base / "input" / name, frames.clip(0, 1).astype(np.float32))
    return name


def graph(server: ComfyServer, clip: Path, model: str = DEPTH, **changes: object) -> dict:
    """Load Video and Lotus Video on a clip, which is put into the input folder."""
    target = server.base / "input" / clip.name
    target.write_bytes(clip.read_bytes())
    return {
        "load": {"class_type": "LoadVideo", "inputs": {"file": clip.name}},
        **video_node(model, **changes),
    }


def video_node(model: str = DEPTH, **changes: object) -> dict:
    values = {
        **{
            "style": "hint (near white)",
            "normal_convention": "lotus / normalbae (R left, G up)",
            "data": "none",
        },
        **{"filename_prefix": "clips/made", "carry": 0.1, "stabilize": True, "seed": 0, **SMALL},
    }
    inputs = {"lotus_model": ["model", 0], "video": ["load", 0], **values, **changes}
    return {"model": loader(model), "run": {"class_type": "LotusGeoVideo", "inputs": inputs}}


def made(server: ComfyServer, run: Run) -> Path:
    """The video that a finished run shows."""
    assert run.error is None, run.error
    [entry] = run.outputs["run"]["images"]
    assert entry["type"] == "output"
    return server.base / "output" / entry["subfolder"] / entry["filename"]


# --- batches of frames


def test_video_makes_of_a_batch_of_frames_what_the_library_makes_of_a_clip(server: ComfyServer) -> None:
    file = pumping_frames(server)
    frames = torch.from_numpy(np.load(server.base / "input" / file))
    model = lc.load_model(DEPTH, precision="fp32", device="cpu")
    found, expected = {}, {}
    for sequence in ("images", "video"):
        prompt = estimate("LotusGeoDepth", {"lotus_model": DEPTH}, file, sequence=sequence, **SMALL)
        found[sequence] = maps(server, server.api.queue(prompt))["value.depth.values"]
        options = lc.InferenceOptions(resolution=64, sequence=sequence)
        expected[sequence] = lc.predict_depth(model, frames, options).values.numpy()
        np.testing.assert_allclose(found[sequence], expected[sequence], atol=2e-3)
    assert found["video"].shape == found["images"].shape == (24, 96, 128)
    assert np.abs(expected["video"] - expected["images"]).max() > 0.005


def test_a_long_clip_previews_some_of_its_frames(server: ComfyServer) -> None:
    file = pumping_frames(server)
    shown = {
        sequence: server.api.queue(
            estimate("LotusGeoDepth", {"lotus_model": DEPTH}, file, sequence=sequence, seed=5, **SMALL)
        ).outputs["run"]["images"]
        for sequence in ("images", "video")
    }
    assert [len(shown["images"]), len(shown["video"])] == [24, 16]


def test_carry_reaches_generative_models(server: ComfyServer) -> None:
    write_generative_depth(server.base / "models" / "lotus" / "lotus-noisy-disparity-g")
    file = pumping_frames(server, 4)
    found = [
        maps(
            server,
            server.api.queue(
                estimate(
                    "LotusGeoDepth",
                    {"lotus_model": "lotus-noisy-disparity-g"},
                    file,
                    sequence="video",
                    **SMALL,
                    **given,
                )
            ),
        )["value.depth.values"]
        for given in ({"carry": 0.0}, {}, {"carry": 0.1}, {"carry": 0.6})
    ]
    assert np.array_equal(found[1], found[2]), "0.1 is what an older workflow, without this input, gets"
    assert np.abs(found[0] - found[1]).max() > 1e-4
    assert np.abs(found[3] - found[1]).max() > 1e-3


def test_joint_treats_depth_of_a_clip_as_depth_alone_does(server: ComfyServer) -> None:
    file = pumping_frames(server, 6)
    models = {"depth_model": DEPTH, "normal_model": NORMAL}
    joint = maps(server, server.api.queue(estimate("LotusGeoJoint", models, file, sequence="video", **SMALL)))
    alone = estimate("LotusGeoDepth", {"lotus_model": DEPTH}, file, sequence="video", **SMALL)
    np.testing.assert_allclose(
        joint["value.depth.values"], maps(server, server.api.queue(alone))["value.depth.values"], atol=1e-5
    )
    assert joint["value.normals.vectors"].shape == (6, 96, 128, 3)


def test_frames_of_a_loaded_video_are_a_batch_as_it_is(server: ComfyServer, tmp_path: Path) -> None:
    """What ComfyUI's own loader gives, and those of other packs: IMAGE frames, and a rate and sound beside them."""
    clip = write_clip(tmp_path / "components.mp4", 5, audio="aac")
    (server.base / "input" / clip.name).write_bytes(clip.read_bytes())
    prompt = estimate("LotusGeoDepth", {"lotus_model": DEPTH}, "unused", sequence="video", **SMALL) | {
        "load": {"class_type": "LoadVideo", "inputs": {"file": clip.name}},
        "frames": {"class_type": "GetVideoComponents", "inputs": {"video": ["load", 0]}},
        "again": {
            "class_type": "CreateVideo",
            "inputs": {"images": ["run", 0], "audio": ["frames", 1], "fps": ["frames", 2]},
        },
        "turn": {
            "class_type": "LotusGeoVideo",
            "inputs": video_node(filename_prefix="clips/again")["run"]["inputs"]
            | {"video": ["again", 0], "lotus_model": ["load lotus_model", 0]},
        },
    }
    run = server.api.queue(prompt)
    assert maps(server, run)["value.depth.values"].shape == (5, 48, 64)
    [entry] = run.outputs["turn"]["images"]  # a video made of pictures goes through Lotus Video too
    path = server.base / "output" / entry["subfolder"] / entry["filename"]
    with VideoReader(path) as reader:
        assert len(list(reader.frames())) == 5
    assert list((server.base / "temp" / "lotus-video").iterdir()) == [], "nothing is left behind"


# --- video files


@pytest.mark.parametrize(
    ("ticks", "audio"),
    [(None, "aac"), ([0, 3750, 9000, 9900, 20000, 24000], None)],
    ids=["sound", "variable rate"],
)
def test_a_video_keeps_its_frames_their_times_and_its_sound(
    server: ComfyServer, tmp_path: Path, ticks: list[int] | None, audio: str | None
) -> None:
    clip = write_clip(tmp_path / f"walk-{audio}.mp4", 6, ticks=ticks, audio=audio)
    path = made(server, server.api.queue(graph(server, clip)))
    with VideoReader(clip) as given, VideoReader(path) as found:
        before = [frame.ticks * given.info.time_base for frame in given.frames()]
        after = [frame.ticks * found.info.time_base for frame in found.frames()]
    assert after == before
    assert len(after) == 6
    assert audio_packets(path) == audio_packets(clip)
    assert path.parent.name == "clips"


def test_data_are_the_librarys_values(server: ComfyServer, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "values.mp4", 9, height=64, width=96)
    run = server.api.queue(graph(server, clip, data="16-bit video (FFV1)"))
    data = made(server, run).with_name(f"{made(server, run).stem}_data.mkv")
    found = np.stack(stored_frames(data)).astype(np.float32) / 65535.0
    with VideoReader(clip) as reader:
        frames = torch.stack([torch.from_numpy(frame.rgb).float() / 255.0 for frame in reader.frames()])
    model = lc.load_model("lotus-tiny-depth-d", precision="fp32", device="cpu")
    expected = lc.predict_depth(model, frames, lc.InferenceOptions(resolution=64, sequence="video"))
    np.testing.assert_allclose(found, expected.values.numpy(), atol=2e-3)


def test_normals_are_painted_by_the_convention(server: ComfyServer, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "normals.mp4", 3, height=64, width=64)
    pictures = []
    for convention in ("OpenGL (R right, G up)", "DirectX (R right, G down)"):
        run = server.api.queue(
            graph(server, clip, NORMAL, normal_convention=convention, data="16-bit PNG files")
        )
        path = made(server, run)
        assert len(list(path.with_name(f"{path.stem}_data").glob("*.png"))) == 3
        with VideoReader(path) as reader:
            pictures.append(next(reader.frames()).rgb.astype(float))
    green = pictures[0][..., 1] + pictures[1][..., 1]
    assert np.abs(green - 255).mean() < 6, "the greens are each other's negatives, up to H.264"
    assert np.abs(pictures[0][..., 2] - pictures[1][..., 2]).mean() < 6


def test_a_cancelled_video_goes_on_where_it_was(server: ComfyServer, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "long.mp4", 4 * SEGMENT)
    prompt = graph(server, clip)

    def cancel(message: object) -> None:
        if message.type == "progress" and message.data["value"] >= SEGMENT:
            server.api.interrupt()

    run = server.api.wait(server.api.submit(prompt), on_message=cancel)
    assert run.interrupted
    assert run.error is None
    total = 2 * 4 * SEGMENT
    assert run.progress("run")[0] == (SEGMENT, total)
    assert not list((server.base / "output" / "clips").glob("*long*"))
    again = server.api.queue(prompt)
    assert again.progress("run")[0][0] > run.progress("run")[0][0], "what was done is not done again"
    assert again.progress("run")[-1] == (total, total)
    with VideoReader(made(server, again)) as reader:
        assert len(list(reader.frames())) == 4 * SEGMENT
    assert list((server.base / "temp" / "lotus-video").iterdir()) == []


def test_a_file_that_is_no_video_is_an_error_that_names_it(server: ComfyServer, tmp_path: Path) -> None:
    clip = tmp_path / "broken.mp4"
    clip.write_bytes(b"no video" * 100)
    run = server.api.queue(graph(server, clip))
    assert run.error is not None
    assert "broken.mp4" in run.error["exception_message"]
    assert run.error["exception_type"].endswith("errors.VideoError")
