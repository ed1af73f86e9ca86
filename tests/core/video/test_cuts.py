import torch

from lotus_core.video.cuts import CutDetector

from .scenes import textured


def cuts(frames):
    detector = CutDetector()
    return [index for index, frame in enumerate(frames) if detector.push(frame)]


def tinted(seed, tint):
    return (textured(seed=seed) * torch.tensor(tint)).clamp(0.0, 1.0)


def test_the_first_frame_is_no_cut():
    assert cuts([textured()]) == []


def test_a_still_clip_has_no_cut():
    assert cuts([textured()] * 5) == []


def test_another_picture_is_a_cut_and_only_at_its_first_frame():
    a, b = tinted(1, (1.0, 0.9, 0.7)), tinted(2, (0.6, 0.8, 1.0))
    assert cuts([a, a, a, b, b, a]) == [3, 5]


def test_a_pan_is_no_cut():
    wide = textured(96, 400, seed=3)
    assert cuts([wide[:, 4 * t : 4 * t + 128] for t in range(30)]) == []


def test_a_flash_is_no_cut():
    picture = textured(seed=4) * 0.6
    assert cuts([picture, picture * 1.5, picture]) == []


def test_a_fade_to_black_is_no_cut():
    picture = textured(seed=5)
    assert cuts([picture * (1 - t / 20) for t in range(20)]) == []


def test_from_black_to_a_picture_is_a_cut():
    assert cuts([torch.zeros(96, 128, 3), textured(seed=6)]) == [1]


def test_two_blank_frames_are_one_shot():
    assert cuts([torch.zeros(96, 128, 3), torch.full((96, 128, 3), 0.001)]) == []


def test_a_dissolve_is_no_cut():
    a, b = tinted(1, (1.0, 0.9, 0.7)), tinted(2, (0.6, 0.8, 1.0))
    assert cuts([torch.lerp(a, b, t / 24) for t in range(25)]) == []


def test_a_detector_goes_on_where_another_was_stopped():
    a, b = tinted(1, (1.0, 0.9, 0.7)), tinted(2, (0.6, 0.8, 1.0))
    first = CutDetector()
    first.push(a)
    second = CutDetector()
    second.restore(first.state())
    assert second.push(b)
    third = CutDetector()
    third.restore(first.state())
    assert not third.push(a)


def test_a_fresh_detector_has_no_state():
    detector = CutDetector()
    assert detector.state() == {}
    detector.restore({})
    assert not detector.push(textured())
