import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lotus_core.errors import OptionError, VideoError
from lotus_core.inference.options import InferenceOptions
from lotus_core.inference.predict import predict_depth, predict_normals
from lotus_core.video.clip import predict_depth_clip
from lotus_core.video.convert import estimate_video, fingerprint, identity, write_video
from lotus_core.video.painter import ClipOptions
from lotus_core.video.spool import SEGMENT
from tests.core.inference.models import passing_model
from tests.core.io.video_files import write_clip

OPTIONS = InferenceOptions(resolution=0)
PLAIN = ClipOptions(stabilize=False, carry=0.0)


class Collected:
    def __init__(self):
        self.maps, self.numbers, self.ticks = [], [], []

    def write(self, maps, number, ticks):
        self.maps.append(maps)
        self.numbers.append(number)
        self.ticks.append(ticks)

    @property
    def values(self):
        return torch.stack(self.maps)


class CountingModel:
    """Wraps a model's VAE to count frames, and to stop after some."""

    def __init__(self, model, stop_after=None):
        self.frames = 0
        encode = model.vae.encode

        def counting(rgb):
            self.frames += len(rgb)
            if stop_after is not None and self.frames > stop_after:
                raise KeyboardInterrupt
            return encode(rgb)

        model.vae.encode = counting


def pumping(count):
    """Frames of a still picture whose contrast drifts."""
    generator = np.random.default_rng(0)
    x = np.linspace(0.1, 0.9, 64)[None, :, None] * np.ones((48, 1, 3))
    x[20:40, 10:30] += 0.05
    return [
        (255 * np.clip(0.5 + (x - 0.5) * 0.7 * np.exp(0.1 * generator.standard_normal()), 0, 1)).astype(
            np.uint8
        )
        for _ in range(count)
    ]


def converted(model, source, folder, clip=PLAIN, options=OPTIONS, **more):
    maps = estimate_video(model, source, folder, options, clip, **more)
    sink = Collected()
    write_video(maps, [sink], options)
    return maps, sink


def frames_of(source):
    from lotus_core.io.video import VideoReader

    with VideoReader(source) as reader:
        return torch.stack([torch.from_numpy(f.rgb.copy()).float() / 255 for f in reader.frames()])


# --- the two passes


@pytest.mark.parametrize("count", [1, 5, SEGMENT, SEGMENT + 3])
def test_every_frame_is_given_its_own_map_in_order(tmp_path, count):
    source = write_clip(tmp_path / "a.mp4", count)
    _, sink = converted(passing_model("d"), source, tmp_path / "parts")
    expected = predict_depth(passing_model("d"), frames_of(source), OPTIONS).values
    assert sink.numbers == list(range(count))
    assert (sink.values - expected).abs().max() < 2e-5


def test_a_stabilised_video_is_the_stabilised_clip(tmp_path):
    source = write_clip(tmp_path / "a.mp4", pumping(40))
    maps, sink = converted(passing_model("d"), source, tmp_path / "parts", ClipOptions())
    expected = predict_depth_clip(passing_model("d"), frames_of(source), OPTIONS).values
    assert (sink.values - expected).abs().max() < 1e-3
    assert maps.corrections.scale.std() > 0.05


def test_normals_are_unit_vectors_and_have_no_corrections(tmp_path):
    source = write_clip(tmp_path / "a.mp4", 5)
    maps, sink = converted(passing_model("d", "normal"), source, tmp_path / "parts")
    expected = predict_normals(passing_model("d", "normal"), frames_of(source), OPTIONS).vectors
    assert maps.corrections is None
    assert (sink.values - expected).abs().max() < 2e-3
    torch.testing.assert_close(sink.values.norm(dim=-1), torch.ones(5, 48, 64), atol=1e-5, rtol=0)


def test_maps_wait_at_the_working_size_and_come_out_at_the_frames(tmp_path):
    source = write_clip(tmp_path / "a.mp4", 3)
    maps, sink = converted(
        passing_model("d"), source, tmp_path / "parts", options=InferenceOptions(resolution=32)
    )
    (segment,) = maps.spool.segments()
    assert segment.maps.shape == (3, 24, 32)
    assert sink.values.shape == (3, 48, 64)


def test_the_display_range_is_in_units_of_what_the_sinks_get(tmp_path):
    source = write_clip(tmp_path / "a.mp4", pumping(36))
    maps, sink = converted(passing_model("d"), source, tmp_path / "parts", ClipOptions())
    low, high = maps.display
    assert float((sink.values < low).float().mean()) == pytest.approx(0.01, abs=0.02)
    assert float((sink.values > high).float().mean()) == pytest.approx(0.01, abs=0.02)


def test_frame_times_reach_the_sinks(tmp_path):
    ticks = [0, 3000, 9000, 10500]
    source = write_clip(tmp_path / "a.mp4", 4, ticks=ticks)
    maps, sink = converted(passing_model("d"), source, tmp_path / "parts")
    assert [tick * maps.info.time_base for tick in sink.ticks] == [
        tick * maps.info.time_base for tick in maps.ticks
    ]
    assert maps.seconds == pytest.approx([tick / 90000 for tick in ticks])


def test_progress_is_told_of_both_passes(tmp_path):
    source = write_clip(tmp_path / "a.mp4", SEGMENT + 2)
    told = []
    note = lambda *news: told.append(news)  # noqa: E731
    maps = estimate_video(passing_model("d"), source, tmp_path / "p", OPTIONS, PLAIN, progress=note)
    write_video(maps, [], OPTIONS, progress=note)
    assert told == [(SEGMENT, SEGMENT + 2), (SEGMENT + 2, SEGMENT + 2)] * 2


def test_few_frames_are_in_memory_at_once(tmp_path):
    """The reader is asked for no more than four frames ahead of the model."""
    source = write_clip(tmp_path / "a.mp4", 20)
    model = passing_model("d")
    batches = []
    encode = model.vae.encode

    def noting(rgb):
        batches.append(len(rgb))
        return encode(rgb)

    model.vae.encode = noting
    converted(model, source, tmp_path / "parts")
    assert batches == [4] * 5


# --- going on


@pytest.mark.parametrize("output", ["depth", "normal"])
@pytest.mark.parametrize("mode", ["d", "g"])
def test_a_stopped_run_goes_on_and_ends_as_if_it_had_not_been_stopped(tmp_path, mode, output):
    source = write_clip(tmp_path / "a.mp4", pumping(2 * SEGMENT + 5))

    def model():
        return passing_model(mode, output, gain=0.2)

    _, whole = converted(model(), source, tmp_path / "whole", ClipOptions())
    stopped = model()
    CountingModel(stopped, stop_after=SEGMENT + 9)
    with pytest.raises(KeyboardInterrupt):
        converted(stopped, source, tmp_path / "parts", ClipOptions())
    again = model()
    counter = CountingModel(again)
    _, sink = converted(again, source, tmp_path / "parts", ClipOptions(), resume=True)
    assert counter.frames == SEGMENT + 5
    assert torch.equal(sink.values, whole.values)


def test_a_finished_first_pass_is_not_run_again(tmp_path):
    source = write_clip(tmp_path / "a.mp4", 10)
    converted(passing_model("d"), source, tmp_path / "parts")
    again = passing_model("d")
    counter = CountingModel(again)
    _, sink = converted(again, source, tmp_path / "parts", resume=True)
    assert counter.frames == 0
    assert len(sink.maps) == 10


def test_another_model_or_option_does_not_go_on(tmp_path):
    source = write_clip(tmp_path / "a.mp4", 3)
    converted(passing_model("d"), source, tmp_path / "parts")
    with pytest.raises(OptionError, match="another input, model or option"):
        converted(passing_model("d", name="other"), source, tmp_path / "parts", resume=True)
    with pytest.raises(OptionError, match="another input, model or option"):
        converted(passing_model("d"), source, tmp_path / "parts", ClipOptions(carry=0.3), resume=True)


def test_another_file_of_the_same_name_does_not_go_on(tmp_path):
    source = write_clip(tmp_path / "a.mp4", 3)
    converted(passing_model("d"), source, tmp_path / "parts")
    write_clip(source, 4)
    with pytest.raises(OptionError, match="another input"):
        converted(passing_model("d"), source, tmp_path / "parts", resume=True)


# --- damage


def test_what_can_be_read_is_written_and_the_loss_named(tmp_path):
    source = write_clip(tmp_path / "a.mkv", 60, gop=4)
    data = bytearray(source.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 300] = b"\xff" * 300
    source.write_bytes(bytes(data))
    maps, sink = converted(passing_model("d"), source, tmp_path / "parts")
    assert 20 < len(sink.maps) <= 60
    assert "frames are missing" in maps.losses[0].reason
    assert len(maps.ticks) == len(sink.maps)


def test_an_unreadable_file_leaves_no_folder(tmp_path):
    source = tmp_path / "a.mp4"
    source.write_bytes(b"nothing")
    with pytest.raises(VideoError):
        converted(passing_model("d"), source, tmp_path / "parts")
    assert not (tmp_path / "parts").exists()


def test_the_identity_of_a_run_tells_every_way_to_the_same_video_alike(tmp_path, monkeypatch):
    source = write_clip(tmp_path / "a.mp4", 3)
    run = (InferenceOptions(), ClipOptions())
    whole = identity(passing_model("d"), source, *run)
    monkeypatch.chdir(tmp_path)
    assert identity(passing_model("d"), Path("a.mp4"), *run) == whole
    assert json.loads(json.dumps(whole)) == whole


def test_the_identity_of_a_run_differs_with_all_that_its_maps_depend_on(tmp_path):
    source, other = write_clip(tmp_path / "a.mp4", 3), write_clip(tmp_path / "b.mp4", 3)
    model, options, clip = passing_model("d"), InferenceOptions(), ClipOptions()
    runs = [
        (model, source, options, clip),
        (passing_model("d", name="other"), source, options, clip),
        (model, other, options, clip),
        (model, source, InferenceOptions(seed=1), clip),
        (model, source, options, ClipOptions(carry=0.3)),
    ]
    assert len({json.dumps(identity(*run)) for run in runs}) == len(runs)


def test_fingerprints_differ_with_the_end_the_beginning_and_the_size(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"a" * 3_000_000)
    plain = fingerprint(path)
    seen = {plain}
    for data in (b"b" + b"a" * 2_999_999, b"a" * 2_999_999 + b"b", b"a" * 3_000_001):
        path.write_bytes(data)
        seen.add(fingerprint(path))
    assert len(seen) == 4
    assert plain.startswith("sha256:")
