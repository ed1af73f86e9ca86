import json

import numpy as np
import pytest

from lotus_core.cli.exit_codes import BAD_USAGE, DONE, INTERRUPTED, SOME_FAILED
from lotus_core.io.video import VideoReader
from lotus_core.video.spool import SEGMENT
from tests.core.io.video_files import audio_packets, shade, stored_frames, write_clip

pytestmark = pytest.mark.usefixtures("known_models")


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "in" / "walk.mp4", 10, audio="aac")


def facts(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_preview_data_and_facts_are_left_and_nothing_else(lotus, clip, tmp_path):
    ran = lotus("video", clip, "-o", tmp_path / "out", "--model", "disparity-d")
    assert ran.code == DONE
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "walk_depth.mp4",
        "walk_disparity.json",
        "walk_disparity16.mkv",
    ]
    assert f"1 done, 0 failed; results in {tmp_path / 'out'}" in ran.out


def test_the_preview_has_the_sound_the_times_and_the_number_of_frames(lotus, clip, tmp_path):
    lotus("video", clip, "-o", tmp_path, "--model", "disparity-d", "--format", "mp4")
    with VideoReader(clip) as given, VideoReader(tmp_path / "walk_depth.mp4") as made:
        before = [f.ticks * given.info.time_base for f in given.frames()]
        after = [f.ticks * made.info.time_base for f in made.frames()]
    assert after == before
    assert audio_packets(tmp_path / "walk_depth.mp4") == audio_packets(clip)


def test_sound_can_be_left_out(lotus, clip, tmp_path):
    lotus("video", clip, "-o", tmp_path, "--model", "disparity-d", "--format", "mp4", "--no-audio")
    assert audio_packets(tmp_path / "walk_depth.mp4")[0] == []


def test_data_are_the_models_values(lotus, clip, tmp_path):
    """The stand-in gives back 8x8 block means, and disparity is their mean over the colours."""
    options = ("--model", "disparity-d", "--format", "ffv1", "--resolution", 0, "--no-stabilize")
    lotus("video", clip, "-o", tmp_path, *options)
    frames = stored_frames(tmp_path / "walk_disparity16.mkv")
    assert len(frames) == 10
    expected = shade(4).astype(float).mean(-1).reshape(6, 8, 8, 8).mean((1, 3)) / 255
    found = frames[4].reshape(6, 8, 8, 8)[:, 4, :, 4] / 65535
    assert np.abs(found - expected).max() < 0.03


def test_every_format_is_written(lotus, clip, tmp_path):
    pytest.importorskip("OpenEXR", reason='needs the extra "exr"')
    ran = lotus("video", clip, "-o", tmp_path, "--model", "depth-d", "--format", "mp4,ffv1,png16,exr")
    assert ran.code == DONE
    assert len(list((tmp_path / "walk_depth16").glob("*.png"))) == 10
    assert len(list((tmp_path / "walk_depth_exr").glob("*.exr"))) == 10
    assert (tmp_path / "walk_depth16.mkv").is_file()


def test_normals_are_painted_by_their_convention(lotus, clip, tmp_path):
    options = (
        "--model",
        "normal-d",
        "--task",
        "normal",
        "--normal-convention",
        "opengl",
        "--format",
        "mp4,ffv1",
    )
    ran = lotus("video", clip, "-o", tmp_path, *options)
    assert ran.code == DONE
    told = facts(tmp_path / "walk_normal.json")
    assert (told["kind"], told["convention"]) == ("normal", "opengl")
    assert stored_frames(tmp_path / "walk_normal16.mkv")[0].shape == (48, 64, 3)
    assert (tmp_path / "walk_normal.mp4").is_file()


def test_the_facts_say_what_was_made_of_the_clip(lotus, clip, tmp_path):
    lotus("video", clip, "-o", tmp_path, "--model", "disparity-d")
    told = facts(tmp_path / "walk_disparity.json")
    assert told["model"] == "disparity-d"
    assert told["frames"] == len(told["times_s"]) == len(told["scale"]) == len(told["shift"]) == 10
    assert told["times_s"][:2] == [0.0, 0.041667]
    assert told["shots"] == [0]
    assert told["losses"] == []
    assert told["size"] == [64, 48]
    assert 0.0 <= told["display_range"][0] < told["display_range"][1] <= 1.0
    assert told["options"]["sequence"] == "video"
    assert told["clip"] == {"carry": 0.1, "stabilize": True, "find_cuts": True}


def test_the_previews_own_name_may_be_given(lotus, clip, tmp_path):
    lotus("video", clip, "-o", tmp_path / "new" / "shown.mov", "--model", "disparity-d")
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == [
        "shown.mov",
        "shown_disparity.json",
        "shown_disparity16.mkv",
    ]


def test_a_rotated_phone_video_keeps_its_flag(lotus, tmp_path):
    source = write_clip(tmp_path / "phone.mp4", 4, rotation=-90)
    lotus("video", source, "-o", tmp_path, "--model", "disparity-d", "--format", "mp4")
    with VideoReader(tmp_path / "phone_depth.mp4") as made:
        assert made.info.rotation == -90
        assert (made.info.width, made.info.height) == (64, 48)


def test_json_is_one_document(lotus, clip, tmp_path):
    ran = lotus("video", clip, "-o", tmp_path, "--model", "disparity-d", "--json")
    document = ran.document
    assert document["command"] == "video"
    (item,) = document["items"]
    assert item["status"] == "done"
    assert item["frames"] == 10
    assert "times_s" not in item


# --- what goes wrong


def test_a_broken_file_is_written_as_far_as_it_goes_and_the_loss_is_named(lotus, tmp_path):
    source = write_clip(tmp_path / "a.mkv", 40, gop=4)
    data = source.read_bytes()
    source.write_bytes(data[: int(len(data) * 0.6)])
    ran = lotus("video", source, "-o", tmp_path / "out", "--model", "disparity-d")
    assert ran.code == SOME_FAILED
    assert "warning: " in ran.err
    assert "that it states" in ran.err
    with VideoReader(tmp_path / "out" / "a_depth.mp4") as made:
        assert 5 < len(list(made.frames())) < 40
    assert facts(tmp_path / "out" / "a_disparity.json")["losses"][0]["reason"].startswith("the file ends at")


def test_a_file_that_is_no_video_is_a_failure(lotus, tmp_path):
    source = tmp_path / "a.mp4"
    source.write_bytes(b"nothing at all")
    ran = lotus("video", source, "-o", tmp_path / "out", "--model", "disparity-d")
    assert ran.code == SOME_FAILED
    assert "cannot be opened as a video" in ran.err


def test_a_missing_file_is_refused_before_the_model_is_loaded(lotus, tmp_path, known_models):
    ran = lotus("video", tmp_path / "no.mp4", "-o", tmp_path / "out", "--model", "disparity-d")
    assert ran.code == BAD_USAGE
    assert "IN must be a video file that exists" in ran.err
    assert known_models == []


def test_the_input_is_never_overwritten(lotus, clip):
    ran = lotus("video", clip, "-o", clip, "--model", "disparity-d")
    assert ran.code == BAD_USAGE
    assert "--output must be another file than the input" in ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--format", "gif"), "unknown format gif: choose from mp4, ffv1, png16, exr"),
        (("--format", ","), "no format: choose from"),
        (("--carry", "2"), "carry must be a number from 0"),
        (("--task", "normal"), "this needs a normal model"),
    ],
)
def test_what_cannot_be_used_is_said(lotus, clip, tmp_path, words, said):
    ran = lotus("video", clip, "-o", tmp_path / "out", "--model", "disparity-d", *words)
    assert ran.code == BAD_USAGE
    assert said in ran.err


def test_a_full_disk_says_how_to_go_on(lotus, tmp_path, file_size_limit):
    source = write_clip(tmp_path / "a.mp4", 10)
    with file_size_limit(2000):
        ran = lotus("video", source, "-o", tmp_path / "out", "--model", "disparity-d")
    assert ran.code == SOME_FAILED
    assert "was not written" in ran.err


# --- going on


def test_an_unfinished_run_asks_for_resume_and_then_goes_on(lotus, tmp_path, monkeypatch):
    source = write_clip(tmp_path / "a.mp4", SEGMENT + 6)
    words = ("video", source, "-o", tmp_path / "out", "--model", "disparity-d", "--format", "ffv1")
    lotus(*words[:3], tmp_path / "whole", *words[4:])

    from lotus_core.video import convert

    add, added = convert.Spool.add, []

    def interrupted(self, *args):
        if added:
            raise KeyboardInterrupt
        added.append(add(self, *args))

    monkeypatch.setattr(convert.Spool, "add", interrupted)
    assert lotus(*words).code == INTERRUPTED
    monkeypatch.setattr(convert.Spool, "add", add)
    refused = lotus(*words)
    assert refused.code == SOME_FAILED
    assert "--resume must be given" in refused.err
    assert lotus(*words, "--resume").code == DONE
    found = stored_frames(tmp_path / "out" / "a_disparity16.mkv")
    expected = stored_frames(tmp_path / "whole" / "a_disparity16.mkv")
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    assert not (tmp_path / "out" / "a_disparity.parts").exists()
