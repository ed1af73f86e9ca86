from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from lotus_core.errors import OptionError, ShapeError, StorageError, VideoError
from lotus_core.io import video_write
from lotus_core.io.video import VideoInfo, VideoReader
from lotus_core.io.video_write import GREY16, PREVIEW, RGB16, writing_video

from .video_files import av, shade, stored_frames, write_clip


def like(width=64, height=48, rotation=0, **changes):
    values = {
        "frames": None,
        "rate": Fraction(24),
        "time_base": Fraction(1, 90000),
        "aspect": Fraction(1),
        "codec": "",
        "audio": (),
    }
    return VideoInfo(width, height, rotation, **{**values, **changes})


def levels(index, height=48, width=64, channels=()):
    generator = np.random.default_rng(index)
    return generator.integers(0, 65536, (height, width, *channels)).astype(np.uint16)


def write(path, form, frames, info, ticks=None, **options):
    ticks = [3750 * i for i in range(len(frames))] if ticks is None else ticks
    with writing_video(path, form, info, **options) as writer:
        for frame, tick in zip(frames, ticks, strict=True):
            writer.write(frame, tick)
    return writer


# --- data


def test_grey_levels_come_back_exactly(tmp_path):
    frames = [levels(i) for i in range(5)]
    write(tmp_path / "a.mkv", GREY16, frames, like())
    assert all(np.array_equal(a, b) for a, b in zip(stored_frames(tmp_path / "a.mkv"), frames, strict=True))


def test_colour_levels_come_back_exactly(tmp_path):
    frames = [levels(i, channels=(3,)) for i in range(3)]
    write(tmp_path / "a.mkv", RGB16, frames, like())
    assert all(np.array_equal(a, b) for a, b in zip(stored_frames(tmp_path / "a.mkv"), frames, strict=True))


@pytest.mark.parametrize("size", [(1, 1), (17, 5), (48, 64)])
def test_data_may_have_any_size(tmp_path, size):
    frame = levels(0, *size)
    write(tmp_path / "a.mkv", GREY16, [frame], like(width=size[1], height=size[0]))
    assert np.array_equal(stored_frames(tmp_path / "a.mkv")[0], frame)


def test_notes_become_tags(tmp_path):
    write(tmp_path / "a.mkv", GREY16, [levels(0)], like(), notes={"lotus_kind": "disparity"})
    with av.open(str(tmp_path / "a.mkv")) as container:
        tags = {name.lower(): value for name, value in container.metadata.items()}
    assert tags["lotus_kind"] == "disparity"


# --- previews


def test_a_preview_looks_like_its_frames(tmp_path):
    write(tmp_path / "a.mp4", PREVIEW, [shade(i) for i in range(8)], like())
    with VideoReader(tmp_path / "a.mp4") as reader:
        frames = list(reader.frames())
    assert reader.info.codec == "h264"
    assert len(frames) == 8
    assert np.abs(frames[5].rgb.astype(int) - shade(5)).mean() < 5


def test_an_odd_size_is_padded_by_its_last_row_and_column(tmp_path):
    write(tmp_path / "a.mp4", PREVIEW, [shade(0, 47, 63)], like(width=63, height=47))
    with VideoReader(tmp_path / "a.mp4") as reader:
        frame = next(reader.frames()).rgb
    assert frame.shape == (48, 64, 3)
    assert np.abs(frame[:47, :63].astype(int) - shade(0, 47, 63)).mean() < 5


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_variable_times_are_kept_exactly(tmp_path, suffix):
    ticks = [2999, 6001, 12345, 13500, 90001]
    write(tmp_path / f"a{suffix}", PREVIEW, [shade(i) for i in range(5)], like(), ticks)
    with VideoReader(tmp_path / f"a{suffix}") as reader:
        found = [frame.ticks * reader.info.time_base for frame in reader.frames()]
    assert found == [Fraction(tick, 90000) for tick in ticks]


def test_matroska_keeps_times_to_a_millisecond(tmp_path):
    ticks = [0, 3003, 6006, 30000]
    write(tmp_path / "a.mkv", GREY16, [levels(i) for i in range(4)], like(), ticks)
    with VideoReader(tmp_path / "a.mkv") as reader:
        found = [float(frame.ticks * reader.info.time_base) for frame in reader.frames()]
    assert found == pytest.approx([tick / 90000 for tick in ticks], abs=6e-4)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("rotation", [0, 90, -90, 180])
def test_the_rotation_flag_is_kept_and_frames_look_upright(tmp_path, rotation, suffix):
    path = tmp_path / f"a{suffix}"
    writer = write(path, PREVIEW, [shade(0), shade(1)], like(rotation=rotation))
    assert writer.rotated == (rotation != 0)
    with VideoReader(path) as reader:
        frame = next(reader.frames()).rgb
    assert reader.info.rotation == rotation
    assert np.abs(frame.astype(int) - shade(0)).mean() < 5
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == ((48, 64) if rotation in (90, -90) else (64, 48))


def test_a_pyav_that_cannot_write_the_flag_stores_frames_upright(tmp_path, monkeypatch):
    streams = SimpleNamespace(stream=SimpleNamespace(VideoStream=object))
    older = SimpleNamespace(open=av.open, error=av.error, VideoFrame=av.VideoFrame, video=streams)
    monkeypatch.setattr(video_write, "require_av", lambda: older)
    writer = write(tmp_path / "a.mp4", PREVIEW, [shade(0)], like(rotation=90))
    assert not writer.rotated
    with VideoReader(tmp_path / "a.mp4") as reader:
        assert reader.info.rotation == 0
        assert np.abs(next(reader.frames()).rgb.astype(int) - shade(0)).mean() < 5


def test_anamorphic_pixels_are_kept(tmp_path):
    write(tmp_path / "a.mp4", PREVIEW, [shade(0)], like(aspect=Fraction(4, 3)))
    with VideoReader(tmp_path / "a.mp4") as reader:
        assert reader.info.aspect == Fraction(4, 3)


def test_a_video_goes_through_reader_and_writer_unchanged(tmp_path):
    source = write_clip(
        tmp_path / "a.mp4", 12, ticks=[3750 * i + (i % 3) * 500 for i in range(12)], rotation=90
    )
    with VideoReader(source) as reader, writing_video(tmp_path / "b.mp4", PREVIEW, reader.info) as writer:
        given = [(writer.write(frame.rgb, frame.ticks), frame)[1] for frame in reader.frames()]
    with VideoReader(tmp_path / "b.mp4") as copy:
        found = list(copy.frames())
    assert [f.ticks * copy.info.time_base for f in found] == [f.ticks * reader.info.time_base for f in given]
    assert all(np.abs(a.rgb.astype(int) - b.rgb).mean() < 6 for a, b in zip(found, given, strict=True))


# --- whole or not at all


def test_the_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "deep" / "a.mp4"
    with writing_video(path, PREVIEW, like()) as writer:
        writer.write(shade(0), 0)
        assert not path.exists()
    assert path.is_file()


def test_an_error_in_the_block_leaves_nothing_and_is_handed_on(tmp_path):
    frames = iter([shade(0), shade(1)])
    with pytest.raises(StopIteration), writing_video(tmp_path / "a.mp4", PREVIEW, like()) as writer:
        [writer.write(next(frames), tick) for tick in (0, 1000, 2000)]
    assert list(tmp_path.iterdir()) == []


def test_an_error_leaves_an_older_file_alone(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"older")
    with pytest.raises(ZeroDivisionError), writing_video(path, PREVIEW, like()):
        _ = 1 / 0
    assert path.read_bytes() == b"older"


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path, file_size_limit):
    path = tmp_path / "a.mkv"
    with file_size_limit(20_000), pytest.raises(StorageError, match=r"a\.mkv was not written"):
        write(path, GREY16, [levels(i) for i in range(40)], like())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(StorageError):
        write(tmp_path / "taken" / "a.mp4", PREVIEW, [shade(0)], like())


def test_an_unknown_container_is_refused(tmp_path):
    with pytest.raises(VideoError, match=r"cannot be written as a video .*\.mp4, \.mov or \.mkv"):
        write(tmp_path / "a.nothing", PREVIEW, [shade(0)], like())


# --- frames that do not fit


def test_another_size_is_refused(tmp_path):
    with pytest.raises(ShapeError, match=r"frame has shape \(40, 64, 3\), expected \(48, 64, 3\)"):
        write(tmp_path / "a.mp4", PREVIEW, [shade(0, 40, 64)], like())


def test_another_type_is_refused(tmp_path):
    with pytest.raises(OptionError, match="frame must be an array of uint16"):
        write(tmp_path / "a.mkv", GREY16, [np.zeros((48, 64), np.uint8)], like())
