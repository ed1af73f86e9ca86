from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from lotus_core.conventions import NormalConvention
from lotus_core.errors import MissingExtraError
from lotus_core.io.video import VideoInfo, VideoReader
from lotus_core.video import sinks
from lotus_core.video.sinks import Look, open_sink, require_output
from tests.core.io.video_files import audio_packets, stored_frames, write_clip

LIKE = VideoInfo(64, 48, 0, None, Fraction(24), Fraction(1, 24), Fraction(1), "", ())


def ramp():
    return torch.linspace(0.2, 0.8, 64).expand(48, 64).contiguous()


def wall():
    """A wall seen head-on."""
    return torch.tensor([0.0, 0.0, -1.0]).expand(48, 64, 3).contiguous()


def sunk(output, path, look, maps, **options):
    with open_sink(output, path, look, LIKE, **options) as sink:
        for number, values in enumerate(maps):
            sink.write(values, number, number)


# --- what is painted


def test_near_is_white_for_either_kind():
    near_depth = Look("depth").picture(torch.tensor([[[0.0, 1.0]]]))
    near_disparity = Look("disparity").picture(torch.tensor([[[1.0, 0.0]]]))
    expected = torch.tensor([1.0, 0.0]).view(1, 1, 2, 1).expand(1, 1, 2, 3)
    torch.testing.assert_close(near_depth, expected)
    torch.testing.assert_close(near_disparity, expected)


def test_one_range_paints_all_frames():
    look = Look("disparity", display=(0.2, 0.6))
    found = look.picture(torch.tensor([[[0.2, 0.4, 0.6, 0.9]]]))[0, 0, :, 0]
    torch.testing.assert_close(found, torch.tensor([0.0, 0.5, 1.0, 1.0]))


def test_colours_can_be_reversed():
    values = torch.tensor([[[0.0, 1.0]]])
    plain = Look("disparity", "spectral").picture(values)
    reverse = Look("disparity", "spectral", reverse=True).picture(values)
    torch.testing.assert_close(plain.flip(2), reverse)


def test_normals_are_painted_by_the_convention():
    assert Look("normal").picture(wall()[None])[0, 0, 0].tolist() == [0.5, 0.5, 1.0]
    opencv = Look("normal", convention=NormalConvention.OPENCV)
    assert opencv.picture(wall()[None])[0, 0, 0].tolist() == [0.5, 0.5, 0.0]


def test_levels_of_depth_are_its_values_whatever_the_range():
    values = torch.rand(1, 4, 5)
    assert torch.equal(Look("depth", display=(0.4, 0.5)).levels(values), values)


def test_planes_of_an_exr():
    assert torch.equal(Look("depth").planes(ramp())["Y"], ramp())
    planes = Look("normal").planes(wall())
    assert {name: float(plane[0, 0]) for name, plane in planes.items()} == {"R": 0.0, "G": 0.0, "B": 1.0}


# --- files


def test_a_preview_shows_the_maps(tmp_path):
    sunk("mp4", tmp_path / "a.mp4", Look("disparity", display=(0.2, 0.8)), [ramp()] * 3)
    with VideoReader(tmp_path / "a.mp4") as reader:
        frames = list(reader.frames())
    assert len(frames) == 3
    expected = np.linspace(0, 255, 64)[None, :, None]
    assert np.abs(frames[1].rgb - expected).mean() < 4


def test_lossless_depth_is_sixteen_bits_of_its_values(tmp_path):
    sunk("ffv1", tmp_path / "a.mkv", Look("depth", display=(0.4, 0.5)), [ramp(), 1 - ramp()])
    frames = stored_frames(tmp_path / "a.mkv")
    assert frames[0].dtype == np.uint16
    assert np.array_equal(frames[0], np.rint(ramp().double().numpy() * 65535).astype(np.uint16))
    assert frames[1][0, 0] == round(0.8 * 65535)


def test_lossless_normals_are_sixteen_bit_colours(tmp_path):
    sunk("ffv1", tmp_path / "a.mkv", Look("normal"), [wall()])
    (frame,) = stored_frames(tmp_path / "a.mkv")
    assert frame.shape == (48, 64, 3)
    assert frame[5, 5].tolist() == [32768, 32768, 65535]


def test_numbered_pngs_hold_sixteen_bits_and_say_what_they_are(tmp_path):
    sunk("png16", tmp_path / "maps", Look("disparity"), [ramp(), ramp()], notes={"kind": "disparity"})
    assert sorted(p.name for p in (tmp_path / "maps").iterdir()) == ["000000.png", "000001.png"]
    with Image.open(tmp_path / "maps" / "000001.png") as image:
        assert image.text["Lotus kind"] == "disparity"
        levels = np.asarray(image, dtype=np.int64)
    assert np.array_equal(levels, np.rint(ramp().double().numpy() * 65535).astype(np.int64))


def test_numbered_exrs_hold_floats(tmp_path):
    exr = pytest.importorskip("OpenEXR", reason='needs the extra "exr"')
    sunk("exr", tmp_path / "maps", Look("depth"), [ramp()], notes={"kind": "depth"})
    with exr.File(str(tmp_path / "maps" / "000000.exr")) as file:
        assert np.array_equal(file.channels()["Y"].pixels, ramp().numpy())


def test_only_a_preview_has_sound(tmp_path):
    source = write_clip(tmp_path / "a.mp4", 24, audio="aac")
    sunk("mp4", tmp_path / "p.mp4", Look("depth"), [ramp()], audio_from=source)
    sunk("ffv1", tmp_path / "d.mkv", Look("depth"), [ramp()], audio_from=source)
    assert audio_packets(tmp_path / "p.mp4")[0] == ["aac"]
    assert audio_packets(tmp_path / "d.mkv")[0] == []


def test_values_a_hair_outside_are_clamped(tmp_path):
    sunk("ffv1", tmp_path / "a.mkv", Look("depth"), [ramp() * 2 - 0.5])
    (frame,) = stored_frames(tmp_path / "a.mkv")
    assert (frame.min(), frame.max()) == (0, 65535)


# --- packages


def test_what_an_output_needs_is_asked_for_by_name(monkeypatch):
    def missing(*_):
        raise MissingExtraError("OpenEXR", "exr", "writing EXR files")

    monkeypatch.setattr(sinks, "require_openexr", missing)
    with pytest.raises(MissingExtraError, match=r"lotus-geometry\[exr\]"):
        require_output("exr")
    require_output("mp4")
