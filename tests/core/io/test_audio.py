import pytest

from lotus_core.io.video import VideoReader
from lotus_core.io.video_write import PREVIEW, writing_video

from .video_files import audio_packets, write_clip


def copied(source, target):
    with (
        VideoReader(source) as reader,
        writing_video(target, PREVIEW, reader.info, audio_from=source) as writer,
    ):
        for frame in reader.frames():
            writer.write(frame.rgb, frame.ticks)
    return writer


def test_sound_goes_through_unchanged_where_the_container_holds_it(tmp_path):
    source = write_clip(tmp_path / "a.mp4", 24, audio="aac")
    copied(source, tmp_path / "b.mp4")
    assert audio_packets(tmp_path / "b.mp4") == audio_packets(source)


def test_sound_goes_from_one_container_to_another(tmp_path):
    source = write_clip(tmp_path / "a.mp4", 24, audio="aac")
    copied(source, tmp_path / "b.mkv")
    codecs, size, _ = audio_packets(tmp_path / "b.mkv")
    assert codecs == ["aac"]
    assert size == audio_packets(source)[1]


def test_sound_that_mp4_players_do_not_know_becomes_aac_of_the_same_length(tmp_path):
    source = write_clip(tmp_path / "a.mkv", 24, audio="pcm_s16le")
    copied(source, tmp_path / "b.mp4")
    codecs, _, seconds = audio_packets(tmp_path / "b.mp4")
    assert codecs == ["aac"]
    assert seconds == pytest.approx(1.0, abs=0.06)


def test_sound_starts_with_the_pictures(tmp_path):
    source = write_clip(tmp_path / "a.mp4", 24, audio="aac")
    copied(source, tmp_path / "b.mp4")
    with VideoReader(source) as before, VideoReader(tmp_path / "b.mp4") as after:
        given, found = next(before.frames()), next(after.frames())
    assert found.ticks * after.info.time_base == given.ticks * before.info.time_base


def test_a_silent_video_stays_silent(tmp_path):
    source = write_clip(tmp_path / "a.mp4", 5)
    writer = copied(source, tmp_path / "b.mp4")
    assert audio_packets(tmp_path / "b.mp4")[0] == []
    assert writer.audio.losses == []


def test_sound_longer_than_the_pictures_is_kept_to_its_end(tmp_path):
    source = write_clip(tmp_path / "a.mp4", 24, audio="aac")
    with (
        VideoReader(source) as reader,
        writing_video(tmp_path / "b.mp4", PREVIEW, reader.info, audio_from=source) as writer,
    ):
        for index, frame in enumerate(reader.frames()):
            if index < 3:
                writer.write(frame.rgb, frame.ticks)
    assert audio_packets(tmp_path / "b.mp4")[1] == audio_packets(source)[1]


def test_without_a_source_there_is_no_sound(tmp_path):
    source = write_clip(tmp_path / "a.mp4", 5, audio="aac")
    with VideoReader(source) as reader, writing_video(tmp_path / "b.mp4", PREVIEW, reader.info) as writer:
        for frame in reader.frames():
            writer.write(frame.rgb, frame.ticks)
    assert writer.audio is None
    assert audio_packets(tmp_path / "b.mp4")[0] == []


def test_a_truncated_source_gives_the_sound_that_is_there(tmp_path):
    whole = write_clip(tmp_path / "a.mkv", 48, audio="aac", gop=4)
    data = whole.read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(data[: int(len(data) * 0.6)])
    copied(cut, tmp_path / "b.mp4")
    codecs, size, _ = audio_packets(tmp_path / "b.mp4")
    assert codecs == ["aac"]
    assert 0 < size < audio_packets(whole)[1]
