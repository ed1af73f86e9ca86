import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from lotus_core.errors import MissingExtraError, VideoError
from lotus_core.io import video
from lotus_core.io.video import VideoReader

from .video_files import shade, write_clip


def read(path, **options):
    with VideoReader(path) as reader:
        frames = list(reader.frames(**options))
        return reader, frames


# --- what a file says of itself


def test_info_of_a_plain_file(tmp_path):
    reader, _ = read(write_clip(tmp_path / "a.mp4", 10))
    info = reader.info
    assert (info.width, info.height, info.rotation, info.frames) == (64, 48, 0, 10)
    assert info.codec == "h264"
    assert info.rate == 24
    assert info.aspect == 1
    assert info.audio == ()


def test_audio_streams_are_named(tmp_path):
    reader, _ = read(write_clip(tmp_path / "a.mp4", 10, audio="aac"))
    assert reader.info.audio == ("aac",)


def test_matroska_states_no_number_of_frames(tmp_path):
    reader, frames = read(write_clip(tmp_path / "a.mkv", 7))
    assert reader.info.frames is None
    assert len(frames) == 7
    assert reader.losses == []


# --- pixels


def test_frames_are_what_was_written(tmp_path):
    _, frames = read(write_clip(tmp_path / "a.mp4", 10))
    for index, frame in enumerate(frames):
        assert frame.rgb.shape == (48, 64, 3)
        assert frame.rgb.dtype == np.uint8
        assert np.abs(frame.rgb.astype(int) - shade(index)).mean() < 4


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_frames_are_handed_out_upright(tmp_path, rotation):
    path = write_clip(tmp_path / "a.mp4", 3, rotation=rotation)
    reader, frames = read(path)
    assert reader.info.rotation == rotation
    assert (reader.info.width, reader.info.height) == (64, 48)
    assert np.abs(frames[0].rgb.astype(int) - shade(0)).mean() < 4


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_rotation_is_read_from_every_container(tmp_path, suffix):
    reader, _ = read(write_clip(tmp_path / f"a{suffix}", 2, rotation=-90))
    assert reader.info.rotation == -90


@pytest.mark.parametrize(("codec", "suffix"), [("mpeg4", ".avi"), ("libx265", ".mkv"), ("ffv1", ".mkv")])
def test_other_codecs_are_read(tmp_path, codec, suffix):
    _, frames = read(write_clip(tmp_path / f"a{suffix}", 5, codec=codec))
    assert len(frames) == 5
    assert np.abs(frames[2].rgb.astype(int) - shade(2)).mean() < 8


def test_high_definition_without_a_told_matrix_is_bt709(tmp_path):
    """A saturated green is another one by BT.601: about 20 levels of it apart."""
    green = np.zeros((720, 1280, 3), np.uint8)
    green[..., 1] = 200
    frame = video.require_av().VideoFrame.from_ndarray(green, format="rgb24")
    told = frame.reformat(format="yuv420p", dst_colorspace=1).to_ndarray()
    path = tmp_path / "a.mkv"
    av = video.require_av()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(told, format="yuv420p")))
        container.mux(stream.encode(None))
    _, frames = read(path)
    assert np.abs(frames[0].rgb.astype(int) - green).max() <= 3


# --- times


def test_variable_frame_times_are_kept(tmp_path):
    ticks = [0, 3000, 9000, 10500, 27000, 30000]
    reader, frames = read(write_clip(tmp_path / "a.mp4", 6, ticks=ticks))
    seconds = [float(frame.ticks * reader.info.time_base) for frame in frames]
    assert seconds == pytest.approx([tick / 90000 for tick in ticks], abs=1e-6)


def test_times_always_increase(tmp_path):
    _, frames = read(write_clip(tmp_path / "a.avi", 6, codec="mpeg4"))
    ticks = [frame.ticks for frame in frames]
    assert ticks == sorted(set(ticks))


@pytest.mark.parametrize("skip", [0, 1, 5, 13, 20, 25])
def test_skipped_frames_are_the_first_ones(tmp_path, skip):
    path = write_clip(tmp_path / "a.mp4", 20, gop=6)
    _, every = read(path)
    _, rest = read(path, skip=skip)
    assert [frame.ticks for frame in rest] == [frame.ticks for frame in every][skip:]
    assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(rest, every[skip:], strict=True))


# --- damage


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(VideoError, match=r"nothing\.mp4 cannot be opened as a video .*check its name"):
        VideoReader(tmp_path / "nothing.mp4")


def test_a_file_that_is_no_video_is_refused(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"no video at all" * 100)
    with pytest.raises(VideoError, match=r"cannot be opened as a video .*Invalid data"):
        VideoReader(path)


def test_a_file_with_sound_alone_is_refused(tmp_path):
    av = video.require_av()
    path = tmp_path / "a.mka"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=48000)
        sound.codec_context.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    with pytest.raises(VideoError, match="holds no video"):
        VideoReader(path)


def moov_first(path, source):
    """Rewrite an MP4 with its index at the front, so that its end can be cut off."""
    av = video.require_av()
    with av.open(str(source)) as given, av.open(str(path), "w", options={"movflags": "faststart"}) as made:
        stream = given.streams.video[0]
        copied = made.add_stream_from_template(stream)
        for packet in given.demux(stream):
            if packet.dts is not None:
                packet.stream = copied
                made.mux(packet)
    return path


def test_a_truncated_file_gives_what_is_there_and_names_the_rest(tmp_path):
    whole = moov_first(tmp_path / "whole.mp4", write_clip(tmp_path / "a.mp4", 60, gop=4))
    cut = tmp_path / "cut.mp4"
    data = whole.read_bytes()
    cut.write_bytes(data[: int(len(data) * 0.6)])
    reader, frames = read(cut)
    assert 5 < len(frames) < 60
    assert np.abs(frames[3].rgb.astype(int) - shade(3)).mean() < 4
    assert any("of 60 frames that the file states are missing" in loss.reason for loss in reader.losses)


def test_a_truncated_matroska_file_gives_what_is_there(tmp_path):
    whole = write_clip(tmp_path / "a.mkv", 40, gop=4).read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole[: int(len(whole) * 0.7)])
    reader, frames = read(cut)
    assert 5 < len(frames) < 40
    assert reader.losses[-1].frame == len(frames)
    assert "s of 1.67 s that it states" in reader.losses[-1].reason


def test_a_hole_in_a_matroska_file_is_noticed_by_the_gap(tmp_path):
    path = write_clip(tmp_path / "a.mkv", 20, ticks=[3750 * i for i in (*range(12), *range(15, 23))])
    reader, frames = read(path)
    assert len(frames) == 20
    assert [(loss.frame, loss.reason) for loss in reader.losses] == [
        (12, "about 3 frames are missing: a gap of 0.17 s")
    ]


def test_a_damaged_middle_is_noted_and_reading_goes_on(tmp_path):
    path = moov_first(tmp_path / "whole.mp4", write_clip(tmp_path / "a.mp4", 60, gop=4))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = b"\xff" * 400
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(bytes(data))
    reader, frames = read(broken)
    assert len(frames) > 30
    assert np.abs(frames[-1].rgb.astype(int) - shade(59)).mean() < 4
    assert reader.losses
    assert all(loss.reason for loss in reader.losses)


def test_a_file_whose_every_packet_is_damaged_is_refused(tmp_path):
    path = moov_first(tmp_path / "whole.mp4", write_clip(tmp_path / "a.mp4", 6))
    data = path.read_bytes()
    start = data.index(b"mdat") + 4
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(data[:start] + b"\xff" * (len(data) - start))
    with pytest.raises(VideoError, match=r"no frame of .* can be read"):
        VideoReader(broken)


# --- the package


def test_without_pyav_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r'pip install "lotus-geometry\[video\]"'):
        video.require_av()


def test_importing_the_module_imports_no_pyav():
    code = "import sys, lotus_core.io.video; assert 'av' not in sys.modules and 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_time_base_is_exact(tmp_path):
    reader, _ = read(write_clip(tmp_path / "a.mp4", 3))
    assert isinstance(reader.info.time_base, Fraction)
